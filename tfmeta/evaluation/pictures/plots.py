"""Pictures of an evaluation: scores against inner steps, and one episode.

Figures are made without pyplot: no window, no global state, any backend.
"""

import textwrap
from typing import Any

import numpy as np

from tfmeta.evaluation.pictures.images import one_task
from tfmeta.evaluation.report import ScoreCurve
from tfmeta.evaluation.score_words import is_percent
from tfmeta.hints import Figure, Path
from tfmeta.types import Episode

# Okabe & Ito's palette, told apart with any colour vision; the markers say it again.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "os^DvPX"
RIGHT, WRONG = COLORS[:2]
MAX_COLUMNS = 10


def plot_curve(
    curves: Any, path: Path | None = None, title: str = "Adaptation to new tasks"
) -> Figure:
    """Draws the query score against the inner step, with 95 % bands.

    Args:
        curves: what `score_curve` returns, or a dict from the name of a learner to it.
        path: file to write, in the format of its ending (.png, .pdf, .svg).
        title: title of the figure.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: there is no curve, or they hold different scores.
        ImportError: matplotlib is missing.
    """
    Figure = figure_class()
    if not isinstance(curves, dict):
        curves = {"": curves}
    for curve in curves.values():
        if not isinstance(curve, ScoreCurve):
            raise ValueError(
                "Expected what score_curve returns, or a dict from the name of a learner to it. "
                f"Received: {type(curve).__name__}."
            )
    names = {curve.score_name for curve in curves.values()}
    if len(names) != 1:
        raise ValueError(
            f"Expected curves of one score, to share an axis. Received: {sorted(names) or 'none'}."
        )
    score_name = names.pop()
    scale, unit = (100, " (%)") if is_percent(score_name) else (1, "")
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for i, (name, curve) in enumerate(curves.items()):
        steps, color = curve.first + np.arange(len(curve.mean)), COLORS[i % len(COLORS)]
        mean, interval = scale * curve.mean, scale * curve.interval
        marker = MARKERS[i % len(MARKERS)]
        axes.plot(steps, mean, color=color, marker=marker, markersize=5, label=name)
        axes.fill_between(steps, mean - interval, mean + interval, color=color, alpha=0.2, lw=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    of = f"bands: 95 % interval, {_episode_counts(curves)} episodes"
    axes.set_xlabel(f"{next(iter(curves.values())).step_name} ({of})")
    axes.set_ylabel(f"query {score_name}{unit}")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if any(curves):
        axes.legend(frameon=False)
    return saved(figure, path)


def plot_episode(
    episode: Episode, outputs: Any = None, class_names: Any = None, path: Path | None = None
) -> Figure:
    """Draws one episode of images: a row a class, support on the left, query on the right.

    With `outputs`, a query image has a blue frame where the prediction is right, and an
    orange one with the predicted class below it where it is wrong. Of each class at most 10
    support and 10 query images are drawn; the accuracy in the title counts all of them.

    Args:
        episode: an `Episode` of images, `[rows, height, width]` or with a channel axis
            of 1 or 3; of a meta-batch the first task is drawn. Rows of padding are left out.
        outputs: `[rows, classes]` of the query set, from `learner.predict_query`.
        class_names: a name for each label; "class 0", "class 1", ... by default.
        path: file to write, in the format of its ending (.png, .pdf, .svg).

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: the examples are no labelled images, or `outputs` or `class_names` do
            not fit them.
        ImportError: matplotlib is missing.
    """
    Figure = figure_class()
    support, query, predicted = one_task(episode, outputs)
    labels = np.concatenate([support.y, query.y])
    ways = int(labels.max()) + 1
    names = _class_names(class_names, ways if predicted is None else max(ways, predicted.max() + 1))
    right = None if predicted is None else predicted == query.y
    columns = [min(MAX_COLUMNS, np.bincount(part.y).max()) for part in (support, query)]
    row_height = 1.0 if right is None or right.all() else 1.3
    row_names = ["\n".join(textwrap.wrap(_shortened(name, 48), 16)) for name in names[:ways]]
    label_width = 0.3 + 0.11 * min(16, max(map(len, row_names)))
    start = columns[0] + 0.6
    size = np.array([label_width + start + columns[1], ways * row_height])

    # Everything is placed in units of one image, on a single axes: axes for each image
    # would take seconds.
    figure = Figure(figsize=np.maximum(0.75 * size + (0.3, 1.3), (4.6, 0)), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(-label_width, size[0] - label_width), ylim=(size[1], -0.5), aspect="equal")
    axes.axis("off")
    pixels = np.concatenate([support.x.ravel(), query.x.ravel()])
    limits = float(min(pixels.min(), 0)), float(max(pixels.max(), 1e-6))
    _draw_images(axes, support, 0, row_height, limits)
    _draw_images(axes, query, start, row_height, limits, names, predicted)
    for label, name in enumerate(row_names):
        axes.text(-0.15, label * row_height + 0.5, name, ha="right", va="center", fontsize=9)
    for part, name, left, count in zip(
        (support, query), Episode._fields, (0, start), columns, strict=True
    ):
        shown = "" if np.bincount(part.y).max() == count else f" (first {count} a class)"
        axes.text(left, -0.15, name + shown, fontsize=10)
    title = f"Episode of {ways} classes, {len(support.y)} support examples"
    if right is not None:
        title += f"\nquery accuracy {100 * right.mean():.0f} % ({right.sum()} of {len(right)})"
        _add_legend(figure)
    figure.suptitle(title, fontsize=11)
    return saved(figure, path)


def _draw_images(axes, part, left, row_height, limits, names=None, predicted=None):
    """Draws the first images of each class in rows, from column `left` on."""
    low, high = limits
    for label in range(int(part.y.max()) + 1):
        for column, row in enumerate(np.flatnonzero(part.y == label)[:MAX_COLUMNS]):
            x, y = left + column, label * row_height
            image = (part.x[row] - low) / (high - low)
            box = (x + 0.06, x + 0.94, y + 0.94, y + 0.06)
            axes.imshow(image, cmap="gray", vmin=0, vmax=1, extent=box, aspect="equal")
            if predicted is None:
                continue
            right = predicted[row] == label
            xs, ys = np.array(box)[[0, 1, 1, 0, 0]], np.array(box)[[3, 3, 2, 2, 3]]
            color = RIGHT if right else WRONG
            axes.plot(xs, ys, color=color, linewidth=2.5, solid_joinstyle="miter")
            if not right:
                name = _shortened(names[predicted[row]], 10)
                axes.text(
                    x + 0.5, y + 1.13, name, color=WRONG, ha="center", va="center", fontsize=7
                )


def _class_names(class_names, ways):
    if class_names is None:
        return [f"class {label}" for label in range(ways)]
    if len(class_names) < ways:
        raise ValueError(f"Expected {ways} class names. Received: {len(class_names)}.")
    return [str(name) for name in class_names]


def _shortened(name, length):
    # The end tells apart names such as "GREEK SMALL LETTER BETA" or "Latin/character07".
    return name if len(name) <= length else "…" + name[1 - length :]


def _add_legend(figure):
    from matplotlib.patches import Patch

    handles = [
        Patch(fill=False, edgecolor=RIGHT, linewidth=2.5, label="right"),
        Patch(fill=False, edgecolor=WRONG, linewidth=2.5, label="wrong: predicted class below"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9)


def _episode_counts(curves):
    counts = sorted({len(curve.scores) for curve in curves.values()})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def figure_class():
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("Expected matplotlib, for plots: pip install tfmeta[plots]") from error
    return Figure


def saved(figure, path):
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure
