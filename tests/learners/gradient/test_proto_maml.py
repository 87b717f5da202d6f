"""ProtoMAML: a ProtoNet without steps, a step by hand, outer gradients, any number of ways."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf
from meta_gradients import compiled, outer_gradients, relative_error_along

from tfmeta.learners import ProtoMAML, ProtoNet


def made(network=None, dtype="float64", **kwargs):
    network = tasks.convolutional(4, dtype=dtype, norm=False) if network is None else network
    return compiled(ProtoMAML(network, inner_learning_rate=0.1, **kwargs), tasks.CROSSENTROPY)


@pytest.fixture(scope="module")
def episodes():
    return tasks.images(shots=2, dtype="float64")


def test_without_steps_it_is_a_protonet(episodes):
    learner = made(inner_steps=0)
    protonet = ProtoNet(learner.network, distance="squared_euclidean", dtype="float64")
    protonet = compiled(protonet, tasks.CROSSENTROPY)
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    a, b = (
        tf.nn.log_softmax(m.predict_query(m.adapt(support), query.x)) for m in (learner, protonet)
    )
    np.testing.assert_allclose(a, b, rtol=1e-9)
    gradients = [outer_gradients(m, episodes, eager=True) for m in (learner, protonet)]
    for x, y in zip(*gradients, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-12)


def test_a_step_on_network_and_head_by_hand(episodes):
    """A linear embedding `X v`, whose softmax regression has a known slope."""
    network = keras.Sequential([
        keras.Input((8, 8, 1), dtype="float64"), keras.layers.Flatten(dtype="float64"),
        keras.layers.Dense(2, use_bias=False, dtype="float64"),
    ])  # fmt: skip
    learner = made(network)
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    x, z = (part.x.reshape(len(part.x), -1) for part in (support, query))
    v = np.array(network.trainable_variables[0])
    y = np.eye(3)[support.y]
    means = (y.T @ x @ v) / 2
    kernel, bias = 2 * means.T, -np.sum(means**2, axis=1)
    scores = np.exp(x @ v @ kernel + bias)
    errors = (scores / scores.sum(axis=1, keepdims=True) - y) / len(x)
    after = v - 0.1 * x.T @ errors @ kernel.T
    kernel, bias = kernel - 0.1 * (x @ v).T @ errors, bias - 0.1 * errors.sum(axis=0)
    outputs = learner.predict_query(learner.adapt(support), query.x)
    np.testing.assert_allclose(outputs, z @ after @ kernel + bias, rtol=1e-9)


def test_outer_gradient_against_central_differences(episodes):
    assert relative_error_along(made(inner_steps=2), episodes, eager=True) < 1e-6


def test_an_absent_class_is_hidden_predict_cuts_it_off_and_ways_are_free(episodes):
    learner = made(dtype="float32")
    episodes = tf.nest.map_structure(
        lambda t: tf.cast(t, "float32") if t.dtype == tf.float64 else t, episodes
    )
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    names = np.array([0, 2, 3], "int32")
    plain = np.array(learner.predict_query(learner.adapt(support), query.x))
    renamed = learner.adapt(support._replace(y=names[support.y]))
    outputs = np.array(learner.predict_query(renamed, query.x))
    assert np.all(outputs[:, 1] < -1e37)
    np.testing.assert_allclose(outputs[:, names], plain, atol=1e-4)
    model = learner.adapted_model(support)
    np.testing.assert_allclose(model(query.x), plain, atol=1e-4)
    predicted = learner.predict(tasks.dataset(episodes, 1), verbose=0)
    np.testing.assert_allclose(predicted[0], plain, atol=1e-4)
