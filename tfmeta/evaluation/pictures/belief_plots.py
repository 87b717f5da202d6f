"""A picture of what VariBAD believes of a grid's goal while it looks for it."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.environments.grid_navigation import GridNavigation
from tfmeta.evaluation.pictures.plots import COLORS, figure_class, saved
from tfmeta.hints import Figure
from tfmeta.learners.policies.varibad import VariBAD

STAY = 0


def plot_belief(
    learner: VariBAD,
    number: int = 0,
    steps: Sequence[int] = (0, 2, 4, 6, 8, 10, 12, 14, 15, 29),
    path: str | None = None,
    *,
    seed: int = 1,
) -> Figure:
    """Draws, at steps of one task, the reward that is expected in each cell of the grid.

    A panel a step: the darker a cell, the more is expected of staying there, under the belief
    before that step. The line is the way of the episode so far, and the star the goal.

    Args:
        learner: a `tfmeta.learners.VariBAD` for `tfmeta.environments.grid_navigation`.
        number: number of the task.
        steps: numbers of the steps, over all episodes of the task.
        path: file to write, in the format of its ending (.png, .pdf, .svg).
        seed: of the task.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: another learner or environment; a step that there is not.
        ImportError: matplotlib is missing.
    """
    if not isinstance(learner, VariBAD) or not isinstance(learner.environment, GridNavigation):
        raise ValueError(
            "Expected a VariBAD for tfmeta.environments.grid_navigation(). Received: "
            f"{type(learner).__name__}."
        )
    environment = learner.environment
    last = environment.episodes * environment.horizon - 1
    if any(check_integer("each step", step, 0) > last for step in steps):
        raise ValueError(f"Expected steps 0..{last}. Received: steps={tuple(steps)}.")
    figure = figure_class()(figsize=(1.8 * len(steps), 2.3), layout="constrained")
    goal, cells, expected = expected_rewards(learner, number, seed)
    for step, axes in zip(steps, np.ravel(figure.subplots(1, len(steps))), strict=True):
        episode, t = divmod(step, environment.horizon)
        axes.imshow(expected[step].T, origin="lower", cmap="Greys", vmin=-0.1, vmax=1.0)
        way = cells[episode * environment.horizon : step + 1]
        axes.plot(*way.T, color=COLORS[0], lw=2)
        axes.plot(*way[-1], "o", color=COLORS[0], markersize=8)
        axes.plot(*goal, "*", color=COLORS[1], markersize=12)
        axes.set(title=f"episode {episode + 1}, step {t}", xticks=[], yticks=[])
        axes.title.set_fontsize(9)
    return saved(figure, path)


def expected_rewards(learner, number=0, seed=1, draws=32):
    """What VariBAD expects of staying in each cell, at every step of one task.

    Args:
        learner: as in `plot_belief`, whose other arguments these are.
        draws: of the latent variable, whose predictions are averaged.

    Returns:
        `(goal, cells, expected)`, NumPy: `[2]`; where the agent is, `[T, 2]`; `[T, size, size]`.
    """
    size = learner.environment.size
    task = learner.environment.parameters([number], seed)
    trial, _ = tf.function(learner.roll)(task, tf.constant([number], tf.int64))
    mean, scale = (part[:, tf.newaxis] for part in trial.extra[3:5])  # [T, 1, 1, Z]
    noise = np.random.default_rng(0).normal(size=(draws, 1, mean.shape[-1])).astype("float32")
    cells = np.stack(np.indices((size, size)), axis=-1).reshape(-1, 2).astype("float32")
    stay = tf.fill([len(cells)], STAY)
    told = learner.rewards(mean + scale * noise, cells, stay)  # [T, draws, cells]
    told = tf.reduce_mean(told, axis=1).numpy().reshape(-1, size, size)
    return task.numpy()[0], trial.observations[:, 0].numpy(), told
