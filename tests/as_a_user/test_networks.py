"""Trials of a user's networks: what works with learners, and what is said before the first step."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf

import tfmeta
from tfmeta.learners import MAML, ProtoMAML, ProtoNet


def test_an_mlp_without_a_head_as_conv4_without_one():
    network = tfmeta.networks.mlp((8, 8, 1), None, hidden=(7, 5))
    assert network.output_shape == (None, 5)
    assert network(np.zeros((2, 8, 8, 1))).shape == (2, 5)
    with pytest.raises(ValueError, match="Expected a network with a layer"):
        tfmeta.networks.mlp((8,), None, hidden=())


def hypernetwork(network):
    return tfmeta.learners.Hypernetwork(network, representation=4, hidden=(6,))


def sequence(network):
    return tfmeta.learners.LSTMLearner(network, ways=3, units=4)


def process(network):
    return tfmeta.learners.CNP(network, representation=4, hidden=(4,))


KINDS = [MAML, ProtoMAML, ProtoNet, hypernetwork, sequence, process]  # one of each base


def compiled(learner, loss=tasks.CROSSENTROPY):
    learner.compile("sgd", loss, run_eagerly=True)
    return learner


def pictures(*shape):
    """A meta-batch of two tasks of three classes, pictures of a shape."""
    x = np.random.default_rng(0).normal(size=(2, 3, *shape)).astype("float32")
    y = np.tile(np.arange(3, dtype="int32"), (2, 1))
    examples = tfmeta.Examples(*map(tf.constant, (x, y, np.ones((2, 3), "float32"))))
    return tfmeta.Episode(examples, examples)


@pytest.mark.parametrize("cls", KINDS)
@pytest.mark.parametrize(
    ("shape", "advice"),
    [
        ((8, 8), r"\(8, 8\)\. Add the axis of channels: x\[\.\.\., None\]"),
        ((8, 8, 3), r"\(8, 8, 3\)\. The network is one of grey pictures.*channels=1"),
        ((9, 9, 1), r"\(9, 9, 1\)\. Make the network for \(9, 9, 1\)"),
    ],
)
def test_pictures_of_another_shape_than_the_networks(cls, shape, advice):
    inputs = keras.Input((8, 8, 1))
    learner = compiled(
        cls(keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(inputs))))
    )
    episodes = pictures(*shape)
    if cls is process:  # of numbers
        episodes = tfmeta.Episode(*(p._replace(y=tf.cast(p.y, tf.float32)) for p in episodes))
    data = tasks.dataset(episodes)
    for call in (
        lambda: learner.fit(data, steps_per_epoch=1, verbose=0),
        lambda: learner.evaluate(data, steps=1, verbose=0),
        lambda: learner.predict(data, steps=1, verbose=0),
        lambda: tfmeta.evaluation.evaluate_episodes(learner, data, 2, verbose=0),
    ):
        with pytest.raises(ValueError, match=rf"x of shape \(8, 8, 1\) a row.*{advice}"):
            call()


@pytest.mark.parametrize("named", [True, False])
def test_one_of_two_inputs_of_another_shape(named):
    a, b = keras.Input((8, 8, 3), name="picture"), keras.Input((2,), name="numbers")
    features = keras.layers.Concatenate()([keras.layers.Flatten()(a), b])
    inputs = {"picture": a, "numbers": b} if named else (a, b)
    learner = compiled(MAML(keras.Model(inputs, keras.layers.Dense(3)(features))))

    def both(part):
        numbers = tf.zeros((2, 3, 2))
        return part._replace(
            x={"picture": part.x, "numbers": numbers} if named else (part.x, numbers)
        )

    good, bad = (tfmeta.Episode(*map(both, pictures(8, 8, c))) for c in (3, 1))
    name = "'picture'" if named else 0
    with pytest.raises(ValueError, match=rf"x\[{name}\] of shape \(8, 8, 3\).*colour"):
        learner.fit(tasks.dataset(bad, 1), verbose=0)
    learner.fit(tasks.dataset(good, 1), verbose=0)


def test_numbers_without_an_axis_are_adapted_to_as_keras_takes_them():
    episodes = tasks.regression()
    flat = tfmeta.Episode(*[e._replace(x=e.x[..., 0]) for e in episodes])
    losses = [
        compiled(MAML(tasks.dense()), "mse").fit(tasks.dataset(e, 1), verbose=0).history["loss"]
        for e in (episodes, flat)
    ]
    np.testing.assert_allclose(*losses, rtol=1e-6)


@pytest.mark.parametrize("cls", KINDS)
def test_a_network_of_two_outputs(cls):
    x = keras.Input((8, 8, 1))
    h = keras.layers.Flatten()(x)
    for outputs in ([keras.layers.Dense(3)(h)] * 2, {"a": keras.layers.Dense(3)(h), "b": h}):
        network = keras.Model(x, outputs)
        # When it is made, if the learner looks at the network then; else before the first step.
        with pytest.raises(ValueError, match=r"Expected one output, a tensor\. Received: a "):
            compiled(cls(network)).fit(tasks.dataset(pictures(8, 8, 1), 1), verbose=0)
