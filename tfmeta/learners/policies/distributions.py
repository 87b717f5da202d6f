"""How a policy draws actions from the outputs of its network."""

import math

import tensorflow as tf

from tfmeta.environments import Discrete
from tfmeta.ops import random_numbers as rng


def distribution_of(actions):
    """The distribution over a `Discrete` or a `Box` of actions."""
    return Categorical(actions) if isinstance(actions, Discrete) else Gaussian(actions)


class Categorical:
    """One of `C` actions, by logits `[N, C]`.

    Where it says `choices`, a logit for each action; `log_scale` is not used.
    """

    def __init__(self, actions):
        self.width = actions.count

    def draw(self, choices, log_scale, bits):
        """Actions int32 `[N]`, from random numbers `[1, N]`."""
        chances = tf.cumsum(tf.nn.softmax(choices), axis=-1)
        below = chances <= rng.uniform(bits[0], 0.0, 1.0)[:, tf.newaxis]
        return tf.minimum(tf.reduce_sum(tf.cast(below, tf.int32), -1), self.width - 1)

    def log_chance(self, choices, log_scale, action):
        """The log probability of each action `[...]`, choices `[..., C]`."""
        return -tf.nn.sparse_softmax_cross_entropy_with_logits(action, choices)

    def entropy(self, choices, log_scale):
        """`[...]`."""
        logs = tf.nn.log_softmax(choices)
        return -tf.reduce_sum(tf.exp(logs) * logs, axis=-1)

    def divergence(self, old, new):
        """Of Kullback and Leibler, from old to new `(choices, log_scale)`, `[...]`."""
        old, new = tf.nn.log_softmax(old[0]), tf.nn.log_softmax(new[0])
        return tf.reduce_sum(tf.exp(old) * (old - new), axis=-1)

    def most_likely(self, choices):
        """What is said of an action without drawing one: the logits."""
        return choices


class Gaussian:
    """Real numbers with means `[N, C]` and a log standard deviation for each, `[C]`.

    Both are in units of the box, in which its bounds are -1 and 1, as in the normalised
    environments of rllab; a box without bounds is left as it is.
    """

    def __init__(self, actions):
        self.width = actions.size
        low, high = (tf.constant(bound, tf.float32) for bound in (actions.low, actions.high))
        bounded = tf.math.is_finite(high - low)
        self._unit = tf.where(bounded, 0.5 * (high - low), 1.0).numpy()
        self._middle = tf.where(bounded, 0.5 * (high + low), 0.0).numpy()

    def draw(self, choices, log_scale, bits):
        """Actions `[N, C]`, from random numbers `[C, N]`."""
        noise = tf.exp(log_scale) * rng.normal(tf.transpose(bits))
        return tf.stop_gradient(self.most_likely(choices + noise))

    def log_chance(self, choices, log_scale, action):
        """The log density of each action `[..., C]`, in units of the box: `[...]`."""
        error = ((action - self._middle) / self._unit - choices) * tf.exp(-log_scale)
        each = -0.5 * tf.square(error) - log_scale - 0.5 * math.log(2 * math.pi)
        return tf.reduce_sum(each, axis=-1)

    def entropy(self, choices, log_scale):
        """In units of the box, `[...]`."""
        one = tf.reduce_sum(log_scale + 0.5 * math.log(2 * math.pi * math.e), axis=-1)
        return tf.broadcast_to(one, tf.shape(choices)[:-1])

    def divergence(self, old, new):
        """Of Kullback and Leibler, from old to new `(choices, log_scale)`, `[...]`."""
        (old, old_scale), (new, new_scale) = old, new
        squares = tf.exp(2 * old_scale) + tf.square(old - new)
        each = new_scale - old_scale + 0.5 * squares * tf.exp(-2 * new_scale) - 0.5
        return tf.reduce_sum(each, axis=-1)

    def most_likely(self, choices):
        """The mean action, in the environment's units."""
        return self._middle + self._unit * choices
