"""The table and the plot of `python -m benchmarks.reproduce`."""

from tools.write_tables import markdown

COLUMNS = (
    "row", "score", "published", "to reach", "here", "difference", "state", "outer steps",
    "CPU time",
)  # fmt: skip

LABELS = {
    "omniglot": "validation accuracy (dotted: published, test)",
    "omniglot-sequence": "validation accuracy of the last row",
    "sinusoid": "validation mean squared error",
}


def table(rows, results):
    """Markdown: every test of every training, and the rows that have none."""
    lines = []
    for name, row in rows.items():
        for test in row.tests:
            runs = results.get(name) or {"": None}
            lines += [_cells(name, row, test, run) for run in runs.values()]
    return markdown(COLUMNS, lines)


def _cells(name, row, test, run):
    percent = row.training.family != "sinusoid"
    published, reach = (_number(v) for v in (test.published, test.reach))
    if run is None:
        return name, test.name, published, reach, "-", "-", "not begun", "-", "-"
    return (
        f"{name}, seed {run['seed']}" + ("" if run["part"] == 1 else f", {run['part']:g} of it"),
        test.name,
        published,
        reach,
        _score(run.get("scores", {}).get(test.name), percent, run.get("transductive")),
        _difference(run["differences"].get(test.name)),
        _state(run, percent),
        f"{run['steps']:,}",
        _cpu(run["cpu_s"]),
    )


def _number(value):
    return "-" if value is None else f"{value:g}"


def _score(score, percent, transductive):
    if score is None:
        return "-"
    mean, interval = (100 * v if percent else v for v in score)
    text = f"{mean:.2f} ± {interval:.2f} %" if percent else f"{mean:.3f} ± {interval:.3f}"
    return f"{text}, transductive" if transductive else text


def _cpu(seconds):
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def _difference(value):
    return "-" if value is None else f"{value:+.2f}"


def _state(run, percent):
    reached = f"step {run['steps']:,} of {run['of_steps']:,}"
    if run["state"] == "finished":
        return "finished" if run["steps"] >= run["of_steps"] else f"tested at {reached}"
    score = run["curve"][-1][2]
    score = f"{100 * score:.2f} %" if percent else f"{score:.3f}"
    return f"running, {reached}, validation {score}"


def plot(rows, results, path):
    """Score on validation against hours of CPU, a panel for each kind, with published lines."""
    from matplotlib.figure import Figure

    begun = {name: row for name, row in rows.items() if results.get(name)}
    families = list(dict.fromkeys(row.training.family for row in begun.values()))
    if not families:
        return
    figure = Figure(figsize=(7 * len(families), 5), layout="constrained")
    for axis, family in zip(
        figure.subplots(1, len(families), squeeze=False)[0], families, strict=True
    ):
        of_family = [name for name, row in begun.items() if row.training.family == family]
        for i, name in enumerate(of_family):
            for run in results[name].values():
                _, hours, scores = zip(*run["curve"], strict=True)
                axis.plot(hours, scores, color=f"C{i % 10}", marker=".", linewidth=1, label=name)
                name = None  # one label a row
            test = begun[of_family[i]].tests[0]
            published = test.published
            if published is not None and test.instance is None:
                level = published if family == "sinusoid" else published / 100
                axis.axhline(level, color=f"C{i % 10}", linestyle=":", linewidth=1)
        regression = family == "sinusoid"
        axis.set(
            title=family, xscale="log", yscale="log" if regression else "linear",
            xlabel="hours of CPU",
            ylabel=LABELS[family],
        )  # fmt: skip
        if not regression:
            axis.set_ylim(0.8 if family == "omniglot" else 0.0, 1.0)
        axis.legend(fontsize=7)
    figure.savefig(path, dpi=100)
