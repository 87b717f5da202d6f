"""Returns and advantages against slow loops in NumPy."""

import numpy as np
import tensorflow as tf

from tfmeta.ops import advantages, discounted_returns

RNG = np.random.default_rng(0)
REWARDS, VALUES = RNG.standard_normal((2, 7, 3))


def slow_returns(rewards, discount):
    returns = np.zeros_like(rewards)
    for t in range(len(rewards)):
        weight = np.ones(rewards.shape[1:])
        for later in range(t, len(rewards)):
            returns[t] += weight * rewards[later]
            weight = weight * discount[later]
    return returns


def test_returns():
    discount = np.full_like(REWARDS, 0.9)
    found = discounted_returns(tf.constant(REWARDS), 0.9)
    np.testing.assert_allclose(found, slow_returns(REWARDS, discount), rtol=1e-10)
    # Two episodes, one after the other: the first counts nothing of the second.
    discount[2, 0] = 0
    found = discounted_returns(tf.constant(REWARDS), tf.constant(discount))
    np.testing.assert_allclose(found, slow_returns(REWARDS, discount), rtol=1e-10)
    np.testing.assert_allclose(found[2, 0], REWARDS[2, 0])


def test_advantages():
    rewards, values = map(tf.constant, (REWARDS, VALUES))
    # Equation 16 as a sum over all later errors.
    errors = REWARDS + 0.9 * np.concatenate([VALUES[1:], np.zeros((1, 3))]) - VALUES
    expected = slow_returns(errors, np.full_like(errors, 0.9 * 0.8))
    np.testing.assert_allclose(advantages(rewards, values, 0.9, 0.8), expected, rtol=1e-9)
    whole = discounted_returns(rewards, 0.9) - values
    np.testing.assert_allclose(advantages(rewards, values, 0.9, 1.0), whole, rtol=1e-9, atol=1e-12)
    ahead = advantages(
        rewards, values, 0.9, 0.0, last_value=tf.constant([1.0, 2.0, 3.0], tf.float64)
    )
    errors[-1] += 0.9 * np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(ahead, errors, rtol=1e-9)


def test_a_time_limit_has_a_value_and_an_end_has_none():
    """Two episodes: the first is over after step 3, the second is cut off after step 7."""
    ends = np.where(np.arange(7)[:, None] == 2, 0.0, 1.0) * np.ones((7, 3))
    last = np.array([1.0, 2.0, 3.0])
    found = advantages(
        *map(tf.constant, (REWARDS, VALUES)), tf.constant(0.9 * ends), 0.8, tf.constant(last)
    )
    expected = np.zeros_like(REWARDS)
    for row in range(3):
        for begin, end, after in ((0, 3, 0.0), (3, 7, last[row])):
            values = [*VALUES[begin:end, row], after]
            for t in range(end - begin):
                for later in range(t, end - begin):
                    reward = REWARDS[begin + later, row]
                    error = reward + 0.9 * values[later + 1] - values[later]
                    expected[begin + t, row] += (0.9 * 0.8) ** (later - t) * error
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
