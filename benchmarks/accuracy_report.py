"""The table and the plot of `python -m benchmarks.accuracy`."""

from benchmarks.methods import CASES

COLUMNS = (
    "method", "score", "seeds", "minus MAML", "tasks/s", "first step", "peak memory", "training"
)  # fmt: skip


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
