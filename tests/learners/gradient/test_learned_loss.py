"""The learned loss: MAML where it starts, NumPy, outer gradients, bad input."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf
from meta_gradients import assert_gradients_of_maml, compiled, relative_error_along

from tfmeta.learners import LearnedLoss

RATE = {"inner_learning_rate": 0.1, "inner_steps": 2}


def away_from_the_start(learner, seed=0):
    random = np.random.default_rng(seed)
    for variable in learner.learned_loss.trainable_variables:
        variable.assign(variable + 0.2 * random.normal(size=variable.shape))
    return learner


def test_it_starts_as_maml():
    assert_gradients_of_maml(lambda network: LearnedLoss(network, **RATE), False, True, **RATE)


@pytest.mark.parametrize("images", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_against_central_differences(images):
    if images:
        network, loss = tasks.convolutional(dtype="float64"), tasks.CROSSENTROPY
    else:
        network, loss = tasks.dense(dtype="float64"), "mse"
    learner = away_from_the_start(compiled(LearnedLoss(network, **RATE), loss))
    episodes = (tasks.images if images else tasks.regression)(dtype="float64")
    assert relative_error_along(learner, episodes, step=1e-6, eager=not images) < 1e-6


def normalised(values, mask):
    real = values[mask > 0]
    return (values - real.mean()) / real.std()


def loss_by_numpy(learner, outputs, y, mask, loss, weights, step):
    k1, b1, k2, b2, *generator, scales = (
        np.array(v)[step] for v in learner.learned_loss.trainable_variables
    )
    state = np.array([loss, *(w.mean() for w in weights)])
    state = normalised(state, np.ones(len(state)))
    g1, c1, g2, c2 = generator
    changes = (np.maximum(state @ g1 + c1, 0) @ g2 + c2) * scales
    own = [(1 + u) * v + q for v, u, q in zip((k1, b1, k2, b2), changes[:4], changes[4:])]  # noqa: B905
    rows = np.array([[*state, *o, *t] for o, t in zip(outputs, y, strict=True)])
    rows = normalised(rows, mask)
    values = np.maximum(rows @ own[0] + own[1], 0) @ own[2] + own[3]
    return values[mask > 0].mean()


def test_the_loss_is_that_of_numpy():
    """Of classes, with a padded row, and of numbers."""
    for loss, outputs, y in (
        (tasks.CROSSENTROPY, 3, np.array([2, 0, 1, 1], "int32")),
        ("mse", 1, np.array([[0.5], [1.0], [-2.0], [9.0]], "float32")),
    ):
        learner = compiled(LearnedLoss(tasks.dense(outputs), **RATE), loss)
        away_from_the_start(learner)
        x = np.array([[0.1], [-1.0], [0.3], [5.0]], "float32")
        mask = np.array([1, 1, 1, 0], "float32")
        predicted = np.array(learner.network(x))
        targets = np.eye(3)[y] if outputs == 3 else y
        support = tasks.tfmeta.Examples(*map(tf.constant, (x, y, mask)))
        plain = float(learner.task_loss(support, tf.constant(predicted)))
        weights = [np.array(w) for w in learner.network_weights()]
        found = learner.adapt(support).inner_losses[0]
        expected = plain + loss_by_numpy(learner, predicted, targets, mask, plain, weights, 0)
        np.testing.assert_allclose(found, expected, rtol=1e-4)
        found = learner.inner_loss(support, tf.constant(predicted), learner.network_weights(), 1)
        expected = plain + loss_by_numpy(learner, predicted, targets, mask, plain, weights, 1)
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_bad_input():
    with pytest.raises(ValueError, match=r"Expected inner_steps .* at least 1. Received: .*=0"):
        LearnedLoss(tasks.dense(), inner_steps=0)
    learner = compiled(LearnedLoss(tasks.dense(), inner_steps=2))
    with pytest.raises(ValueError, match=r"Expected at most 2 inner steps.*Received: 3"):
        learner.adapt(tasks.one(tasks.regression().support), inner_steps=3)
    steps = keras.Sequential([keras.Input((4, 2)), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match=r"Expected a network with outputs \[rows, D\].*4, 3"):
        LearnedLoss(steps)
    wide = compiled(LearnedLoss(tasks.dense(2), **RATE))
    with pytest.raises(ValueError, match=r"Expected targets like the outputs, \[rows, 2\]"):
        wide.adapt(tasks.one(tasks.regression().support))
