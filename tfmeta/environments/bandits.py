"""Arms of unknown worth."""

import keras
import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.environments.environment import Discrete, Environment
from tfmeta.ops import random_numbers as rng


@keras.saving.register_keras_serializable("tfmeta")
class Bandits(Environment):
    """Bernoulli bandits; made by `bandits`."""

    observation_size = 1
    step_draws = 1

    def __init__(self, arms=10, pulls=5):
        self.arms = check_integer("arms", arms, 2)
        self.pulls = self.horizon = check_integer("pulls", pulls, 1)
        self.actions, self.task_draws = Discrete(self.arms), self.arms

    def draw_task(self, bits):
        """Chances of a reward, `[E, arms]`."""
        return tf.transpose(rng.uniform(bits, 0.0, 1.0))

    def reset(self, task, bits):
        return tf.zeros_like(task[:, :1])

    def observe(self, task, state):
        return state

    def step(self, task, state, action, bits):
        chance = tf.gather(task, action, axis=1, batch_dims=1)
        reward = tf.cast(rng.uniform(bits[0], 0.0, 1.0) < chance, tf.float32)
        return state, reward, tf.zeros_like(reward, tf.bool)


def bandits(arms: int = 10, pulls: int = 5) -> Environment:
    """Bernoulli bandits, whose arms pay 1 with chances uniform in 0..1, else 0.

    There is nothing to see, so that the observation is a zero: what was pulled and what it paid is
    all that an agent can learn from.

    Args:
        arms: number of arms.
        pulls: steps of the one episode of a task.

    Returns:
        `tfmeta.environments.Environment`. A task is the arms' chances, `[arms]`.

    Raises:
        ValueError: an argument is out of range.

    Reference:
        Duan et al., "RL2: Fast reinforcement learning via slow reinforcement learning" (2016),
        section 3.1. arXiv:1611.02779
    """
    return Bandits(arms, pulls)
