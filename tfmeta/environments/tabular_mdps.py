"""Small Markov decision processes drawn at random."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.environments.environment import Discrete, Environment
from tfmeta.ops import random_numbers as rng


class MDP(NamedTuple):
    """A task of `tabular_mdps`.

    Attributes:
        rewards: means, `[..., states, actions]`.
        transitions: chances of the next state, `[..., states, actions, states]`.
    """

    rewards: Any
    transitions: Any


@keras.saving.register_keras_serializable("tfmeta")
class TabularMDPs(Environment):
    """Markov decision processes with tables; made by `tabular_mdps`."""

    step_draws = 2

    def __init__(self, states=10, actions=5, horizon=10, episodes=10):
        self.states = self.observation_size = check_integer("states", states, 1)
        self.actions = Discrete(check_integer("actions", actions, 2))
        self.horizon = check_integer("horizon", horizon, 1)
        self.episodes = check_integer("episodes", episodes, 1)
        self.task_draws = self.states * self.actions.count * (1 + self.states)

    def get_config(self):
        return super().get_config() | {"actions": self.actions.count}

    def draw_task(self, bits):
        """`MDP` `[E, ...]`."""
        pairs = self.states * self.actions.count
        rewards, transitions = tf.split(bits, [pairs, pairs * self.states])
        shape = (-1, self.states, self.actions.count)
        rewards = tf.reshape(tf.transpose(1.0 + rng.normal(rewards)), shape)
        # A flat Dirichlet: exponential numbers, each over their sum.
        numbers = -tf.math.log(rng.uniform(transitions, 2.0**-24, 1.0))
        numbers = tf.reshape(tf.transpose(numbers), (*shape, self.states))
        return MDP(rewards, numbers / tf.reduce_sum(numbers, axis=-1, keepdims=True))

    def reset(self, task, bits):
        return tf.zeros(tf.shape(task.rewards)[:1], tf.int32)

    def observe(self, task, state):
        return tf.one_hot(state, self.states)

    def step(self, task, state, action, bits):
        places = tf.stack([state, action], axis=1)
        chances = tf.gather_nd(task.transitions, places, batch_dims=1)
        point = rng.uniform(bits[0], 0.0, 1.0)[:, tf.newaxis]
        below = tf.cast(tf.cumsum(chances, axis=1) <= point, tf.int32)
        state = tf.minimum(tf.reduce_sum(below, axis=1), self.states - 1)
        reward = tf.gather_nd(task.rewards, places, batch_dims=1) + rng.normal(bits[1])
        return state, reward, tf.zeros_like(reward, tf.bool)


def tabular_mdps(
    states: int = 10, actions: int = 5, horizon: int = 10, episodes: int = 10
) -> Environment:
    """Markov decision processes whose rewards and transitions are drawn anew for each task.

    A reward is normal with variance 1 around a mean of its state and action, which is normal with
    variance 1 around 1; the chances of the next state come from a flat Dirichlet distribution.
    Every episode begins in state 0. The observation is the state, one-hot.

    Args:
        states: number of states.
        actions: number of actions.
        horizon: steps of an episode.
        episodes: episodes of a task.

    Returns:
        `tfmeta.environments.Environment`. A task is an `MDP(rewards, transitions)`.

    Raises:
        ValueError: an argument is out of range.

    Reference:
        Duan et al., "RL2: Fast reinforcement learning via slow reinforcement learning" (2016),
        section 3.2. arXiv:1611.02779
    """
    return TabularMDPs(states, actions, horizon, episodes)
