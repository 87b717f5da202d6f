"""The table and the plot of `python -m benchmarks.accuracy`."""

import math

from benchmarks.methods import CASES, FREQUENCIES, METHODS
from tools.write_tables import markdown

#: The ADKL paper's table (arXiv:1905.12131): errors at 5, 10 and 20 shots, by the names here.
PUBLISHED = {
    "MAML, 5 steps": (2.896, 1.634, 0.901),
    "BayesianMAML": (2.042, 1.371, 0.844),
    "ProtoMAML": (2.044, 1.369, 0.846),
    "CNP": (1.616, 0.392, 0.117),
    "ALPaCA": (3.587, 0.800, 0.127),  # there "learned basis"
    "R2D2": (1.002, 0.073, 0.009),
    "ADKL-GP": (1.178, 0.084, 0.007),
    "ADKL-KRR": (0.867, 0.061, 0.005),
}

COLUMNS = (
    "method", "score", "seeds", "minus MAML", "tasks/s", "first step", "peak memory", "training"
)  # fmt: skip

IN_COLOUR = 8  # methods of a panel of the plot

#: At the same shots, by `benchmarks.frequencies.best_linear` with 3,000 draws.
BEST_LINEAR = (1.059, 0.121, 0.009)


def is_accuracy(case):
    return not CASES[case].is_regression


def rows(case, methods):
    """Cells of each method, the best first."""
    scale, unit = (100, " %") if is_accuracy(case) else (1, "")
    digits = 2 if is_accuracy(case) else 3
    order = sorted(methods, key=lambda m: methods[m]["score"][0], reverse=is_accuracy(case))
    for method in order:
        found = methods[method]
        mean, interval = (scale * v for v in found["score"])
        seeds = [f"{scale * s:.{digits}f}" for s in found["of_seeds"].values()]
        difference = "-"
        if method != "MAML" and "minus_MAML" in found:
            minus, within = (scale * v for v in found["minus_MAML"])
            difference = f"{minus:+.{digits}f} ± {within:.{digits}f}"
        rate = found["tasks_per_s"]
        yield (
            method,
            f"{mean:.{digits}f} ± {interval:.{digits}f}{unit}",
            ", ".join(seeds),
            difference,
            "-" if rate is None else f"{rate:,.0f}",
            f"{found['first_step_s']:.1f} s",
            f"{found['peak_mib']:,.0f} MiB",
            f"{found['train_s']:.0f} s",
        )


def table(case, methods):
    """Markdown."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    lines += [f"| {' | '.join(row)} |" for row in rows(case, methods)]
    return "\n".join(lines)


def frequency_table(results):
    """Markdown: errors at 5, 10 and 20 shots, here and in the paper, the best first."""
    found = {case: results.get(case, {"methods": {}})["methods"] for case in FREQUENCIES}
    names = {name: None for methods in found.values() for name in methods} | PUBLISHED

    def scores(name):
        return [methods[name]["score"] if name in methods else None for methods in found.values()]

    def order(name):
        here = [score[0] for score in scores(name) if score is not None]
        return (not here, here[-1] if here else PUBLISHED[name][-1])

    def cells(name):
        here = ["-" if s is None else f"{s[0]:.3f} ± {s[1]:.3f}" for s in scores(name)]
        published = " / ".join(f"{v:.3f}" for v in PUBLISHED.get(name, ())) or "-"
        return name, *here, _outer_steps(name, [n for n in found if name in found[n]]), published

    shots = (f"{shots} shots" for shots in FREQUENCIES.values())
    columns = ("method", *shots, "outer steps", "published")
    best = ("best linear predictor", *(f"{error:.3f}" for error in BEST_LINEAR), "-", "-")
    return markdown(columns, [best, *map(cells, sorted(names, key=order))])


def _outer_steps(name, cases):
    """How long a method was trained in some cases: one number, if they are alike."""
    steps = {METHODS[name].case(case).steps: None for case in cases}
    return " / ".join(f"{number:,}" for number in steps) or "-"


def plot(results, path):
    """Score on validation against training time, a panel a case: the best and MAML in colour."""
    from matplotlib.figure import Figure

    lines = math.ceil(len(results) / 2)
    figure = Figure(figsize=(15, 4 * lines), layout="constrained")
    panels = figure.subplots(lines, 2, squeeze=False).flat
    for (case, result), axis in zip(results.items(), panels, strict=False):
        draw_curves(axis, case, result["methods"])
    for axis in panels:
        axis.axis("off")
    figure.savefig(path, dpi=100)


def draw_curves(axis, case, methods):
    """One panel, with the names beside it."""
    names = [row[0] for row in rows(case, methods) if methods[row[0]]["curve"]]
    shown = names[:IN_COLOUR] + ["MAML"] * ("MAML" in names[IN_COLOUR:])
    for name in reversed(names):  # the best on top
        seconds, scores = zip(*methods[name]["curve"], strict=True)
        style = {"color": "0.85", "zorder": 1}
        if name in shown:
            i = shown.index(name)
            style = {"color": "k" if name == "MAML" else f"C{i}", "marker": "osv^D"[i % 5]}
        axis.plot(seconds, scores, markersize=4, linewidth=1, label=name, **style)
    accuracy = is_accuracy(case)
    axis.set(
        title=case, xscale="log", yscale="linear" if accuracy else "log",
        xlabel="training time (s), one core",
        ylabel="validation accuracy" if accuracy else "validation mean squared error",
    )  # fmt: skip
    of_name = dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    others = len(names) - len(shown)
    title = f"best first; {others} others in grey" if others else "best first"
    beside = {"loc": "upper left", "bbox_to_anchor": (1, 1), "frameon": False}
    axis.legend([of_name[name] for name in shown], shown, title=title, fontsize=8, **beside)


def show(results, path):
    for case, result in results.items():
        print(f"\n{case}, {result['date']}\n\n{table(case, result['methods'])}")
    if results:
        plot(results, path)
        print(f"\nplot: {path}")
