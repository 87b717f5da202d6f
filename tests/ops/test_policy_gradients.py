"""Surrogates of returns: values, gradients and second derivatives against what they stand for."""

import numpy as np
import pytest
import tensorflow as tf

from tfmeta.ops import clipped_surrogate, surrogate

RNG = np.random.default_rng(0)
STEPS, ROWS = 3, 4
SAMPLED = RNG.normal(size=(STEPS, ROWS))
ADVANTAGES = RNG.normal(size=(STEPS, ROWS))


def slow(logs, estimator):
    found = np.zeros((STEPS, ROWS))
    for t, row in np.ndindex(STEPS, ROWS):
        ratios = np.exp(logs - SAMPLED)[:, row]
        found[t, row] = (
            ADVANTAGES[t, row]
            * {
                "naive": logs[t, row],
                "lvc": ratios[t],
                "dice": np.prod(ratios[: t + 1]) - np.prod(ratios[:t]),
            }[estimator]
        )
    return found


@pytest.mark.parametrize("estimator", ["lvc", "dice", "naive"])
def test_values_and_the_policy_gradient(estimator):
    logs = SAMPLED + RNG.normal(size=(STEPS, ROWS))
    found = surrogate(tf.constant(logs), SAMPLED, ADVANTAGES, estimator)
    np.testing.assert_allclose(found, slow(logs, estimator), rtol=1e-12)
    # Where the policy is the one that drew: A_t grad log pi_t, whichever it is.
    at = tf.constant(SAMPLED)
    with tf.GradientTape() as tape:
        tape.watch(at)
        total = tf.reduce_sum(surrogate(at, SAMPLED, ADVANTAGES, estimator))
    np.testing.assert_allclose(tape.gradient(total, at), ADVANTAGES, rtol=1e-12)


def test_second_derivatives():
    """For the log chances of steps s and u of a row."""
    one = slice(0, 1)
    expected = {
        "naive": np.zeros((STEPS, STEPS)),
        "lvc": np.diag(ADVANTAGES[:, 0]),
        # Of w_0 ... w_t - w_0 ... w_{t-1}: 1 where the later of the two is t.
        "dice": [[ADVANTAGES[max(s, u), 0] for u in range(STEPS)] for s in range(STEPS)],
    }
    for estimator, matrix in expected.items():

        def gradient(logs, estimator=estimator):
            with tf.GradientTape() as tape:
                tape.watch(logs)
                terms = surrogate(logs, SAMPLED[:, one], ADVANTAGES[:, one], estimator)
            return tape.gradient(terms, logs)

        at = SAMPLED[:, one]
        columns = [
            (gradient(tf.constant(at + e)) - gradient(tf.constant(at - e))) / 2e-4
            for e in 1e-4 * np.eye(STEPS)[:, :, np.newaxis]
        ]
        np.testing.assert_allclose(np.concatenate(columns, axis=1), matrix, atol=1e-7)


def test_clipping():
    logs = np.log([[1.5, 1.5, 0.5, 0.5, 1.1]])
    advantages = np.array([[1.0, -1.0, 1.0, -1.0, 2.0]])
    found = clipped_surrogate(logs, np.zeros((1, 5)), advantages, 0.2)
    np.testing.assert_allclose(found, [[1.2, -1.5, 0.5, -0.8, 2.2]])


def test_bad_input():
    with pytest.raises(ValueError, match="Expected estimator in"):
        surrogate(SAMPLED, SAMPLED, ADVANTAGES, "exact")
