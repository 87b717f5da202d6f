"""Mazes that nobody has seen: the small game."""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.environments.environment import Discrete, Environment
from tfmeta.ops import random_numbers as rng

# Up, right, down, left.
MOVES = np.array([(0, 1), (1, 0), (0, -1), (-1, 0)], "int32")


class Maze(NamedTuple):
    """A task of `mazes`.

    Attributes:
        open: `[..., size, size, 4]` float32, 1 where one can go up, right, down, left from a cell.
        goal: the cell to find, int32 `[..., 2]`.
    """

    open: Any
    goal: Any


@keras.saving.register_keras_serializable("tfmeta")
class Mazes(Environment):
    """Mazes drawn anew for each task; made by `mazes`."""

    actions = Discrete(4)

    def __init__(self, size=5, horizon=30, episodes=4):
        self.size = check_integer("size", size, 2)
        self.horizon = check_integer("horizon", horizon, 1)
        self.episodes = check_integer("episodes", episodes, 1)
        self.passages = _passages(self.size)
        self.observation_size = 2 * self.size + 4
        self.task_draws = len(self.passages) + 1

    def draw_task(self, bits):
        """`Maze` `[E, ...]`: a random spanning tree, and a goal that is not the start."""
        *weights, goal = tf.unstack(bits)
        opened = _spanning_tree(self.passages, self.size**2, tf.stack(weights, axis=1))
        cell = 1 + rng.integers(goal, self.size**2 - 1)
        walls = tf.reshape(opened, (-1, self.size, self.size, 4))
        return Maze(walls, tf.stack([cell // self.size, cell % self.size], axis=-1))

    def reset(self, task, bits):
        return tf.zeros_like(task.goal)

    def observe(self, task, state):
        place = tf.one_hot(state, self.size)
        place = tf.reshape(place, (-1, 2 * self.size))
        return tf.concat([place, tf.gather_nd(task.open, state, batch_dims=1)], axis=-1)

    def step(self, task, state, action, bits):
        ways = tf.gather_nd(task.open, state, batch_dims=1)
        goes = tf.gather(ways, action, axis=1, batch_dims=1)
        state += tf.gather(MOVES, action) * tf.cast(goes, tf.int32)[:, tf.newaxis]
        there = tf.reduce_all(state == task.goal, axis=-1)
        return state, tf.where(there, 1.0, -0.02), there


def _passages(size):
    """`(cell, neighbour, move)` of all walls that could be open, each once, int32 `[P, 3]`."""
    passages = []
    for x in range(size):
        for y in range(size):
            for move in (0, 1):
                to = x + MOVES[move][0], y + MOVES[move][1]
                if max(to) < size:
                    passages.append((x * size + y, to[0] * size + to[1], move))
    return np.array(passages, "int32")


def _spanning_tree(passages, cells, weights):
    """Prim's algorithm for many mazes at once: `[E, cells, 4]`, 1 for passages in the tree.

    Args:
        passages: as of `_passages`.
        cells: number of cells.
        weights: random numbers `[E, P]`; a passage of a smaller one is taken first.
    """
    ends = tf.one_hot(passages[:, :2], cells)  # [P, 2, cells]
    reached = tf.one_hot(tf.zeros(tf.shape(weights)[:1], tf.int32), cells)
    order = tf.cast(tf.argsort(tf.argsort(weights, axis=1), axis=1), tf.float32)
    taken = tf.zeros_like(order)
    for _ in range(cells - 1):
        known = tf.einsum("ec,pnc->epn", reached, ends)
        leads_on = tf.reduce_sum(known, axis=-1) == 1  # from where one was to where one was not
        best = tf.argmin(tf.where(leads_on, order, np.inf), axis=1)
        new = tf.one_hot(best, len(passages))
        taken += new
        reached = tf.maximum(reached, tf.einsum("ep,pnc->ec", new, ends))
    there = tf.one_hot(passages[:, 0] * 4 + passages[:, 2], cells * 4)
    back = tf.one_hot(passages[:, 1] * 4 + passages[:, 2] + 2, cells * 4)
    return tf.reshape(tf.matmul(taken, there + back), (-1, cells, 4))


def mazes(size: int = 5, horizon: int = 30, episodes: int = 4) -> Environment:
    """Mazes without circles: a random spanning tree of the grid, by Prim's algorithm.

    The agent starts in the corner (0, 0) and goes up, right, down or left, if no wall is there. The
    reward is 1 at the goal, where an episode ends, and -0.02 for every other step. The observation
    is the cell, each coordinate one-hot, and which of the four ways are open; the goal is not seen.

    Args:
        size: cells along a side.
        horizon: steps of an episode.
        episodes: episodes of a task.

    Returns:
        `tfmeta.environments.Environment`. A task is a `Maze(open, goal)`.

    Raises:
        ValueError: an argument is out of range.

    Reference:
        No paper's mazes; those of Mishra et al., "A simple neural attentive meta-learner", ICLR
        2018, section 5.2, are seen as pictures.
    """
    return Mazes(size, horizon, episodes)
