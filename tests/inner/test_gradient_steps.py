"""The inner loop and the call of a network on given weights."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf

from tfmeta.backend.moments import exact_moments
from tfmeta.backend.network_facts import has_batch_norm
from tfmeta.backend.recompute import recomputed
from tfmeta.inner import SGD, Rule, call_network, gradient_steps
from tfmeta.learners.gradient.implicit_maml import ProximalSGD


def test_call_network_equals_the_network_and_changes_nothing():
    network = tasks.convolutional(dropout=0.5)
    before = [np.array(v) for v in network.variables]
    x = tasks.images().support.x[0]
    weights = [tf.convert_to_tensor(v) for v in network.trainable_variables]
    state = [tf.convert_to_tensor(v) for v in network.non_trainable_variables]
    options = {"training": False, "batch_statistics": False}
    outputs, new_state = call_network(network, weights, state, x, **options)
    np.testing.assert_allclose(outputs, network(x), atol=1e-6)
    for old, new in zip(state, new_state, strict=True):
        np.testing.assert_array_equal(old, new)
    outputs, _ = call_network(network, [0.0 * w for w in weights], state, x, **options)
    np.testing.assert_allclose(outputs, np.zeros((3, 3)))
    for variable, value in zip(network.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_batch_statistics_go_into_the_state_whole():
    network = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization()])
    assert has_batch_norm(network)
    assert not has_batch_norm(tasks.dense())
    x = tf.constant([[0.0, 1.0], [4.0, 3.0]])
    weights = [tf.convert_to_tensor(v) for v in network.trainable_variables]
    state = [tf.convert_to_tensor(v) for v in network.non_trainable_variables]
    _, (mean, variance) = call_network(
        network, weights, state, x, training=False, batch_statistics=True
    )
    np.testing.assert_allclose(mean, [2.0, 2.0], atol=1e-6)
    np.testing.assert_allclose(variance, [4.0, 1.0], rtol=1e-5)
    layer = network.layers[0]
    assert layer.momentum == 0.99
    assert "call" not in vars(layer)


def test_moments_have_the_second_derivative_of_the_formula():
    x = tf.constant(np.random.default_rng(0).normal(size=(5, 3)))

    def hessian(moments):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                value = tf.reduce_sum(moments(x) ** 2)
            gradient = inner.gradient(value, x)
        return outer.jacobian(gradient, x)

    expected = hessian(lambda t: tf.reduce_mean(t**2, 0) - tf.reduce_mean(t, 0) ** 2)
    np.testing.assert_allclose(hessian(lambda t: exact_moments(t, [0])[1]), expected, atol=1e-12)


def test_gradient_steps_keep_the_path():
    def loss(weights, state, t):
        assert t == state
        return tf.reduce_sum(weights[0] ** 2), state + 1

    path, states, losses = gradient_steps(loss, [tf.constant([8.0])], 0, SGD(0.25), 3, False)
    np.testing.assert_allclose([w[0] for (w,) in path], [8, 4, 2, 1])
    np.testing.assert_allclose(losses, [64, 16, 4])
    assert states == [0, 1, 2, 3]


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_rolled_steps_have_the_same_ends(steps):
    def loss(weights, state, t):
        return tf.reduce_sum(weights[0] ** 2), state + tf.cast(t, tf.float32)

    def run(rolled):
        return gradient_steps(
            loss, [tf.constant([8.0])], tf.constant(0.0), SGD(0.25), steps, True, rolled=rolled
        )

    path, states, losses = tf.function(run)(True)
    plain_path, plain_states, plain_losses = run(False)
    np.testing.assert_allclose(path[-1], plain_path[-1])
    np.testing.assert_allclose(states[-1], plain_states[-1])
    np.testing.assert_allclose(losses, plain_losses)


def test_rolled_steps_keep_the_losses_before_one_that_is_not_finite():
    def loss(weights, state, t):
        return tf.reduce_sum(weights[0]) * tf.where(t == 1, np.nan, 1.0), state

    _, _, losses = gradient_steps(loss, [tf.constant([8.0])], 0, SGD(1.0), 3, True, rolled=True)
    np.testing.assert_array_equal(np.isfinite(losses), [True, False, False])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rolled", [False, True])
def test_proximal_descent_finds_the_minimum_at_a_rate_that_is_too_large(dtype, rolled):
    """Curvatures 1 and 1000, held to the start by 2: gradient descent needs a rate below 0.002."""
    curvature, start = np.array([1.0, 1000.0], dtype), np.array([3.0, -1.0], dtype)

    def loss(w, state, t):
        return 0.5 * tf.reduce_sum(curvature * (w[0] - 5.0) ** 2), state

    rule = ProximalSGD(0.5, 2.0)
    path, _, losses = gradient_steps(loss, [tf.constant(start)], 0, rule, 60, True, rolled=rolled)
    expected = (curvature * 5.0 + 2.0 * start) / (curvature + 2.0)
    # Differences of gradients, which the rate is measured by, have fewer digits.
    tolerance = {"float32": 5e-3, "float64": 1e-4}[dtype]
    np.testing.assert_allclose(path[-1][0], expected, rtol=tolerance)
    assert losses[-1] < losses[0]


def test_proximal_descent_is_gradient_descent_at_a_rate_that_the_loss_bears():
    def loss(w, state, t):
        return tf.reduce_sum(w[0] ** 2), state

    path, _, _ = gradient_steps(loss, [tf.constant([2.0])], 0, ProximalSGD(0.1, 1.0), 3, True)
    w = 2.0
    for point in path:
        np.testing.assert_allclose(point[0], [w], rtol=1e-6)
        w -= 0.1 * (2 * w + (w - 2.0))


class LearnedRate(Rule):
    """A learned rate, times a learned fraction of the step before."""

    def make(self, weights):
        self.rate = self.add_weight(shape=(), initializer=lambda *_, **__: 0.1, dtype="float64")
        self.share = self.add_weight(shape=(), initializer=lambda *_, **__: 0.5, dtype="float64")

    def init(self, weights):
        return [tf.zeros_like(w) for w in weights]

    def update(self, gradients, weights, slots, step):
        slots = [self.share * m + g for m, g in zip(slots, gradients, strict=True)]
        return [w - self.rate * m for w, m in zip(weights, slots, strict=True)], slots


@pytest.mark.parametrize("in_graph", [False, True])
def test_a_learned_rule_has_the_same_gradient_with_and_without_checkpoint(in_graph):
    rule = LearnedRate(dtype="float64")
    start = [tf.constant(np.random.default_rng(0).normal(size=3))]
    rule.make(start)

    def loss(weights, state, t):
        return tf.reduce_sum(tf.cos(weights[0]) * weights[0]), state

    def value(checkpoint):
        state = tf.constant(0.0, tf.float64)
        steps = gradient_steps(loss, start, state, rule, 3, False, checkpoint=checkpoint)
        return tf.reduce_sum(steps[0][-1][0] ** 3)

    def gradients(checkpoint):
        with tf.GradientTape() as tape:
            end = value(checkpoint)
        return tape.gradient(end, [v.value for v in rule.trainable_variables])

    run = tf.function(gradients, autograph=False) if in_graph else gradients
    plain, again = run(None), run(recomputed)
    np.testing.assert_allclose(again, plain, rtol=1e-12)
    for variable, gradient in zip(rule.trainable_variables, plain, strict=True):
        ends = []
        for move in (1e-6, -1e-6):
            variable.assign_add(move)
            ends.append(float(value(None)))
            variable.assign_add(-move)
        np.testing.assert_allclose(gradient, (ends[0] - ends[1]) / 2e-6, rtol=1e-6)
