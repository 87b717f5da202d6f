"""Writes the tables of benchmarks/README.md from the figures in benchmarks/results/.

    python -m benchmarks.write_readme

Run it after a benchmark has written new figures. The sentences around the tables are written by
hand: read them again when the figures have changed. `tests/benchmarks/test_readme.py` fails where
a table says something else than the figures.
"""

import json
import pathlib

from benchmarks import (
    accuracy_report,
    alpaca,
    completion,
    environments_speed,
    in_context,
    learners,
    processes,
    reproduce,
    reproduce_report,
    several_workers,
    speed_report,
    uncertainty,
)
from benchmarks.methods import FREQUENCIES
from tools.write_tables import filled, markdown

FOLDER = pathlib.Path(__file__).parent
README = FOLDER / "README.md"


def tables():
    """Name of a table in the page -> the table, in Markdown."""
    found = {
        f"accuracy {case}": accuracy_report.table(case, result["methods"])
        for case, result in figures("accuracy").items()
        if case not in FREQUENCIES
    }
    found["frequencies"] = accuracy_report.frequency_table(figures("accuracy"))
    speed = figures("speed")
    for result in speed.values():
        if "contenders" in result:
            speed_report.add_ratios(result)
    found["speed"] = speed_report.table(speed)
    found["memory"] = speed_report.memory_table(speed)
    found["learners"] = learners.table(figures("learners"))
    found["optimizers"] = optimizers_table(figures("optimizers"))
    found["episodes"] = episodes_table(figures("episodes"))
    found["environments"] = environments_speed.table(figures("environments_speed"))
    found["reproduce"] = reproduce_report.table(reproduce.ROWS, figures("reproduce"))
    found["completion"] = completion.table(figures("completion"))
    found["in context"] = in_context.table(figures("in_context"))
    workers = figures("several_workers")
    found["several workers"] = several_workers.table(workers)
    found["several workers on paper"] = several_workers.paper(workers, speed)
    of_families = figures("uncertainty")["figures"].items()
    found |= {f"uncertainty {family}": uncertainty.table(rows) for family, rows in of_families}
    found["processes rbf"] = processes.table(figures("processes")["figures"]["rbf"])
    found["alpaca"] = alpaca.table(figures("alpaca"))
    found["mixed precision"] = mixed_precision_table(figures("mixed_precision"))
    return found


def optimizers_table(results):
    """A row for each optimizer on each kind of tasks."""
    rows = {"quadratics, 100 steps": results["quadratic"]["test"], **results["classifier"]["test"]}
    columns = ("tasks", "optimizer", "rate", "training loss, all steps", "final query loss")
    return markdown(
        columns,
        [
            (tasks, name, f"{r['rate']:.3g}" if "rate" in r else "-", *_losses(r))
            for tasks, result in rows.items()
            for name, r in result.items()
        ],
    )


def _losses(result):
    return [f"{result[key][0]:.3f} ± {result[key][1]:.3f}" for key in ("training", "query")]


def figures(name):
    """What a benchmark has written."""
    return json.loads((FOLDER / "results" / f"{name}.json").read_text())


def episodes_table(results):
    """Episodes a second of tfmeta, as `fit` takes them, and of the plain sampler in both ways."""
    columns = (
        "episodes", "tfmeta in `fit`, episodes/s", "NumPy in a Python loop", "tfmeta is",
        "NumPy in `fit`", "tfmeta is",
    )  # fmt: skip
    rows = []
    for name, found in results["episodes_per_second"].items():
        cells = [name, f"{found['tfmeta_graph']['median']:,.0f}"]
        for theirs in ("numpy_python", "numpy_graph"):
            ratio = results["ratios"][name].get(f"tfmeta_graph / {theirs}")
            measured = theirs in found
            cells.append(f"{found[theirs]['median']:,.0f}" if measured else "-")
            cells.append(f"{ratio:.2f}x" if measured else "-")
        rows.append(cells)
    return markdown(columns, rows)


def mixed_precision_table(results):
    """Accuracy under each policy, and the paired difference from float32."""
    rows = []
    for name, found in results["policies"].items():
        difference = f"{100 * found['minus_float32']:+.2f} ± "
        difference += f"{100 * found['minus_float32_interval']:.2f}"
        rows.append(
            (
                name,
                f"{100 * found['accuracy']:.2f} ± {100 * found['interval']:.2f} %",
                ", ".join(f"{100 * score:.2f}" for score in found["of_seeds"]),
                "-" if name == "float32" else difference,
            )
        )
    return markdown(("policy", "accuracy", "seeds", "minus float32"), rows)


def main():
    README.write_text(filled(README.read_text(), tables()))
    print(f"written: {README}")


if __name__ == "__main__":
    main()
