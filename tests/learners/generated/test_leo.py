"""LEO: the first classifier by NumPy, steps, penalties, draws, outer gradients, bad input."""

import keras
import numpy as np
import pytest
import tasks
from meta_gradients import compiled, relative_error_along

import tfmeta
from tfmeta.learners import LEO

SMALL = {"latent_size": 3, "latent_steps": 2, "head_steps": 2, "dropout": 0.0}


def features(dtype="float32"):
    """A network without weights: inputs are features."""
    flat = keras.layers.Flatten(dtype=dtype)
    return keras.Sequential([keras.Input((4, 4, 1), dtype=dtype), flat])


def made(dtype="float32", **arguments):
    keras.utils.set_random_seed(0)
    learner = LEO(features(dtype), dtype=dtype, **(SMALL | arguments))
    return compiled(learner, tasks.CROSSENTROPY)


@pytest.fixture(scope="module")
def episodes():
    return tasks.images(shots=2, size=4)


def layers(model, x):
    """Dense layers without bias, ReLU between them, in NumPy."""
    *first, last = [np.array(v) for v in model.trainable_variables]
    for kernel in first:
        x = np.maximum(x @ kernel, 0)
    return x @ last


def test_codes_and_the_first_classifier_are_those_of_numpy(episodes):
    learner = made(latent_steps=0, head_steps=0)
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    x, z = (p.x.reshape(len(p.x), -1) for p in (support, query))
    x, z = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, z))
    codes = layers(learner.encoder, x)
    related = np.array([
        np.mean([layers(learner.relation, np.concatenate([a, b])) for b in codes], axis=0)
        for a in codes
    ])  # fmt: skip
    related = np.array([related[support.y == k].mean(axis=0) for k in range(3)])
    adapted = learner.adapt(support)
    np.testing.assert_allclose(adapted.mean, related[:, :3], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(adapted.scale, np.exp(related[:, 3:]), rtol=1e-4)
    head = layers(learner.decoder, related[:, :3])[:, :16]
    np.testing.assert_allclose(adapted.head, head, rtol=1e-4, atol=1e-6)
    outputs = learner.predict_query(adapted, query.x)
    np.testing.assert_allclose(outputs, z @ head.T, rtol=1e-4, atol=1e-6)


def test_steps_lower_the_support_loss_and_ways_are_free(episodes):
    support = tasks.one(episodes.support)
    losses = []
    for steps in ((0, 0), (3, 0), (3, 3)):
        learner = made(latent_steps=steps[0], head_steps=steps[1], head_learning_rate=0.5)
        outputs = learner.predict_query(learner.adapt(support), support.x)
        losses.append(tasks.CROSSENTROPY(support.y, outputs).numpy())
    assert losses[2] < losses[1] < losses[0]
    two = tasks.one(tasks.images(ways=2, size=4).support)
    assert learner.predict_query(learner.adapt(two), two.x).shape == (2, 2)


def test_the_penalty_in_closed_form(episodes):
    learner = made(kl_weight=0.5, encoder_weight=0.25, orthogonality_weight=2.0)
    adapted = learner.adapt(tasks.one(episodes.support), training=True)
    mean, scale, drawn, stepped = (
        np.array(getattr(adapted, name)) for name in ("mean", "scale", "drawn", "stepped")
    )
    divergence = np.mean(-np.log(scale) + (scale**2 + mean**2) / 2 - 0.5)
    kernel = np.array(learner.decoder.trainable_variables[0])
    kernel /= np.linalg.norm(kernel, axis=1, keepdims=True)
    correlations = np.mean((kernel @ kernel.T - np.eye(3)) ** 2)
    expected = 0.5 * divergence + 0.25 * np.mean((stepped - drawn) ** 2) + 2.0 * correlations
    np.testing.assert_allclose(learner.penalty(adapted), expected, rtol=1e-5)
    assert not np.allclose(drawn, mean)


def test_draws_are_of_training_alone(episodes):
    support = tasks.one(episodes.support)
    learner, silent = made(), made(noise=0.0)
    outside = learner.adapt(support)
    np.testing.assert_array_equal(outside.drawn, outside.mean)
    within = silent.adapt(support, training=True)
    np.testing.assert_array_equal(within.drawn, within.mean)
    np.testing.assert_allclose(within.head, outside.head, rtol=1e-6)


def test_against_central_differences():
    learner, episodes = made("float64"), tasks.images(shots=2, size=4, dtype="float64")
    assert {v.dtype for v in learner.trainable_variables} == {"float64"}
    assert relative_error_along(learner, episodes, step=1e-7, eager=True) < 1e-6


def test_bad_input(episodes):
    trains = compiled(LEO(tfmeta.networks.mlp((4, 4, 1), 5), **SMALL), tasks.CROSSENTROPY)
    with pytest.raises(ValueError, match=r"Expected a frozen network.*6 trainable weights"):
        trains.prepare(tasks.dataset(episodes, 1))
    with pytest.raises(ValueError, match=r"Expected a built network. Received: none"):
        LEO(None)
    for arguments, message in (
        ({"latent_size": 0}, r"Expected latent_size .* at least 1"),
        ({"latent_steps": -1}, r"Expected latent_steps .* at least 0"),
        ({"dropout": 1.0}, r"Expected dropout in 0..1, below 1"),
        ({"noise": -1.0}, r"Expected noise >= 0"),
        ({"kl_weight": -1.0}, r"Expected kl_weight >= 0"),
    ):
        with pytest.raises(ValueError, match=message):
            made(**arguments)
