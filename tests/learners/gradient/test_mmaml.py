"""MMAML: MAML where it starts, what scaling and shifting does, outer gradients, kinds of tasks."""

import keras
import numpy as np
import pytest
import tasks
from meta_gradients import assert_gradients_of_maml, compiled, relative_error_along

import tfmeta
from tfmeta.learners import MAML, MMAML

RATE = {"inner_learning_rate": 0.1, "inner_steps": 2}
SMALL = {"representation": 3, "hidden": (4,)}


def away_from_the_start(learner, seed=0):
    random = np.random.default_rng(seed)
    for variable in learner.meta_parameters.trainable_variables:
        variable.assign(variable + 0.3 * random.normal(size=variable.shape))
    return learner


def test_it_starts_as_maml():
    assert_gradients_of_maml(lambda network: MMAML(network, **SMALL, **RATE), False, True, **RATE)


def test_against_central_differences():
    learner = compiled(MMAML(tasks.dense(dtype="float64"), **SMALL, **RATE))
    away_from_the_start(learner)
    episodes = tasks.regression(dtype="float64")
    assert relative_error_along(learner, episodes, step=1e-7, eager=True) < 1e-6


def test_each_layer_is_scaled_and_shifted():
    network = keras.Sequential([
        keras.Input((1,)), keras.layers.Dense(3), keras.layers.LayerNormalization(),
        keras.layers.Dense(2, use_bias=False), keras.layers.Dense(1),
    ])  # fmt: skip
    learner = away_from_the_start(compiled(MMAML(network, **SMALL, **RATE)))
    support = tasks.one(tasks.regression().support)
    rows = np.concatenate([support.x, support.y], axis=1)
    task = np.array(learner.encode(rows)).mean(axis=0)
    changes = np.array(learner.modulate(task[None]))[0]
    scales = np.split(1 + changes[:9], [3, 6, 8])
    shifts = np.split(changes[9:], [3, 6, 8])
    dense, norm, plain, last = network.layers
    h = np.array(dense(support.x)) * scales[0] + shifts[0]
    h = np.array(norm(h)) * scales[1] + shifts[1]
    h = np.array(plain(h)) * scales[2]  # there is no bias to shift
    h = np.array(last(h)) * scales[3] + shifts[3]
    start = learner.adapt(support, inner_steps=0)
    outputs = learner.predict_query(start, support.x)
    np.testing.assert_allclose(outputs, h, rtol=1e-4, atol=1e-5)


def test_pictures_by_an_encoder_of_ones_own():
    encoder = tfmeta.networks.mlp((8, 8, 1), 5, hidden=(6,))
    network = tasks.convolutional(norm=False)
    learner = MMAML(network, encoder=encoder, **SMALL, **RATE)
    learner = away_from_the_start(compiled(learner, tasks.CROSSENTROPY))
    assert len(learner.trainable_variables) == len(network.weights) + len(encoder.weights) + 6
    assert len(learner.network_weights()) == len(network.weights)
    support = tasks.one(tasks.images(shots=2).support)
    labels = np.eye(3)[support.y]
    rows = np.concatenate([np.array(encoder(support.x)), labels], axis=1)
    expected = np.array(learner.encode(rows)).mean(axis=0)
    np.testing.assert_allclose(
        learner.represent(tfmeta.Examples(support.x, support.y, support.mask)), expected, rtol=1e-5
    )


def test_bad_input():
    with pytest.raises(ValueError, match="Expected a built encoder"):
        MMAML(tasks.dense(), encoder=keras.layers.Dense(3))
    with pytest.raises(ValueError, match="Expected encoder to be a Keras model or layer"):
        MMAML(tasks.dense(), encoder="mlp")
    with pytest.raises(ValueError, match=r"Expected representation .* at least 1"):
        MMAML(tasks.dense(), representation=0)
    lookup = keras.Sequential([keras.Input((1,)), keras.layers.Embedding(3, 2)])
    with pytest.raises(ValueError, match="Expected a network with a layer that has a kernel"):
        MMAML(lookup)
    a, b = keras.Input((2,), name="a"), keras.Input((3,), name="b")
    both = keras.layers.Dense(1)(keras.layers.Concatenate()([a, b]))
    with pytest.raises(ValueError, match=r"Expected one tensor of inputs.*an encoder"):
        MMAML(keras.Model({"a": a, "b": b}, both))


@pytest.mark.slow
def test_beats_one_start_on_a_multimodal_family():
    """In seconds; the figures of whole runs: benchmarks/README.md."""
    modes = tfmeta.episodes.mixture(tfmeta.episodes.sinusoid, tfmeta.episodes.line)
    reports = []
    for cls in (MAML, MMAML):
        keras.utils.set_random_seed(0)
        learner = cls(tfmeta.networks.mlp((1,), 1))
        learner.compile(keras.optimizers.Adam(1e-3), "mse", steps_per_execution=50)
        learner.fit(modes(seed=0), steps_per_epoch=1500, verbose=0)
        test = modes(seed=1, count=500)
        reports.append(tfmeta.evaluation.evaluate_episodes(learner, test, 500, verbose=0))
    difference = reports[1].difference(reports[0])
    assert difference.mean + difference.interval < 0
