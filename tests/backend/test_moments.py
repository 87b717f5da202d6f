"""Moments that are right to the second derivative, and a warning of those that are not."""

import warnings

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf

import tfmeta
from tfmeta.learners import MAML


class Standardized(keras.layers.Layer):
    """A user's own normalisation, by whatever `moments` are."""

    def __init__(self, moments):
        super().__init__()
        self.moments = moments

    def call(self, x):
        mean, variance = self.moments(x, [0])
        return (x - mean) * tf.math.rsqrt(variance + 0.1)


def outer_gradients(moments):
    keras.utils.set_random_seed(0)
    network = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(3), Standardized(moments), keras.layers.Dense(1)]
    )
    learner = MAML(network, inner_learning_rate=0.5)
    learner.compile("sgd", "mse")
    return tf.function(learner.outer_gradients)(tasks.regression())[1]


def plain(x, axes):
    mean = tf.reduce_mean(x, axes)
    return mean, tf.reduce_mean((x - mean) ** 2, axes)


def test_moments_of_a_users_layer_are_right_or_told():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = outer_gradients(tfmeta.ops.moments)
    for a, b in zip(found, outer_gradients(plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    with pytest.warns(UserWarning, match=r"Received: tf.nn.moments in .*tfmeta.ops.moments"):
        outer_gradients(tf.nn.moments)
