"""FEAT: attention and second loss by hand, outer gradient, absent classes."""

import numpy as np
import pytest
import tasks
import tensorflow as tf
from meta_gradients import compiled, relative_error_along

from tfmeta.learners import FEAT


def made(dtype="float64", **kwargs):
    network = tasks.convolutional(4, dtype=dtype, norm=False)
    arguments = {"temperature": 2.0, "balance_temperature": 3.0, "dropout": 0.0, "dtype": dtype}
    return compiled(FEAT(network, **(arguments | kwargs)), tasks.CROSSENTROPY)


@pytest.fixture(scope="module")
def episodes():
    return tasks.images(shots=2, dtype="float64")


@pytest.fixture(scope="module")
def learner():
    return made(balance=0.7)


def softmax(scores):
    exponents = np.exp(scores - scores.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def attended(learner, rows):
    """`g` of NumPy, for the rows of one set."""
    layer = learner.attention
    q, k, v = (rows @ np.array(d.kernel) for d in (layer.query, layer.key, layer.value))
    read = softmax(q @ k.T / 2.0) @ v @ np.array(layer.out.kernel) + np.array(layer.out.bias)
    rows = rows + read
    rows = rows - rows.mean(axis=1, keepdims=True)
    return rows / np.sqrt((rows**2).mean(axis=1, keepdims=True) + 1e-5)


def minus_squares(z, c, temperature):
    return -np.sum((z[:, None] - c[None]) ** 2, axis=-1) / temperature


def test_outputs_and_both_losses_by_hand(learner, episodes):
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    s, z = (np.array(learner.network(x)) for x in (support.x, query.x))
    means = np.stack([s[support.y == label].mean(axis=0) for label in range(3)])
    logits = minus_squares(z, attended(learner, means), 2.0)
    outputs = learner.predict_query(learner.adapt(support), query.x)
    np.testing.assert_allclose(outputs, logits, rtol=1e-6)
    loss = -np.log(softmax(logits)[np.arange(len(z)), query.y]).mean()
    rows, labels = np.concatenate([s, z]), np.append(support.y, query.y)
    centres = np.stack([attended(learner, rows[labels == k]).mean(axis=0) for k in range(3)])
    contrast = softmax(minus_squares(rows, centres, 3.0))[np.arange(len(rows)), labels]
    one = tf.nest.map_structure(lambda t: t[0], episodes)
    result = learner.score_task(one, training=True)
    np.testing.assert_allclose(result.loss, loss, rtol=1e-6)
    np.testing.assert_allclose(result.objective, loss - 0.7 * np.log(contrast).mean(), rtol=1e-6)
    assert learner.score_task(one, training=False).objective is None


def test_outer_gradient_against_central_differences(learner, episodes):
    assert relative_error_along(learner, episodes, eager=True) < 1e-6


def test_an_absent_class_is_not_attended_to(learner, episodes):
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    names = np.array([0, 2, 3], "int32")
    renamed = learner.adapt(support._replace(y=names[support.y]))
    outputs = np.array(learner.predict_query(renamed, query.x))
    plain = learner.predict_query(learner.adapt(support), query.x)
    np.testing.assert_allclose(outputs[:, names], plain, rtol=1e-8)
    assert np.all(outputs[:, 1] < -1e37)


@pytest.mark.parametrize(
    "arguments",
    [{"temperature": 0}, {"balance": -1}, {"balance_temperature": 0}, {"dropout": 1.0}],
)
def test_bad_arguments(arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"Expected {name} "):
        FEAT(tasks.convolutional(4), **arguments)
