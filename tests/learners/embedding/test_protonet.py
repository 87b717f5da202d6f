"""ProtoNet: its distances and temperatures against NumPy, gradients, old files."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf
from meta_gradients import compiled, gradient_of, relative_error_along

from tfmeta.learners import ProtoNet
from tfmeta.ops import euclidean


def made(dtype="float64", **kwargs):
    """A compiled learner, and a meta-batch for it."""
    network = tasks.convolutional(4, dtype=dtype, norm=False)
    return compiled(ProtoNet(network, **kwargs), tasks.CROSSENTROPY), tasks.images(
        shots=2, dtype=dtype
    )


def closeness(distance, z, c):
    if distance == "cosine":
        z, c = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (z, c))
        return z @ c.T
    squares = np.sum((z[:, None] - c[None]) ** 2, axis=-1)
    return -squares if distance == "squared_euclidean" else -np.sqrt(squares)


@pytest.mark.parametrize(
    ("arguments", "temperature"),
    [
        ({}, 1.0),
        ({"distance": "squared_euclidean", "temperature": 64.0}, 64.0),
        ({"distance": "cosine"}, 0.1),
        ({"distance": "euclidean", "temperature": 2.0, "learn_temperature": True}, 2.0),
        ({"distance": "cosine", "learn_temperature": True}, 0.1),
    ],
)
def test_outputs_are_those_of_numpy_and_gradients_those_of_differences(arguments, temperature):
    learner, episodes = made(**arguments)
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    z, s = (np.array(learner.network(x)) for x in (query.x, support.x))
    c = np.stack([s[support.y == label].mean(axis=0) for label in range(3)])
    expected = closeness(arguments.get("distance", "euclidean"), z, c) / temperature
    outputs = learner.predict_query(learner.adapt(support), query.x)
    np.testing.assert_allclose(outputs, expected, rtol=1e-6)
    assert relative_error_along(learner, episodes, eager=True) < 1e-6
    learns = arguments.get("learn_temperature", False)
    assert (learner.log_temperature is not None) == learns
    if learns:
        assert abs(gradient_of(learner, episodes, learner.log_temperature)) > 1e-6


def test_a_distance_of_nothing_has_no_slope():
    x = tf.constant([[1.0, 2.0], [3.0, 4.0]])
    with tf.GradientTape() as tape:
        tape.watch(x)
        distances = euclidean(x, x)
        own = tf.linalg.diag_part(distances)
    np.testing.assert_allclose(distances, [[0, 8**0.5], [8**0.5, 0]], atol=1e-5)
    np.testing.assert_array_equal(tape.gradient(own, x), np.zeros((2, 2)))


def test_a_file_keeps_distance_and_temperature(tmp_path):
    learner, episodes = made("float32", distance="cosine", learn_temperature=True)
    learner.log_temperature.assign(-1.5)
    learner.save(tmp_path / "learner.keras")
    loaded = keras.models.load_model(tmp_path / "learner.keras")
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    a, b = (m.predict_query(m.adapt(support), query.x) for m in (learner, loaded))
    np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_config_of_before_there_were_distances_means_the_papers():
    config = made("float32")[0].get_config()
    del config["distance"]
    assert ProtoNet.from_config(config).distance == "squared_euclidean"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"distance": "manhattan"}, "Expected distance to be one of 'euclidean', .* Received: 'm"),
        ({"temperature": 0.0}, "Expected temperature > 0"),
        ({"learn_temperature": 1}, "Expected learn_temperature to be True or False"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ProtoNet(tasks.convolutional(4), **arguments)


def test_protonet_against_central_differences():
    learner = ProtoNet(tasks.convolutional(4, dtype="float64", norm=False))
    learner.compile(optimizer="sgd", loss=tasks.CROSSENTROPY)
    episodes = tasks.images(shots=2, dtype="float64")
    assert relative_error_along(learner, episodes) < 1e-6


def test_protonet_is_a_linear_head():
    """-|z - c|^2 = 2 c.z - |c|^2 - |z|^2: a Dense layer with kernel 2c and bias -|c|^2."""
    network = tasks.convolutional(4, dtype="float64")
    learner = ProtoNet(network, distance="squared_euclidean")
    learner.compile(loss=tasks.CROSSENTROPY)
    episodes = tasks.images(shots=2, dtype="float64")
    adapted = learner.adapt(tasks.one(episodes.support))
    x = episodes.query.x[0]
    z, c = learner.embed(x).numpy(), adapted.means.numpy()
    linear = z @ (2 * c.T) - np.sum(c**2, axis=1) - np.sum(z**2, axis=1, keepdims=True)
    np.testing.assert_allclose(learner.predict_query(adapted, x), linear, rtol=1e-9)
