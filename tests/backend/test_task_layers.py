"""A layer of one's own inside a task: what `tfmeta.inner.in_task` registers."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf
from meta_gradients import compiled, relative_error_along

import tfmeta
from tfmeta.inner import call_network
from tfmeta.learners import MAML


class Standardized(keras.layers.Layer):
    """Rows less their mean, by their deviation, which its gradient takes for constants."""

    def call(self, x):
        mean = tf.stop_gradient(tf.reduce_mean(x, 0))
        variance = tf.stop_gradient(tf.reduce_mean((x - mean) ** 2, 0))
        return (x - mean) * tf.math.rsqrt(variance + 1e-3)


class Registered(Standardized):
    """The same, of which tfmeta knows what it does inside a task."""


class Derived(Registered):
    """Of a registered class."""


seen = []


@tfmeta.inner.in_task(Registered)
def standardize(layer, call, mode, x):
    seen.append((layer, mode.batch_statistics))
    mean, variance = tfmeta.ops.moments(x, [0])
    return (x - mean) * tf.math.rsqrt(variance + 1e-3)


def network(cls):
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense
    return keras.Sequential([
        keras.Input((1,), dtype="float64"), dense(4, "tanh", dtype="float64"),
        cls(dtype="float64"), dense(1, dtype="float64"),
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("cls", "eager"),
    [(Standardized, True), (Registered, True), (Derived, True), (Registered, False)],
)
def test_the_outer_gradient_goes_through_what_is_registered(cls, eager):
    learner = compiled(MAML(network(cls), inner_learning_rate=0.1, inner_steps=2))
    error = relative_error_along(learner, tasks.regression(dtype="float64"), eager=eager)
    if cls is Standardized:
        assert error > 1e-3  # its own gradient is not that of its outputs
    else:
        assert error < 1e-6


def gradient(model, x):
    """Of the first kernel, outside of any task."""
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.sin(model(x)))
    return tape.gradient(loss, model.trainable_variables[0]).numpy()


def test_outside_of_a_task_the_layer_is_as_it_was_written():
    model, x = network(Registered), tf.constant([[1.0], [2.0], [4.0]], tf.float64)
    own = model.layers[1]
    compiled(MAML(model)).adapt(tasks.one(tasks.regression(dtype="float64").support))
    assert "call" not in vars(own)

    seen.clear()
    found, expected = (gradient(of, x) for of in (model, network(Standardized)))
    np.testing.assert_array_equal(found, expected)
    assert not seen
    weights = [tf.convert_to_tensor(v) for v in model.trainable_variables]
    for statistics in (True, False):
        outputs, _ = call_network(model, weights, [], x, training=True, batch_statistics=statistics)
        np.testing.assert_allclose(outputs, model(x), rtol=1e-12)
    assert seen == [(own, True), (own, False)]
