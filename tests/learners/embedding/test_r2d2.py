"""R2-D2: closed form, masks, gradient, pictures and curves."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf
from meta_gradients import compiled, outer_gradients, relative_error_along

import tfmeta
from tfmeta.learners import R2D2


def own_weights(learner):
    return [learner.log_regularization, learner.output_scale, learner.output_offset]


def set_own_weights(learner, values=(-0.5, 1.7, 0.2)):
    for weight, value in zip(own_weights(learner), values, strict=True):
        weight.assign(value)


def made(classification, dtype="float64", **kwargs):
    """A compiled learner with other numbers than the first ones, and a meta-batch for it."""
    if classification:
        episodes = tasks.images(shots=2, dtype=dtype)
        network, loss = tasks.convolutional(5, dtype=dtype, norm=False), tasks.CROSSENTROPY
    else:
        episodes = tasks.regression(dtype=dtype)
        network, loss = tasks.dense(3, dtype=dtype), "mse"
    learner = compiled(R2D2(network, **kwargs), loss)
    set_own_weights(learner)
    return learner, episodes


@pytest.mark.parametrize("classification", [False, True])
def test_outputs_are_those_of_numpy(classification):
    learner, episodes = made(classification)
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    x, z = (np.c_[f, np.ones(len(f))] for f in map(learner.network, (support.x, query.x)))
    y = np.eye(3)[support.y] if classification else support.y
    w = np.linalg.solve(x.T @ x + np.exp(-0.5) * np.eye(x.shape[1]), x.T @ y)
    adapted = learner.adapt(support)
    np.testing.assert_allclose(adapted.weights, w, rtol=1e-6)
    outputs = learner.predict_query(adapted, query.x)
    np.testing.assert_allclose(outputs, 1.7 * z @ w + 0.2, rtol=1e-6, atol=1e-7)
    assert [v.dtype for v in own_weights(learner)] == ["float64"] * 3


@pytest.mark.parametrize("classification", [False, True])
def test_outer_gradient_against_central_differences(classification):
    learner, episodes = made(classification)
    assert relative_error_along(learner, episodes) < 1e-6
    weights = [id(v) for v in learner.trainable_variables]
    own = [
        np.abs(outer_gradients(learner, episodes)[weights.index(id(v))])
        for v in own_weights(learner)
    ]
    assert min(own[:2]) > 1e-6
    # All logits move by the offset: no softmax sees it.
    assert own[2] < 1e-12 if classification else own[2] > 1e-6


def test_an_absent_class_is_hidden_and_predict_cuts_it_off():
    learner, episodes = made(classification=True, dtype="float32")
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    names = np.array([0, 2, 3], "int32")
    adapted = learner.adapt(support._replace(y=names[support.y]))
    np.testing.assert_array_equal(adapted.present, [1, 0, 1, 1])
    outputs = np.array(learner.predict_query(adapted, query.x))
    assert np.all(outputs[:, 1] < -1e37)
    plain = learner.predict_query(learner.adapt(support), query.x)
    np.testing.assert_allclose(outputs[:, names], plain, atol=1e-5)
    assert learner.predict_on_batch(episodes).shape == (2, 6, 3)


def test_padded_rows_change_nothing():
    for classification in (False, True):
        learner, episodes = made(classification)
        support, query = tasks.one(episodes.support), tasks.one(episodes.query)
        padded = tfmeta.Examples(*(np.concatenate([t, 7 * np.ones_like(t[:2])]) for t in support))
        padded.mask[-2:] = 0
        a, b = (learner.predict_query(learner.adapt(s), query.x) for s in (support, padded))
        np.testing.assert_allclose(b[:, : a.shape[1]], a, atol=1e-10)


def test_more_targets_than_one_and_targets_without_an_axis():
    learner, episodes = made(classification=False)
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    one = np.array(learner.predict_query(learner.adapt(support), query.x))
    flat = support._replace(y=support.y[:, 0])
    np.testing.assert_allclose(learner.predict_query(learner.adapt(flat), query.x), one)
    two = support._replace(y=np.concatenate([support.y, 2 * support.y], axis=1))
    outputs = np.array(learner.predict_query(learner.adapt(two), query.x))
    np.testing.assert_allclose((outputs - 0.2) / (one - 0.2), [[1, 2]] * len(one), rtol=1e-6)
    with pytest.raises(ValueError, match=r"Expected targets of shape .* Received: .*\(4, 1, 1\)"):
        learner.adapt(support._replace(y=support.y[:, None]))


def test_without_a_loss_integers_are_labels():
    episodes = tasks.images(shots=2)
    learner = R2D2(tasks.convolutional(5, norm=False))
    adapted = learner.adapt(tasks.one(episodes.support))
    np.testing.assert_array_equal(adapted.present, [1, 1, 1])
    assert learner.adapt(tasks.one(episodes.support)._replace(y=np.ones(6))).weights.shape == (6, 1)


@pytest.mark.parametrize(
    ("classification", "jit_compile"), [(False, False), (False, True), (True, False)]
)
def test_learns(classification, jit_compile):
    if classification:
        data = tasks.dataset(tasks.images(shots=2))
        network, loss = tasks.convolutional(6), tasks.CROSSENTROPY
    else:
        data = tfmeta.episodes.sinusoid()
        network, loss = tfmeta.networks.mlp(1, 40), "mse"
    keras.utils.set_random_seed(0)
    learner = R2D2(network)
    learner.compile(keras.optimizers.Adam(0.003), loss, jit_compile=jit_compile)
    losses = learner.fit(data, steps_per_epoch=30, epochs=3, verbose=0).history["loss"]
    assert losses[2] < losses[1] < losses[0]
    assert np.all([np.array(w) != v for w, v in zip(own_weights(learner), (0, 1), strict=False)])


@keras.saving.register_keras_serializable("tests")
class OwnLayers(R2D2):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.encoder = keras.layers.Dense(6, "tanh")

    def call(self, x):
        return self.encoder(x)


@pytest.mark.parametrize("make", [lambda: R2D2(tasks.dense(3), scale=2.0), OwnLayers])
def test_a_file_keeps_what_was_learned(make, tmp_path):
    episodes = tasks.regression()
    learner = compiled(make())
    learner.fit(tasks.dataset(episodes, 2), verbose=0)
    learner.save(tmp_path / "learner.keras")
    loaded = keras.models.load_model(tmp_path / "learner.keras")
    assert loaded.scale == learner.scale
    for a, b in zip(own_weights(learner), own_weights(loaded), strict=True):
        np.testing.assert_array_equal(a, b)
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    expected = learner.predict_query(learner.adapt(support), query.x)
    np.testing.assert_allclose(loaded.adapted_model(support)(query.x), expected, atol=1e-6)


def test_a_network_that_computes_in_16_bits():
    network = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(4, "tanh", dtype="mixed_bfloat16")]
    )
    learner = compiled(R2D2(network))
    assert learner.adapt(tasks.one(tasks.regression().support)).weights.dtype == tf.float32
    assert learner.log_regularization.dtype == "float32"


@pytest.mark.parametrize("name", ["regularization", "scale"])
@pytest.mark.parametrize("value", [0, -1.0, "1", float("inf")])
def test_bad_arguments(name, value):
    with pytest.raises(ValueError, match=f"Expected {name} > 0, a finite number. Received"):
        R2D2(tasks.dense(), **{name: value})


def test_probabilities_are_no_loss():
    learner = R2D2(tasks.convolutional(5))
    learner.compile(loss="sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="Expected a loss of logits"):
        learner.fit(tasks.dataset(tasks.images(), 1))
