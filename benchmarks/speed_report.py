"""The table and the plot of `python -m benchmarks.speed`."""

from benchmarks.machine import LARGEST_BUSY_SHARE

# Columns of the table: one contender, or the fastest of some.
COLUMNS = {
    "tfmeta, task by task": ("tfmeta loop",),
    "TF, eager loop": ("tf eager loop",),
    "TF, compiled loop": ("tf function loop",),
    "higher": ("higher",),
    "PyTorch loop": ("torch loop", "torch protonet", "torch r2d2", "torch"),
    "torch.func vmap": ("torch.func vmap",),
    "JAX, its best": ("jax vmap", "jax map", "jax loop", "jax"),
}


def add_ratios(result):
    """Into the result of a case: how many times as fast tfmeta is, and its share of the limit."""
    found = result["contenders"]
    ours = found.get("tfmeta", {}).get("tasks_per_s")
    for contender in found.values():
        if "tasks_per_s" in contender:
            limit = result["limit"] or {}
            if "tasks_per_s" in limit:
                contender["share_of_limit"] = contender["tasks_per_s"] / limit["tasks_per_s"]
            if "same_shapes_tasks_per_s" in limit:
                share = contender["tasks_per_s"] / limit["same_shapes_tasks_per_s"]
                contender["share_of_same_shapes"] = share
            if ours and contender["agrees"]:
                contender["tfmeta_is_times_as_fast"] = ours / contender["tasks_per_s"]


def table(results):
    """Markdown: tasks/s of tfmeta, its share of the limit, how many times as fast it is.

    Shares are of both limits of `benchmarks.limit`: largest batch / same shapes.
    """
    lines = [
        f"| case | tfmeta, tasks/s | of the limit | first step | {' | '.join(COLUMNS)} |",
        "|---|" + "---|" * (3 + len(COLUMNS)),
    ]
    for name, result in results.items():
        ours = result.get("contenders", {}).get("tfmeta", {})
        if "tasks_per_s" not in ours:
            continue
        busy = " (BUSY MACHINE)" if result.get("busy", 0) > LARGEST_BUSY_SHARE else ""
        cells = [name + busy, _figures(ours["tasks_per_s"]), _shares(ours)]
        cells.append(f"{_figures(ours['first_step_s'])} s" if "first_step_s" in ours else "-")
        cells += [_cell(result["contenders"], names) for names in COLUMNS.values()]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _shares(found):
    shares = [found[k] for k in ("share_of_limit", "share_of_same_shapes") if k in found]
    return " / ".join(f"{share:.0%}" for share in shares) or "-"


def _cell(found, names):
    ratios = [found.get(name, {}).get("tfmeta_is_times_as_fast") for name in names]
    ratios = [ratio for ratio in ratios if ratio is not None]
    return f"{_figures(min(ratios))}x" if ratios else "-"


def _figures(value):
    """Three figures: 0.0123, 1.23, 12.3, 123, 1,234."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.{1 if value >= 10 else 2 if value >= 0.1 else 3}f}"


def memory_table(results):
    """Markdown: peak MiB on top of the imported library and the data."""
    measured = {name: r["memory"] for name, r in results.items() if r.get("memory")}
    contenders = list(dict.fromkeys(c for found in measured.values() for c in found))
    lines = [f"| peak MiB | {' | '.join(contenders)} |", "|---|" + "---|" * len(contenders)]
    for name, found in measured.items():
        cells = [f"{found[c] / 2**20:,.0f}" if c in found else "-" for c in contenders]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) if measured else ""


def plot(results, file):
    """Bars of tasks/s relative to tfmeta, one panel a case."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    panels = {
        name: found
        for name, result in results.items()
        if (found := _relative(result.get("contenders", {})))
    }
    if not panels:
        return
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(5.2 * columns, 3.6 * rows), squeeze=False, layout="constrained"
    )
    for axis, (name, found) in zip(axes.flat, panels.items(), strict=False):
        _panel(axis, name, found)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    figure.supxlabel("tasks per second, tfmeta = 1; further right is faster")
    figure.savefig(file, dpi=120)
    plt.close(figure)


def _relative(found):
    ratios = {name: c.get("tfmeta_is_times_as_fast") for name, c in found.items()}
    return {name: 1 / ratio for name, ratio in ratios.items() if ratio}


def _panel(axis, name, found):
    colors = ["tab:blue" if c.startswith("tfmeta") else "tab:gray" for c in found]
    bars = axis.barh(list(found), list(found.values()), color=colors)
    axis.bar_label(bars, [f"{_figures(value)}" for value in found.values()], padding=3)
    axis.axvline(1, color="black", linewidth=0.8)
    axis.set_xlim(0, 1.18 * max(found.values()))
    axis.invert_yaxis()
    axis.set_title(name)
    axis.spines[["top", "right"]].set_visible(False)


def show(results, file):
    """Print the tables and draw the plot."""
    for result in results.values():
        if "contenders" in result:
            add_ratios(result)
    print(f"How many times as fast tfmeta is:\n\n{table(results)}\n")
    print(memory_table(results))
    plot(results, file)
