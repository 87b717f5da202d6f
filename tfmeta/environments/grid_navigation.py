"""Find a goal on a grid that nobody shows."""

import keras
import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.environments.environment import Discrete, Environment
from tfmeta.ops import random_numbers as rng

# Stay, up, right, down, left.
MOVES = [(0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)]


@keras.saving.register_keras_serializable("tfmeta")
class GridNavigation(Environment):
    """A grid with one goal that cannot be seen; made by `grid_navigation`."""

    observation_size = 2
    actions = Discrete(len(MOVES))
    task_draws = 1

    def __init__(self, size=5, horizon=15, episodes=4):
        self.size = check_integer("size", size, 3)
        self.horizon = check_integer("horizon", horizon, 1)
        self.episodes = check_integer("episodes", episodes, 1)
        cells = [(x, y) for x in range(self.size) for y in range(self.size)]
        self.goals = [cell for cell in cells if max(cell) > 1]

    def draw_task(self, bits):
        """Goals `[E, 2]`, int32."""
        return tf.gather(tf.constant(self.goals), rng.integers(bits[0], len(self.goals)))

    def reset(self, task, bits):
        return tf.zeros_like(task)

    def observe(self, task, state):
        return tf.cast(state, tf.float32)

    def step(self, task, state, action, bits):
        moved = state + tf.gather(tf.constant(MOVES), action)
        state = tf.clip_by_value(moved, 0, self.size - 1)
        there = tf.reduce_all(state == task, axis=-1)
        return state, tf.where(there, 1.0, -0.1), tf.zeros_like(there)


def grid_navigation(size: int = 5, horizon: int = 15, episodes: int = 4) -> Environment:
    """A grid with a goal that cannot be seen: the agent has to look for it, and then to stay.

    It starts in the corner (0, 0) and may stay, or move by one cell in each direction. The reward
    is 1 for each step that ends on the goal, and -0.1 for every other; no episode ends before its
    time limit. The goal is in any cell but the four nearest to the start. The observation is the
    cell.

    Args:
        size: cells along a side.
        horizon: steps of an episode.
        episodes: episodes of a task.

    Returns:
        `tfmeta.environments.Environment`. A task is a goal, int32 `[2]`.

    Raises:
        ValueError: an argument is out of range.

    Reference:
        Zintgraf et al., "VariBAD: A very good method for Bayes-adaptive deep RL via meta-learning",
        ICLR 2020, section 5.1, and `environments/navigation/gridworld.py` of lmzintgraf/varibad.
        arXiv:1910.08348
    """
    return GridNavigation(size, horizon, episodes)
