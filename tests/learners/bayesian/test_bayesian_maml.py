"""BayesianMAML: Stein directions against NumPy, MAML with one particle, its mixture and noise."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf
from learners.bayesian.small_particles import RATE, assert_is_maml, made
from meta_gradients import compiled, outer_gradients, relative_error_along

from tfmeta.learners import MAML, BayesianMAML
from tfmeta.learners.bayesian.bayesian_maml import stein_direction


def test_it_is_maml_with_one_particle():
    assert_is_maml(made(BayesianMAML, particles=1)[0])


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


def test_outer_gradient_against_central_differences():
    learner, episodes = made(BayesianMAML, particles=2, repulsion=0.3)
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"particles": 0}, "Expected particles to be an integer of at least 1"),
        ({"repulsion": -1}, "Expected repulsion >= 0"),
        ({"spread": 2}, "Expected spread in 0..1"),
        ({"leader_steps": 1.5}, "Expected leader_steps to be an integer"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        BayesianMAML(tasks.dense(), **arguments)
