"""A picture of the gates of an LSTM meta-learner."""

import numpy as np

from tfmeta.engine.meta_model import MetaModel
from tfmeta.evaluation.pictures.plots import COLORS, figure_class, saved
from tfmeta.hints import Figure, Path
from tfmeta.learners.gradient.lstm_meta_learner import LSTMMetaLearner
from tfmeta.types import Episode, Examples


def plot_gates(
    learner: MetaModel,
    episodes: Episode,
    path: Path | None = None,
    title: str = "Gates of the LSTM meta-learner",
) -> Figure:
    """Draws forget and input gates against the inner step: a line for each weight of the network.

    A line is the mean over the numbers of the weight and over tasks; its band holds the middle
    80 % of them.

    Args:
        learner: a `tfmeta.learners.LSTMMetaLearner`.
        episodes: an `Episode` of a meta-batch, each of whose support sets is adapted to.
        path: file to write, in the format of its ending (.png, .pdf, .svg).
        title: title of the figure.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: the learner has no gates.
        ImportError: matplotlib is missing.
    """
    if not isinstance(learner, LSTMMetaLearner):
        raise ValueError(f"Expected an LSTMMetaLearner. Received: {type(learner).__name__}.")
    Figure = figure_class()
    supports = [Examples(*(t[i] for t in episodes.support)) for i in range(len(episodes.support.y))]
    gates = [learner.gates(support) for support in supports]
    weights = learner.network_weights()
    names = [weights[i].path for i in learner.adapted_positions()]
    figure = Figure(figsize=(10, 4), layout="constrained")
    panels = zip(figure.subplots(1, 2), ("forget", "input"), strict=True)
    for axes, kind in panels:
        for i, name in enumerate(names):
            values = np.stack([getattr(g, kind)[i] for g in gates])  # [tasks, T, ...]
            values = np.moveaxis(values, 1, 0).reshape(values.shape[1], -1)
            steps, color = np.arange(1, len(values) + 1), COLORS[i % len(COLORS)]
            style = "-" if i < len(COLORS) else "--"
            axes.plot(steps, values.mean(axis=1), style, color=color, label=name)
            low, high = np.quantile(values, (0.1, 0.9), axis=1)
            axes.fill_between(steps, low, high, color=color, alpha=0.04, lw=0)
        axes.set(title=f"{kind} gate", xlabel="inner step", xticks=steps)
        axes.ticklabel_format(axis="y", useOffset=False)
        axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.suptitle(title, fontsize=11)
    return saved(figure, path)
