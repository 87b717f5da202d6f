"""Curves of Gaussian processes: their covariances, masks, numbering; their exact posterior."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmeta
from tfmeta.episodes import gaussian_process
from tfmeta.evaluation import ExactGP, score_likelihood
from tfmeta.ops import covariance, gaussian_posterior


def slow_covariance(kernel, a, b, length, scale, period):
    """One pair at a time."""
    found = np.zeros((len(a), len(b)))
    for i, j in np.ndindex(found.shape):
        difference = a[i] - b[j]
        r = np.sqrt(np.sum(difference**2))
        q = np.sqrt(5) * r / length
        found[i, j] = (
            scale**2
            * {
                "rbf": np.exp(-(r**2) / (2 * length**2)),
                "matern52": (1 + q + 5 * r**2 / (3 * length**2)) * np.exp(-q),
                "periodic": np.exp(
                    -2 * np.sum(np.sin(np.pi * difference / period) ** 2) / length**2
                ),
            }[kernel]
        )
    return found


def slow_posterior(kernel, x, y, query_x, noise):
    """By the definition, with an inverse."""
    inverse = np.linalg.inv(kernel(x, x) + noise**2 * np.eye(len(x)))
    between = kernel(x, query_x)
    return between.T @ inverse @ y, np.diag(
        kernel(query_x, query_x) - between.T @ inverse @ between
    )


def tasks(**options):
    options = {"shots": 4, "queries": 3, "count": 50, **options}
    parts = [tf.nest.flatten(batch) for batch in gaussian_process(**options).as_numpy_iterator()]
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("kernel", ["rbf", "matern52", "periodic"])
def test_covariances_and_the_posterior_are_those_of_numpy(kernel):
    random = np.random.default_rng(0)
    x, query_x, y = (random.normal(size=(n, d)) for n, d in ((5, 2), (4, 2), (5, 2)))
    numbers = {"length": 0.7, "scale": 1.3, "period": 0.9}
    slow = functools.partial(slow_covariance, kernel, **numbers)
    fast = functools.partial(covariance, kernel, **numbers)
    np.testing.assert_allclose(fast(x, query_x), slow(x, query_x), atol=1e-9)
    both = fast(np.stack([x, -x]), np.stack([query_x, query_x]))
    np.testing.assert_allclose(both[1], slow(-x, query_x), atol=1e-9)
    mask = np.array([1, 1, 0, 1, 1.0])
    found = gaussian_posterior(fast, x, y, mask, query_x, 0.1)
    expected = slow_posterior(slow, x[mask > 0], y[mask > 0], query_x, 0.1)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("kernel", ["rbf", "matern52", "periodic"])
def test_curves_have_the_covariance_of_their_kernel(kernel):
    numbers = {"length": 0.6, "scale": 1.5, "period": 1.7, "noise": 0.3}
    x, y, _, query_x, query_y, _ = tasks(kernel=kernel, count=4000, meta_batch_size=500, **numbers)
    del numbers["noise"]
    x, y = (np.concatenate(pair, axis=1)[..., 0] for pair in ((x, query_x), (y, query_y)))
    scaled = (x + 2) / 4
    found = np.histogram(scaled, bins=10, range=(0, 1))[0] / scaled.size
    assert abs(found - 0.1).max() < 4.5 * np.sqrt(0.09 / scaled.size)
    # Of a product of two normal numbers less its mean, in standard errors of a mean of 4,000.
    for i, j in ((0, 0), (0, 1), (2, 5), (6, 4)):
        expected = np.array(covariance(kernel, x[:, [i], None], x[:, [j], None], **numbers))
        expected = expected[:, 0, 0] + 0.3**2 * (i == j)
        error = y[:, i] * y[:, j] - expected
        assert abs(error.mean()) < 4.5 * error.std() / np.sqrt(4000)
    whitened = np.linalg.solve(
        np.linalg.cholesky(_covariances(kernel, x[:200], numbers)), y[:200, :, None]
    )
    assert abs(np.mean(whitened**2) - 1) < 4.5 * np.sqrt(2 / whitened.size)


def _covariances(kernel, x, numbers):
    own = covariance(kernel, x[:, :, None].astype(float), x[:, :, None].astype(float), **numbers)
    return own.numpy() + 0.3**2 * np.eye(x.shape[1])


def test_numbers_of_points_vary_in_fixed_shapes_and_padding_is_zero():
    data = gaussian_process(shots=(1, 6), queries=(2, 5), meta_batch_size=8)
    support, query = data.element_spec
    for part, rows in ((support, 6), (query, 5)):
        assert part.x == part.y == tf.TensorSpec((8, rows, 1), tf.float32)
        assert part.mask == tf.TensorSpec((8, rows), tf.float32)
    x, y, mask, query_x, _, query_mask = tasks(shots=(1, 6), queries=(2, 5), count=300)
    assert set(mask.sum(axis=1)) == set(range(1, 7))
    assert set(query_mask.sum(axis=1)) == set(range(2, 6))
    assert (np.diff(mask, axis=1) <= 0).all()
    for values, real in ((x, mask), (y, mask), (query_x, query_mask)):
        assert (values[real == 0] == 0).all()
        assert (values[real == 1] != 0).all()
    assert tasks()[2].min() == 1


def test_an_episode_depends_on_seed_and_number_alone():
    options = {"shots": (1, 4), "length": (0.1, 0.6), "count": 60}
    whole = tasks(**options)
    assert same(whole, tasks(**options))
    assert same(whole, tasks(**options, meta_batch_size=7))
    assert not same(whole, tasks(**options, seed=1))
    assert same([a[30:] for a in whole], tasks(**options | {"start": 30, "count": 30}))


def test_each_task_draws_its_own_length():
    """Short lengths wiggle: neighbouring points differ more."""
    means = []
    for length in (0.1, (0.1, 1.0), 1.0):
        x, y, *_ = tasks(shots=30, count=200, length=length, noise=0.0)
        order = np.argsort(x, axis=1)
        means.append(np.abs(np.diff(np.take_along_axis(y, order, 1), axis=1)).mean())
    assert means[0] > means[1] > means[2]


def test_many_points_without_noise_have_a_factor():
    assert np.isfinite(tasks(shots=100, queries=100, count=20, noise=0.0, length=3.0)[4]).all()


def test_the_exact_posterior_is_a_learner():
    episodes = gaussian_process(shots=(1, 6), queries=(2, 5), meta_batch_size=5, noise=0.1)
    learner = ExactGP(length=0.4, noise=0.1)
    report = score_likelihood(learner, episodes, count=10, verbose=0)
    slow = functools.partial(slow_covariance, "rbf", length=0.4, scale=1.0, period=1.0)
    expected = []
    for support, query in episodes.take(2).unbatch().as_numpy_iterator():
        x, y = (t[support.mask > 0].astype(float) for t in (support.x, support.y))
        query_x, query_y = (t[query.mask > 0].astype(float) for t in (query.x, query.y))
        mean, variance = slow_posterior(slow, x, y, query_x, 0.1)
        variance = variance + 0.1**2
        values = -((query_y - mean)[:, 0] ** 2) / variance - np.log(2 * np.pi * variance)
        expected.append(np.mean(values) / 2)
        found = learner.predict_query(learner.adapt(support), query.x)
        np.testing.assert_allclose(np.array(found)[query.mask > 0], mean, atol=1e-4)
    np.testing.assert_allclose(report.scores, expected, rtol=1e-3, atol=1e-4)
    learner.compile()
    loss = learner.evaluate(episodes.take(2), verbose=0)
    np.testing.assert_allclose(loss, -report.mean, rtol=1e-4)


def test_the_exact_posterior_is_better_than_that_of_another_kernel():
    episodes = gaussian_process("matern52", shots=(3, 20), meta_batch_size=100, seed=3)
    right = score_likelihood(ExactGP("matern52"), episodes, 200, verbose=0)
    gain = right.difference(score_likelihood(ExactGP("rbf"), episodes, 200, verbose=0))
    assert gain.mean > gain.interval


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": "cosine"}, r"Expected kernel in \['matern52', .*\]. Received: kernel='cosine'"),
        ({"kernel": None}, "Expected kernel in .* Received: kernel=None"),
        ({"shots": 0}, "Expected shots to be an integer of at least 1. Received: shots=0"),
        ({"shots": (5, 2)}, r"Expected shots to be an integer or a pair.* Received: .*\(5, 2\)"),
        ({"queries": 0}, "Expected queries to be an integer of at least 1"),
        ({"length": 0}, "Expected length > 0"),
        ({"scale": (0.0, 1.0)}, "Expected scale > 0"),
        ({"period": "long"}, r"Expected period to be \(low, high\), .* or a number. Received"),
        ({"noise": -1.0}, "Expected noise >= 0"),
        ({"inputs": 3.0}, r"Expected inputs to be \(low, high\), .* low <= high. Received"),
        ({"count": 0}, "Expected count to be an integer of at least 1"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        gaussian_process(**options)


def test_errors_of_the_posterior():
    with pytest.raises(ValueError, match="Expected kernel in"):
        ExactGP("linear")
    with pytest.raises(ValueError, match="Expected length > 0"):
        ExactGP(length=-1)
    maml = tfmeta.learners.MAML(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]))
    with pytest.raises(ValueError, match=r"Expected a learner that predicts.* Received: MAML"):
        score_likelihood(maml, gaussian_process())
