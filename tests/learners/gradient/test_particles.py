"""Bayesian MAML and PLATIPUS: MAML as a special case, Stein directions, gradients, bad input."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf
from meta_gradients import compiled, outer_gradients, relative_error_along

from tfmeta.learners import MAML, PLATIPUS, BayesianMAML
from tfmeta.learners.gaussian import kl_divergence
from tfmeta.learners.gradient.bayesian_maml import stein_direction

RATE = {"inner_learning_rate": 0.1, "inner_steps": 2}


def made(cls, dtype="float64", loss="mse", **kwargs):
    """A learner that runs eagerly, and a meta-batch for it."""
    episodes = tasks.regression(dtype=dtype)
    learner = compiled(cls(tasks.dense(dtype=dtype), **RATE, **kwargs), loss, run_eagerly=True)
    learner.prepare(tasks.dataset(episodes, 1))
    return learner, episodes


def predict(learner, episodes, task=0):
    adapted = learner.adapt(tasks.one(episodes.support, task))
    return np.array(learner.predict_query(adapted, episodes.query.x[task]))


def without_spread(learner):
    """PLATIPUS whose deviations and rates are 0."""
    part = learner.adapted_part
    for variable in (*part.log_deviations, *part.log_query_deviations):
        variable.assign(np.full(variable.shape, -100.0))
    part.rate.assign(0.0)
    part.query_rate.assign(0.0)
    return learner


@pytest.mark.parametrize("which", ["one particle", "no variance"])
def test_it_is_maml_with_one_particle_or_without_variance(which):
    maml, episodes = made(MAML)
    if which == "one particle":
        learner = made(BayesianMAML, particles=1)[0]
    else:
        learner = without_spread(made(PLATIPUS, particles=2, kl_weight=0.0)[0])
    np.testing.assert_allclose(predict(learner, episodes), predict(maml, episodes), rtol=1e-12)
    expected, found = (outer_gradients(x, episodes, eager=True) for x in (maml, learner))
    for a, b in zip(found, expected, strict=False):  # the network's come first
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_the_rate_of_platipus_is_one_more_step_of_maml():
    platipus, episodes = made(PLATIPUS, particles=2)
    without_spread(platipus).adapted_part.rate.assign(0.1)
    maml, _ = made(MAML, evaluation_steps=3)
    np.testing.assert_allclose(predict(platipus, episodes), predict(maml, episodes), rtol=1e-12)


def test_stein_direction_is_that_of_a_slow_numpy():
    random = np.random.default_rng(0)
    points, gradients = random.normal(size=(2, 4, 3))
    squares = [[np.sum((a - b) ** 2) for b in points] for a in points]
    width = np.sum(squares) / 12 / np.log(5)
    expected = np.zeros((4, 3))
    for k in range(4):
        for j in range(4):
            kernel = np.exp(-squares[j][k] / width)
            slope = -2 * kernel * (points[j] - points[k]) / width  # for the point j
            expected[k] += (kernel * gradients[j] - 0.7 * slope) / 4
    found = stein_direction(tf.constant(points), tf.constant(gradients), 0.7)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_stein_particles_become_samples_of_a_density():
    """Of the loss (w - 2)^2 / 2 and u = 0.25 it is normal, of variance 0.25 about 2."""
    points = tf.constant(np.random.default_rng(0).normal(size=(20, 1)))
    step = tf.function(lambda p: p - 0.3 * stein_direction(p, p - 2.0, 0.25))
    for _ in range(600):
        points = step(points)
    np.testing.assert_allclose(np.mean(points), 2.0, atol=0.02)
    np.testing.assert_allclose(np.std(points), 0.5, atol=0.07)


@pytest.mark.parametrize(
    ("cls", "arguments"),
    [
        (BayesianMAML, {"particles": 2, "repulsion": 0.3}),
        (PLATIPUS, {"particles": 2, "kl_weight": 0.1}),
    ],
)
def test_outer_gradient_against_central_differences(cls, arguments):
    learner, episodes = made(cls, **arguments)
    assert relative_error_along(learner, episodes, eager=True) < 1e-6


def test_all_particles_in_one_kernel_are_each_in_its_own():
    learner, episodes = made(BayesianMAML, particles=3)
    one_by_one, at_once = (outer_gradients(learner, episodes, eager=e) for e in (True, False))
    for a, b in zip(at_once, one_by_one, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_particles_start_apart_and_predict_a_mixture():
    learner, episodes = made(BayesianMAML, "float32", particles=3)
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    learner.adapted_part.log_noise.assign(np.log(0.3))
    adapted = learner.adapt(support)
    each = np.array(learner.predict_particles(adapted, query.x))
    assert each.shape == (3, 4, 1)
    assert each.std(axis=0).min() > 1e-3
    mean, scale = learner.predict_distribution(adapted, query.x)
    np.testing.assert_allclose(mean, each.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(scale, np.sqrt(each.var(axis=0) + 0.3**2), rtol=1e-5)
    density = np.exp(-0.5 * ((query.y - each) / 0.3) ** 2) / np.sqrt(2 * np.pi) / 0.3
    found = learner.query_log_likelihood(adapted, query.x, query.y)
    np.testing.assert_allclose(found, np.log(density.mean(axis=0))[:, 0], rtol=1e-4)


def test_the_noise_follows_the_errors_of_likely_particles():
    learner, episodes = made(BayesianMAML, particles=2)
    learner.adapted_part.log_noise.assign(np.log(0.5))
    errors = []
    for task in range(3):
        query = tasks.one(episodes.query, task)
        adapted = learner.adapt(tasks.one(episodes.support, task))
        squares = (np.array(learner.predict_particles(adapted, query.x)) - query.y)[..., 0] ** 2
        shares = np.exp(-squares / (2 * 0.5**2))
        errors.append(np.sum(shares * squares, axis=0) / np.sum(shares, axis=0))
    learner.train_on_batch(episodes)
    expected = 0.99 * 0.5**2 + 0.01 * np.mean(errors)
    np.testing.assert_allclose(learner.adapted_part.noise("float64") ** 2, expected, rtol=1e-9)
    assert "log_noise" not in [v.name for v in learner.trainable_variables]


@pytest.mark.parametrize("kl_weight", [None, 0.3])
def test_the_divergence_of_platipus_has_the_weight_of_the_bound(kl_weight):
    learner, episodes = made(PLATIPUS, kl_weight=kl_weight, noise=0.7)
    part = learner.adapted_part
    part.query_rate.assign(0.0)
    part.rate.assign(0.0)
    for own, other in zip(part.log_deviations, part.log_query_deviations, strict=True):
        own.assign(np.log(0.1) + 0 * np.array(own))
        other.assign(np.log(0.2) + 0 * np.array(other))
    count = sum(np.size(v) for v in part.log_deviations)
    divergence = count * (np.log(0.5) + 0.5 * (4 - 1))
    results, _ = learner.outer_gradients(episodes)
    weight = 2 * 0.7**2 / episodes.query.y.shape[1] if kl_weight is None else kl_weight
    np.testing.assert_allclose(results.objective - results.loss, weight * divergence, rtol=1e-6)


def test_the_chaser_loss_is_the_distance_to_more_steps_on_all_points():
    learner, episodes = made(BayesianMAML, particles=1, leader_steps=1)
    results, _ = learner.outer_gradients(episodes)
    maml, _ = made(MAML)
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    chaser = [np.array(w) for w in maml.adapt(support).weights]
    maml.network.set_weights(chaser)
    both = support._replace(
        **{n: np.concatenate([getattr(e, n) for e in (support, query)]) for n in ("x", "y", "mask")}
    )
    leader = maml.adapt(both, inner_steps=1).weights
    distance = sum(np.sum((a - np.array(b)) ** 2) for a, b in zip(chaser, leader, strict=True))
    np.testing.assert_allclose(results.objective[0], distance, rtol=1e-9)


def test_classes_are_predicted_by_the_mean_of_probabilities():
    keras.utils.set_random_seed(0)
    episodes = tasks.images()
    learner = BayesianMAML(tasks.convolutional(norm=False), particles=2, **RATE)
    compiled(learner, tasks.CROSSENTROPY, run_eagerly=True)
    learner.prepare(tasks.dataset(episodes, 1))
    adapted, x = learner.adapt(tasks.one(episodes.support)), episodes.query.x[0]
    each = tf.nn.softmax(learner.predict_particles(adapted, x))
    found = tf.nn.softmax(learner.predict_query(adapted, x))
    np.testing.assert_allclose(found, np.mean(each, axis=0), rtol=1e-5)
    assert not learner.predicts_distributions
    learner.train_on_batch(episodes)
    np.testing.assert_allclose(learner.adapted_part.noise("float32"), 0.1, rtol=1e-6)


def test_samples_of_platipus_are_apart_and_the_same_at_each_call():
    learner, episodes = made(PLATIPUS, "float32", particles=4, deviation=0.3)
    adapted = learner.adapt(tasks.one(episodes.support))
    each = np.array(learner.predict_particles(adapted, episodes.query.x[0]))
    assert each.std(axis=0).min() > 1e-2
    again = learner.adapt(tasks.one(episodes.support))
    np.testing.assert_array_equal(learner.predict_particles(again, episodes.query.x[0]), each)
    same = tf.nest.map_structure(lambda t: tf.repeat(t[:1], 2, axis=0), episodes)
    outputs = learner.outer_gradients(same)[0].outputs  # each task draws a start of its own
    assert not np.allclose(outputs[0], outputs[1])


def test_divergence_of_normals():
    found = kl_divergence(tf.constant([1.0]), tf.constant([0.5]), tf.constant([0.0]), 2.0)
    np.testing.assert_allclose(found, np.log(4) + (0.25 + 1) / 8 - 0.5, rtol=1e-6)


@pytest.mark.parametrize(
    ("cls", "arguments", "message"),
    [
        (BayesianMAML, {"particles": 0}, "Expected particles to be an integer of at least 1"),
        (BayesianMAML, {"repulsion": -1}, "Expected repulsion >= 0"),
        (BayesianMAML, {"spread": 2}, "Expected spread in 0..1"),
        (BayesianMAML, {"leader_steps": 1.5}, "Expected leader_steps to be an integer"),
        (PLATIPUS, {"particles": 0}, "Expected particles to be an integer of at least 1"),
        (PLATIPUS, {"deviation": 0}, "Expected deviation > 0"),
        (PLATIPUS, {"kl_weight": "a"}, "Expected kl_weight >= 0"),
    ],
)
def test_bad_arguments(cls, arguments, message):
    with pytest.raises(ValueError, match=message):
        cls(tasks.dense(), **arguments)
