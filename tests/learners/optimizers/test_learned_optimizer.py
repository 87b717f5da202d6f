"""Learned optimizers: gradients of every rule, first order, and the best fixed rate."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf
from meta_gradients import compiled, outer_gradients, relative_error_along

import tfmeta
from tfmeta.learners import (
    LearnedAdam,
    LearnedMomentum,
    LearnedOptimizer,
    LearnedSGD,
    LSTMRule,
    MLPRule,
)

SQUARES = keras.losses.MeanSquaredError(reduction="sum")


def linear(dimensions=3, dtype="float32"):
    """A network whose loss is |A w - b|^2; its weights are drawn small."""
    first = keras.initializers.RandomNormal(stddev=0.1, seed=0)
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer=first, dtype=dtype)
    return keras.Sequential([keras.Input((dimensions,), dtype=dtype), layer])


def quadratics(meta_batch_size=4, dtype="float32", dimensions=3, count=None):
    episodes = tfmeta.episodes.quadratic(dimensions, meta_batch_size, seed=1, count=count)

    def cast(part):
        return part._replace(x=tf.cast(part.x, dtype), y=tf.cast(part.y, dtype))

    return episodes.map(lambda episode: tfmeta.Episode(*map(cast, episode)))


def first(episodes):
    return next(iter(episodes))


def on_quadratics(rule, jit_compile=False, rate=0.05, dtype="float32", **kwargs):
    keras.utils.set_random_seed(0)
    learner = LearnedOptimizer(linear(dtype=dtype), rule=rule, **kwargs)
    return compiled_at(learner, rate, jit_compile=jit_compile)


def compiled_at(learner, rate, **kwargs):
    learner.compile(keras.optimizers.Adam(rate), SQUARES, **kwargs)
    return learner


RULES = [
    lambda: LearnedSGD(0.02),
    lambda: LearnedMomentum(0.02),
    lambda: LearnedAdam(0.02),
    lambda: LSTMRule((4, 3)),
    lambda: MLPRule((5,), step_size=0.1, exponent=0.1),
]


@pytest.mark.parametrize("make", RULES, ids=lambda make: type(make()).__name__)
def test_outer_gradient_against_central_differences(make):
    network = tasks.dense(dtype="float64")
    learner = compiled(LearnedOptimizer(network, rule=make(), inner_steps=3))
    assert len(learner.trainable_variables) == len(learner.rule.trainable_variables)
    assert relative_error_along(learner, tasks.regression(dtype="float64"), eager=True) < 1e-6


def test_first_order_is_the_gradient_through_constant_inner_gradients():
    """SGD on f = (w - s)^2: with u_t = w_t - s, u_{t+1} = u_t - a g_t, and g_t = 2 u_t."""
    network = linear(1, "float64")
    ones = np.ones((1, 1, 1))
    episode = tfmeta.Episode(
        *[tfmeta.Examples(*map(tf.constant, (ones, 3 * ones, np.ones((1, 1)))))] * 2
    )
    rate, start = 0.1, float(network.get_weights()[0][0, 0])
    for first_order in (False, True):
        learner = LearnedOptimizer(
            network, rule=LearnedSGD(rate), inner_steps=3, draw_weights=False,
            first_order=first_order,
        )  # fmt: skip
        (found,) = outer_gradients(compiled(learner), episode, eager=True)
        u, slope, losses = start - 3.0, 0.0, []
        for _ in range(3):
            # d g / d log a is left out of the slope of u if first order.
            through = 0.0 if first_order else rate * 2 * slope
            u, slope = u - rate * 2 * u, slope - rate * 2 * u - through
            losses.append(2 * u * slope)
        np.testing.assert_allclose(found, np.mean(losses), rtol=1e-9)


def test_learned_sgd_finds_the_best_fixed_rate():
    episodes = quadratics(64, "float64", count=64)
    learner = on_quadratics(
        LearnedSGD(1e-3), rate=0.1, dtype="float64", inner_steps=10, draw_weights=False
    )
    learner.fit(episodes.repeat(), steps_per_epoch=150, verbose=0)
    learned = float(np.exp(learner.rule.logs["rate"]))
    x, y = (np.array(t) for t in first(episodes).query[:2])
    rates = np.geomspace(1e-3, 0.3, 400)
    means = []
    for rate in rates:
        w, total = np.tile(learner.network.get_weights()[0], (64, 1, 1)), 0.0
        for _ in range(10):
            w = w - rate * 2 * np.swapaxes(x, 1, 2) @ (x @ w - y)
            total += ((x @ w - y) ** 2).sum((1, 2)).mean()
        means.append(total)
    best = rates[np.nanargmin(means)]
    assert abs(learned / best - 1) < 0.05
    assert abs(learned / 1e-3 - 1) > 1  # it began elsewhere
