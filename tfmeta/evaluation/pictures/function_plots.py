"""Pictures of curves: context, targets, and what learners expect, with bands."""

from typing import Any

import numpy as np

from tfmeta.evaluation.pictures.plots import COLORS, figure_class, saved
from tfmeta.hints import Figure, Path
from tfmeta.types import Episode, Examples

POINTS = 200


def plot_functions(
    learners: Any,
    episode: Episode,
    path: Path | None = None,
    title: str = "Predictions from a few points",
) -> Figure:
    """Draws one regression task: a panel a learner, its mean and a band of two standard deviations.

    A learner that predicts no standard deviations gets no band. The curve goes from the smallest x
    of the task to the largest one.

    Args:
        learners: a `tfmeta.MetaModel`, or a dict from a name to it.
        episode: an `Episode` of one task, or of a meta-batch, whose first task is drawn, with x
            `[rows, 1]` and y `[rows]` or `[rows, 1]`. Rows of padding are left out.
        path: file to write, in the format of its ending (.png, .pdf, .svg).
        title: title of the figure.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: the task is no curve.
        ImportError: matplotlib is missing.
    """
    Figure = figure_class()
    learners = learners if isinstance(learners, dict) else {"": learners}
    support, query = _first_task(episode)
    every = np.concatenate([support.x, query.x])
    x = np.linspace(every.min(), every.max(), POINTS)[:, None].astype(every.dtype)
    figure = Figure(figsize=(6.4, 0.8 + 2.4 * len(learners)), layout="constrained")
    panels = figure.subplots(len(learners), sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, (name, learner) in zip(panels, learners.items(), strict=True):
        mean, scale = _prediction(learner, support, x)
        axes.plot(x[:, 0], mean, color=COLORS[0], label="mean")
        if scale is not None:
            band = mean - 2 * scale, mean + 2 * scale
            axes.fill_between(x[:, 0], *band, color=COLORS[0], alpha=0.2, lw=0, label="± 2 sd")
        axes.plot(query.x[:, 0], query.y, ".", color=COLORS[4], markersize=4, label="targets")
        axes.plot(support.x[:, 0], support.y, "o", color="black", markersize=4, label="context")
        axes.set_ylabel("y")
        axes.set_title(name, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel("x")
    panels[0].legend(frameon=False, ncols=4, fontsize=8)
    figure.suptitle(title, fontsize=11)
    return saved(figure, path)


def _prediction(learner, support, x):
    """`(mean [rows], standard deviation [rows] or None)`."""
    adapted = learner.adapt(support._replace(y=support.y[:, None]))
    if not learner.predicts_distributions:
        return np.array(learner.predict_query(adapted, x)).reshape(len(x)), None
    return tuple(np.array(t)[:, 0] for t in learner.predict_distribution(adapted, x))


def _first_task(episode):
    """The real rows of the first task, `Examples` of arrays x `[rows, 1]`, y `[rows]`."""
    if not isinstance(episode, Episode):
        raise ValueError(f"Expected a tfmeta.Episode. Received: {type(episode).__name__}.")
    parts = []
    for part in episode:
        if not hasattr(part.x, "shape"):
            raise ValueError(f"Expected x of shape [rows, 1]. Received: {type(part.x).__name__}.")
        x, y = np.array(part.x), np.array(part.y)
        mask = np.ones(x.shape[:-1]) if part.mask is None else np.array(part.mask)
        if x.ndim == 3:
            x, y, mask = x[0], y[0], mask[0]
        if x.ndim != 2 or x.shape[1] != 1 or y.size != len(x):
            raise ValueError(
                "Expected a task of curves, x of shape [rows, 1] and y of shape [rows] or "
                f"[rows, 1]. Received: x of shape {x.shape} and y of shape {y.shape}."
            )
        parts.append(Examples(x[mask > 0], y.reshape(len(x))[mask > 0]))
    return Episode(*parts)
