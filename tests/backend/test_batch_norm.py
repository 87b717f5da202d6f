"""Fused batch normalisation against the plain formula, to the second derivative, in float64."""

import numpy as np
import pytest
import tensorflow as tf

from tfmeta.backend.batch_norm import batch_norm
from tfmeta.backend.moments import exact_moments


def plain(x, gamma, beta, epsilon, pool=False):
    mean, variance = exact_moments(x, (0, 1, 2))
    z = (x - mean) * (tf.math.rsqrt(variance + epsilon) * gamma) + beta
    return (tf.nn.max_pool2d(z, 2, 2, "VALID") if pool else z), mean, variance


def tensors(pool, dtype, height=5):
    random = np.random.default_rng(0)

    def normal(*shape):
        return tf.constant(random.normal(size=shape), dtype)

    x, beta = normal(3, height, 4, 5), normal(5)
    # Of both signs: the winner of a window is then the smallest.
    gamma = tf.constant([1.5, -0.7, 0.2, -2.0, 1.0], dtype)
    weights = normal(3, height // 2, 2, 5) if pool else normal(*x.shape)
    return (
        [x, gamma, beta],
        [weights, normal(5), normal(5)],
        [normal(*t.shape) for t in (x, gamma, beta)],
    )


def value(fn, inputs, weights, pool):
    """A scalar that depends on all outputs, and not linearly."""
    z, mean, variance = fn(*inputs, 1e-3, pool)
    parts = zip((tf.sin(z), tf.sin(mean), tf.exp(variance)), weights, strict=True)
    return tf.add_n([tf.reduce_sum(a * b) for a, b in parts])


def derivatives(fn, pool, dtype, height=5):
    """The value, its gradient, and the gradient of the gradient along a direction."""
    inputs, weights, direction = tensors(pool, dtype, height)
    everything = [*inputs, *weights]
    with tf.GradientTape() as outer:
        outer.watch(everything)
        with tf.GradientTape() as inner:
            inner.watch(inputs)
            result = value(fn, inputs, weights, pool)
        first = inner.gradient(result, inputs)
        along = tf.add_n([tf.reduce_sum(a * b) for a, b in zip(first, direction, strict=True)])
    return [result, *first, *outer.gradient(along, everything)]


@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
@pytest.mark.parametrize("height", [4, 5])
def test_equals_the_plain_formula_to_the_second_derivative(pool, dtype, tolerance, height):
    compiled = tf.function(lambda: derivatives(batch_norm, pool, dtype, height), autograph=False)
    expected = derivatives(plain, pool, dtype, height)
    for results in (derivatives(batch_norm, pool, dtype, height), compiled()):
        for a, b in zip(results, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(b).max())


@pytest.mark.parametrize("pool", [False, True])
def test_second_derivative_equals_central_differences(pool):
    inputs, weights, direction = tensors(pool, "float64")

    def slope(shift):
        moved = [t + shift * d for t, d in zip(inputs, direction, strict=True)]
        with tf.GradientTape() as tape:
            tape.watch(moved)
            result = value(batch_norm, moved, weights, pool)
        gradient = tape.gradient(result, moved)
        return sum(np.sum(a * b) for a, b in zip(gradient, direction, strict=True))

    second = derivatives(batch_norm, pool, "float64")[4:7]
    exact = sum(np.sum(a * b) for a, b in zip(second, direction, strict=True))
    step = 1e-6
    np.testing.assert_allclose((slope(step) - slope(-step)) / (2 * step), exact, rtol=1e-7)


def test_a_third_derivative_is_refused():
    (x, gamma, beta), _, _ = tensors(False, "float32")
    with tf.GradientTape() as a, tf.GradientTape() as b, tf.GradientTape() as c:
        for tape in (a, b, c):
            tape.watch(x)
        y = tf.reduce_sum(tf.sin(batch_norm(x, gamma, beta, 1e-3)[0]))
        first = tf.reduce_sum(tf.sin(c.gradient(y, x)))
        second = tf.reduce_sum(tf.sin(b.gradient(first, x)))
    with pytest.raises(NotImplementedError, match="Expected at most two derivatives"):
        a.gradient(second, x)
