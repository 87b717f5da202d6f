"""`benchmarks.uncertainty`: a short run, its table, and the methods' arguments."""

import json

import pytest

from benchmarks import uncertainty


@pytest.mark.slow
def test_a_short_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(uncertainty, "RESULTS", tmp_path / "uncertainty.json")
    words = "uncertainty --methods DKT --families process --minutes 0.01 --count 8"
    monkeypatch.setattr("sys.argv", words.split())
    uncertainty.main()
    found = json.loads((tmp_path / "uncertainty.json").read_text())["figures"]["process"]
    assert found["exact posterior"]["log_likelihood"][0] > found["DKT"]["log_likelihood"][0]
    assert 0 <= found["DKT"]["coverage_50"][0] <= found["DKT"]["coverage_95"][0] <= 1
    assert found["DKT"]["steps"] > 1
    assert "| exact posterior | " in capsys.readouterr().out


@pytest.mark.parametrize("method", uncertainty.METHODS)
def test_every_method_is_a_learner_that_predicts_distributions(method):
    make, rate = uncertainty.METHODS[method]
    learner = make()
    learner.compile("adam", "mse")
    assert learner.predicts_distributions
    assert rate > 0
