"""Two choices of two actions, whose expected return has a closed form."""

import keras
import numpy as np
import tensorflow as tf

from tfmeta.environments import Discrete, Environment


@keras.saving.register_keras_serializable("tests")
class TwoSteps(Environment):
    """The first action pays, and says where the second one is taken."""

    observation_size = 3
    actions = Discrete(2)
    horizon = 2
    task_draws = 1
    first = (0.2, 0.0)

    def __init__(self, second):
        self.second = second

    def draw_task(self, bits):
        return tf.zeros([tf.shape(bits)[1]])

    def reset(self, task, bits):
        return tf.zeros(tf.shape(task), tf.int32)

    def observe(self, task, state):
        return tf.one_hot(state, 3)

    def step(self, task, state, action, bits):
        first, second = tf.constant(self.first), tf.constant(self.second)
        later = tf.gather_nd(second, tf.stack([tf.maximum(state, 1) - 1, action], axis=-1))
        reward = tf.where(state == 0, tf.gather(first, action), later)
        return action + 1, reward, tf.zeros_like(reward, tf.bool)

    def expected_return(self, logits):
        """Of logits `[3, 2]`: of the first action, of the second after either."""
        chances = np.exp(logits - logits.max(1, keepdims=True))
        chances /= chances.sum(1, keepdims=True)
        later = (chances[1:] * self.second).sum(1)
        return chances[0] @ (np.array(self.first) + later)


def gradient_of(function, at, step=1e-4):
    """By central differences, in float64."""
    found = np.zeros_like(at)
    for place in np.ndindex(at.shape):
        change = np.zeros_like(at)
        change[place] = step
        found[place] = (function(at + change) - function(at - change)) / (2 * step)
    return found
