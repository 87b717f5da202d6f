"""ALPaCA: the posterior of NumPy, the outer gradient, padding, bad arguments."""

import keras
import numpy as np
import pytest
import tasks
from meta_gradients import relative_error_along

import tfmeta
from tfmeta.learners import ALPaCA


def made(dtype="float64", **kwargs):
    """A learner with a prior that is not the first one, and a meta-batch for it."""
    episodes = tasks.regression(dtype=dtype)
    learner = ALPaCA(tasks.dense(4, dtype=dtype), noise=0.2, dtype=dtype, **kwargs)
    learner.compile("sgd", run_eagerly=True)
    learner.prepare(tasks.dataset(episodes, 1))
    random = np.random.default_rng(0)
    for weight in learner.prior.weights:
        weight.assign(weight + 0.3 * random.normal(size=weight.shape))
    return learner, episodes


def precision_of(adapted):
    return np.linalg.inv(np.transpose(adapted.whitening) @ adapted.whitening)


def test_posterior_and_prediction_are_those_of_numpy():
    learner, episodes = made()
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    x, new, prior = np.array(learner(support.x)), np.array(learner(query.x)), learner.prior
    root = np.tril(prior.below, -1) + np.diag(np.exp(prior.log_diagonal))
    first, noise = root @ root.T, np.exp(np.array(prior.log_scale))
    precision = first + x.T @ x
    mean = np.linalg.solve(precision, first @ np.array(prior.mean) + x.T @ support.y)
    adapted = learner.adapt(support)
    np.testing.assert_allclose(adapted.mean, mean, rtol=1e-6)
    np.testing.assert_allclose(precision_of(adapted), precision, rtol=1e-6)
    found, scale = learner.predict_distribution(adapted, query.x)
    np.testing.assert_allclose(found, new @ mean, rtol=1e-6)
    variance = 1 + np.einsum("mf,fg,mg->m", new, np.linalg.inv(precision), new)
    np.testing.assert_allclose(scale, noise * np.sqrt(variance)[:, None], rtol=1e-6)
    z = (query.y - new @ mean) / scale
    expected = (-0.5 * z**2 - np.log(scale * np.sqrt(2 * np.pi)))[:, 0]
    density = learner.query_log_likelihood(adapted, query.x, query.y)
    np.testing.assert_allclose(density, expected, rtol=1e-6)


def test_posterior_is_the_same_of_points_at_once_and_in_turn():
    learner, episodes = made()
    support, prior = tasks.one(episodes.support), learner.prior
    both = learner.adapt(support)
    half = learner.adapt(tfmeta.Examples(*(t[:2] for t in support)))
    x = np.array(learner(support.x[2:]))
    precision = precision_of(half) + x.T @ x
    mean = precision_of(half) @ half.mean + x.T @ support.y[2:]
    np.testing.assert_allclose(np.linalg.solve(precision, mean), both.mean, rtol=1e-9)
    assert prior.mean.shape == (4, 1)


@pytest.mark.parametrize("learn_noise", [False, True])
def test_outer_gradient_against_central_differences(learn_noise):
    learner, episodes = made(learn_noise=learn_noise)
    names = [v.name for v in learner.trainable_variables]
    assert ("log_scale" in names) is learn_noise
    assert relative_error_along(learner, episodes, eager=True) < 1e-6


def test_a_small_prior_precision_is_no_trouble_in_float32():
    keras.utils.set_random_seed(0)
    learner = ALPaCA(tasks.dense(4), noise=1e-3, precision=1e-6)
    learner.compile("sgd", run_eagerly=True)
    episodes = tasks.regression(rows=20)
    learner.prepare(tasks.dataset(episodes, 1))
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    x, new = (np.array(learner(e.x), "float64") for e in (support, query))
    mean = np.linalg.solve(1e-6 * np.eye(4) + x.T @ x, x.T @ support.y)
    outputs = learner.predict_query(learner.adapt(support), query.x)
    np.testing.assert_allclose(outputs, new @ mean, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"noise": 0}, r"Expected noise > 0: without noise a point that is there twice"),
        ({"noise": -1.0}, "Expected noise > 0"),
        ({"precision": 0.0}, "Expected precision > 0"),
        ({"learn_noise": 1}, "Expected learn_noise to be True or False"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ALPaCA(**arguments)


def test_a_point_twice_with_two_targets_is_averaged():
    learner, _ = made()
    support = tfmeta.Examples(np.array([[0.3], [0.3]]), np.array([[0.0], [1.0]]))
    mean = learner.predict_query(learner.adapt(support), support.x)
    assert np.isfinite(mean).all()
    np.testing.assert_allclose(mean[0], mean[1])
