"""Distributions of actions, against NumPy and against what they draw."""

import numpy as np
import tensorflow as tf

from tfmeta.environments import Box, Discrete
from tfmeta.learners.policies.distributions import distribution_of
from tfmeta.ops.random_numbers import random_bits


def test_categorical():
    found = distribution_of(Discrete(3))
    choices = np.log([[0.2, 0.3, 0.5]]).astype("float32") + 1.0
    bits = random_bits(0, tf.range(20_000, dtype=tf.int64), 1)
    drawn = found.draw(tf.repeat(choices, 20_000, axis=0), None, bits).numpy()
    np.testing.assert_allclose(np.bincount(drawn) / 20_000, [0.2, 0.3, 0.5], atol=0.012)
    np.testing.assert_allclose(found.log_chance(choices, None, [2]), np.log([0.5]), rtol=1e-5)
    entropy = -sum(p * np.log(p) for p in (0.2, 0.3, 0.5))
    np.testing.assert_allclose(found.entropy(choices, None), [entropy], rtol=1e-5)
    other = np.log([[0.4, 0.4, 0.2]]).astype("float32")
    divergence = 0.2 * np.log(0.5) + 0.3 * np.log(0.75) + 0.5 * np.log(2.5)
    np.testing.assert_allclose(
        found.divergence((choices, None), (other, None)), [divergence], rtol=1e-5
    )


def test_gaussian_in_units_of_the_box():
    found = distribution_of(Box(2, 1.0, 5.0))  # its middle is 3, its unit 2
    scale = np.log([0.5, 1.5]).astype("float32")
    choices = np.array([[0.5, -1.0]], "float32")
    np.testing.assert_allclose(found.most_likely(choices), [[4.0, 1.0]])
    bits = random_bits(0, tf.range(20_000, dtype=tf.int64), 2)
    drawn = found.draw(tf.repeat(choices, 20_000, axis=0), scale, bits).numpy()
    np.testing.assert_allclose(drawn.mean(0), [4.0, 1.0], atol=0.06)
    np.testing.assert_allclose(drawn.std(0), [1.0, 3.0], rtol=0.02)
    log_chance = found.log_chance(choices, scale, drawn).numpy()
    errors = (drawn - [4.0, 1.0]) / [1.0, 3.0]
    expected = (-0.5 * errors**2 - scale - 0.5 * np.log(2 * np.pi)).sum(1)
    np.testing.assert_allclose(log_chance, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.entropy(choices, scale), [-log_chance.mean()], rtol=0.01)
    # The divergence is the mean of the difference of log chances.
    new = np.array([[0.2, 0.3]], "float32"), scale + 0.4
    mean = np.mean(log_chance - found.log_chance(*new, drawn).numpy())
    np.testing.assert_allclose(found.divergence((choices, scale), new), [mean], rtol=0.03)
    np.testing.assert_allclose(found.divergence(new, new), [0.0], atol=1e-6)
    endless = distribution_of(Box(1, -np.inf, np.inf))
    np.testing.assert_allclose(endless.most_likely(choices), choices)
