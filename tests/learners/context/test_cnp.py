"""Conditional neural processes: likelihood, invariances, gradient, files, curves."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf
from meta_gradients import relative_error_along

import tfmeta
from tfmeta.learners import CNP
from tfmeta.learners.gaussian import log_likelihood

SMALL = {"hidden": (6,), "representation": 5}


def made(network=None, episodes=None, **kwargs):
    """A compiled learner with weights, and a meta-batch for it."""
    episodes = tasks.regression() if episodes is None else episodes
    keras.utils.set_random_seed(0)
    learner = CNP(network, **(SMALL | kwargs))
    learner.compile(keras.optimizers.SGD(0.05))
    learner.prepare(tasks.dataset(episodes, 1))
    return learner, episodes


def two_targets(episodes):
    """The same episodes with targets of two columns."""
    return tfmeta.Episode(*(e._replace(y=tf.concat([e.y, -2 * e.y], -1)) for e in episodes))


def predict(learner, support, x):
    return np.array(learner.predict_query(learner.adapt(support), x))


def density(y, mean, scale):
    return np.exp(-((y - mean) ** 2) / (2 * scale**2)) / np.sqrt(2 * np.pi * scale**2)


def test_likelihood_is_that_of_normal_densities():
    random = np.random.default_rng(0)
    y, mean, scale = random.normal(size=(3, 4, 2))
    scale = np.exp(scale)
    expected = np.log(density(y, mean, scale)).sum(axis=1)
    np.testing.assert_allclose(log_likelihood(y, mean, scale), expected, rtol=1e-10)


def test_loss_is_the_mean_over_real_query_rows_of_all_tasks():
    learner, episodes = made(episodes=two_targets(tasks.regression()))
    mask = np.ones((3, 4), "float32")
    mask[:, 2] = 0
    episodes = episodes._replace(query=episodes.query._replace(mask=tf.constant(mask)))
    losses = []
    for i in range(3):
        support, query = tasks.one(episodes.support, i), tasks.one(episodes.query, i)
        mean, scale = map(np.array, learner.predict_distribution(learner.adapt(support), query.x))
        assert mean.shape == scale.shape == (4, 2)
        assert scale.min() > 0.1
        values = np.log(density(query.y, mean, scale)).sum(axis=1)
        losses.append(-values[mask[i] > 0].mean())
    loss = learner.test_on_batch(episodes, return_dict=True)["loss"]
    np.testing.assert_allclose(loss, np.mean(losses), rtol=1e-5)


def test_outputs_are_those_of_numpy():
    learner, episodes = made(episodes=two_targets(tasks.regression()))
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    r = np.array(learner.encode(np.c_[support.x, support.y])).mean(axis=0)
    np.testing.assert_allclose(learner.adapt(support), r, rtol=1e-5)
    raw = np.array(learner.decode.network(np.c_[np.tile(r, (4, 1)), query.x]))
    mean, scale = learner.predict_distribution(r, query.x)
    np.testing.assert_allclose(mean, raw[:, :2], rtol=1e-5)
    np.testing.assert_allclose(scale, 0.1 + 0.9 * np.log1p(np.exp(raw[:, 2:])), rtol=1e-5)
    np.testing.assert_array_equal(learner.predict_query(r, query.x), mean)


def test_order_and_padding_of_the_support_rows_change_nothing():
    learner, episodes = made()
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    expected = predict(learner, support, query.x)
    shuffled = tfmeta.Examples(*(t[[2, 0, 3, 1]] for t in support))
    np.testing.assert_allclose(predict(learner, shuffled, query.x), expected, atol=1e-6)
    padded = tfmeta.Examples(*(np.concatenate([t, 7 * np.ones_like(t)]) for t in support))
    padded.mask[4:] = 0
    np.testing.assert_allclose(predict(learner, padded, query.x), expected, atol=1e-6)
    flat = support._replace(y=support.y[:, 0])
    np.testing.assert_allclose(predict(learner, flat, query.x), expected)


@pytest.mark.parametrize("with_network", [False, True])
def test_outer_gradient_against_central_differences(with_network):
    def smooth(widths):
        layers = [keras.layers.Dense(w, "tanh", dtype="float64") for w in widths[:-1]]
        return keras.Sequential([*layers, keras.layers.Dense(widths[-1], dtype="float64")])

    network = tasks.dense(2, dtype="float64") if with_network else None
    learner, episodes = made(
        network,
        tasks.regression(dtype="float64"),
        encoder=smooth((6, 4)),
        decoder=smooth((6, 2)),
        dtype="float64",
    )
    assert {v.dtype for v in learner.variables} == {"float64"}
    assert relative_error_along(learner, episodes) < 1e-6


@pytest.mark.parametrize("jit_compile", [False, True])
def test_learns_sinusoids_without_a_compiled_loss(jit_compile):
    keras.utils.set_random_seed(0)
    learner = CNP()
    learner.compile(keras.optimizers.Adam(1e-3), metrics=["mse"], jit_compile=jit_compile)
    data = tfmeta.episodes.sinusoid()
    history = learner.fit(data, steps_per_epoch=60, epochs=3, verbose=0).history
    losses = history["loss"]
    assert losses[2] < losses[1] < losses[0]
    assert history["mse"][2] < history["mse"][0]


def test_a_network_makes_features_of_pictures():
    pictures = tasks.images(shots=2)
    numbers = (e._replace(y=tf.cast(e.y, tf.float32)[..., None]) for e in pictures)
    episodes = tfmeta.Episode(*numbers)
    learner, _ = made(tasks.convolutional(4, norm=False), episodes)
    losses = learner.fit(tasks.dataset(episodes, 20), epochs=2, verbose=0).history["loss"]
    assert losses[1] < losses[0]
    assert learner.predict_on_batch(episodes).shape == (2, 6, 1)


def variants():
    layers = [keras.Input((6,)), keras.layers.Dense(2)]
    return {
        "defaults": lambda: (None, {}),
        "network": lambda: (tasks.dense(), {}),
        "decoder": lambda: (None, {"decoder": keras.Sequential(layers)}),
        "both": lambda: (
            None,
            {
                "encoder": keras.Sequential([keras.Input((2,)), keras.layers.Dense(5)]),
                "decoder": keras.Sequential(layers),
            },
        ),
    }


@pytest.mark.parametrize(
    ("variant", "fitted"),
    [
        ("defaults", False),
        ("defaults", True),
        ("network", True),
        ("decoder", False),
        ("both", True),
    ],
)
def test_a_file_keeps_the_learner(variant, fitted, tmp_path):
    network, arguments = variants()[variant]()
    learner, episodes = made(network, **arguments)
    if fitted:
        learner.fit(tasks.dataset(episodes, 2), verbose=0)
    learner.save(tmp_path / "learner.keras")
    loaded = keras.models.load_model(tmp_path / "learner.keras")
    assert (loaded.hidden, loaded.representation) == ((6,), 5)
    assert len(loaded.variables) == len(learner.variables)
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    expected = predict(learner, support, query.x)
    np.testing.assert_allclose(predict(loaded, support, query.x), expected, atol=1e-6)
    losses = [model.train_on_batch(episodes) for model in (learner, loaded)]
    np.testing.assert_allclose(*losses, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:You are saving a model that has not yet been built")
def test_a_file_of_a_learner_that_has_seen_nothing(tmp_path):
    CNP(**SMALL).save(tmp_path / "learner.keras")
    loaded = keras.models.load_model(tmp_path / "learner.keras")
    loaded.compile("sgd")
    loaded.fit(tasks.dataset(tasks.regression(), 1), verbose=0)


def test_adapted_model_predicts_the_mean_saves_and_loads(tmp_path):
    learner, episodes = made()
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    model = learner.adapted_model(support)
    mean, _ = learner.predict_distribution(learner.adapt(support), query.x)
    np.testing.assert_allclose(model.predict(query.x, verbose=0), mean, atol=1e-6)
    model.save(tmp_path / "adapted.keras")
    loaded = keras.models.load_model(tmp_path / "adapted.keras")
    np.testing.assert_allclose(loaded.predict(query.x, verbose=0), mean, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"representation": 0}, "Expected representation to be an integer of at least 1"),
        ({"hidden": 128}, r"Expected hidden to be a tuple of widths.* Received: 128"),
        ({"hidden": (8, 0)}, "Expected each width in hidden to be an integer of at least 1"),
        ({"minimum_scale": 0.0}, r"Expected minimum_scale > 0.* Received: 0.0"),
        ({"minimum_scale": 1.0}, r"Expected minimum_scale < 1. Received: 1.0"),
        ({"encoder": 3}, "Expected encoder to be a Keras model or layer. Received: 3"),
        ({"decoder": "mlp"}, "Expected decoder to be a Keras model or layer. Received: 'mlp'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        CNP(**arguments)


def test_targets_with_more_axes_than_one():
    learner, episodes = made()
    support = tasks.one(episodes.support)
    with pytest.raises(ValueError, match=r"Expected targets of shape .* Received: .*\(4, 1, 1\)"):
        learner.adapt(support._replace(y=support.y[:, None]))
