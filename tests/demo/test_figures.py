"""What the page of the documentation says of the network is what was measured."""

import json
import pathlib

ROOT = pathlib.Path(__file__).parents[2]


def test_the_figures_are_those_of_the_results():
    results = json.loads((ROOT / "benchmarks" / "results" / "draw_network.json").read_text())
    page = (ROOT / "docs" / "serving.md").read_text()
    assert len(results["figures"]) == 4
    for mean, interval in results["figures"].values():
        assert f"{100 * mean:.2f} ± {100 * interval:.2f} %" in page
    assert f"in {results['cpu_seconds']} s of" in page
