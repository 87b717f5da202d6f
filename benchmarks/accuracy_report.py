"""The table and the plot of `python -m benchmarks.accuracy`."""

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
    """Score on validation against training time, a panel a case."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6 * len(results), 5), layout="constrained")
    names = sorted({name for result in results.values() for name in result["methods"]})
    markers = "osv^D"
    for axis, (case, result) in zip(
        figure.subplots(1, len(results), squeeze=False)[0], results.items(), strict=True
    ):
        for name, found in result["methods"].items():
            i = names.index(name)
            seconds, scores = zip(*found["curve"], strict=True)
            axis.plot(
                seconds, scores, color=f"C{i % 10}", marker=markers[i // 4 % 5], markersize=4,
                linewidth=1, label=name,
            )  # fmt: skip
        accuracy = is_accuracy(case)
        axis.set(
            title=case, xscale="log", yscale="linear" if accuracy else "log",
            xlabel="training time (s), one core",
            ylabel="validation accuracy" if accuracy else "validation mean squared error",
        )  # fmt: skip
        axis.legend(fontsize=7)
    figure.savefig(path, dpi=100)


def show(results, path):
    for case, result in results.items():
        print(f"\n{case}, {result['date']}\n\n{table(case, result['methods'])}")
    if results:
        plot(results, path)
        print(f"\nplot: {path}")
