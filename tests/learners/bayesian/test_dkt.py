"""DKT: marginal likelihood and posterior of NumPy, the outer gradient, classes, bad arguments."""

import keras
import numpy as np
import pytest
import tasks
from meta_gradients import relative_error_along

from tfmeta.learners import DKT

KERNELS = ["rbf", "matern52", "periodic", "cosine", "linear"]


def made(kernel="rbf", dtype="float64", **kwargs):
    episodes = tasks.regression(dtype=dtype)
    network = tasks.dense(3, dtype=dtype)
    learner = DKT(network, kernel=kernel, length=0.7, scale=1.3, dtype=dtype, **kwargs)
    learner.compile("sgd", run_eagerly=True)
    learner.prepare(tasks.dataset(episodes, 1))
    learner.process.offset.assign(0.2)
    return learner, episodes


def covariances(kernel, a, b):
    """Of the kernel above, in NumPy."""
    differences = a[:, None] - b[None]
    r = np.sqrt((differences**2).sum(-1)) / 0.7
    if kernel == "cosine":
        a, b = (rows / np.linalg.norm(rows, axis=1)[:, None] for rows in (a, b))
        values = a @ b.T
    else:
        values = {
            "rbf": np.exp(-0.5 * r**2),
            "matern52": (1 + np.sqrt(5) * r + 5 * r**2 / 3) * np.exp(-np.sqrt(5) * r),
            "periodic": np.exp(-2 * (np.sin(np.pi * differences) ** 2).sum(-1) / 0.7**2),
            "linear": a @ b.T / 3,
        }[kernel]
    return 1.3**2 * values


@pytest.mark.parametrize("kernel", KERNELS)
def test_loss_and_prediction_are_those_of_numpy(kernel):
    learner, episodes = made(kernel)
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    x, new = np.array(learner(support.x)), np.array(learner(query.x))
    known = covariances(kernel, x, x) + 0.1**2 * np.eye(4)
    between = covariances(kernel, x, new)
    adapted = learner.adapt(support)
    mean, scale = learner.predict_distribution(adapted, query.x)
    np.testing.assert_allclose(
        mean, 0.2 + between.T @ np.linalg.solve(known, support.y - 0.2), rtol=1e-5
    )
    variance = covariances(kernel, new, new) - between.T @ np.linalg.solve(known, between)
    np.testing.assert_allclose(scale[:, 0] ** 2, np.diag(variance) + 0.1**2, rtol=1e-5)
    both = np.concatenate([x, new])
    y = np.concatenate([support.y, query.y])[:, 0] - 0.2
    every = covariances(kernel, both, both) + 0.1**2 * np.eye(8)
    density = -0.5 * y @ np.linalg.solve(every, y) - 0.5 * np.linalg.slogdet(2 * np.pi * every)[1]
    results, _ = learner.outer_gradients(episodes)
    np.testing.assert_allclose(results.loss[0], -density / 8, rtol=1e-5)


@pytest.mark.parametrize("kernel", KERNELS)
def test_gradient_of_the_marginal_likelihood_against_central_differences(kernel):
    learner, episodes = made(kernel)
    assert relative_error_along(learner, episodes, step=1e-6, eager=True) < 1e-6


def test_classes_have_a_process_each():
    keras.utils.set_random_seed(0)
    episodes = tasks.images(shots=2)
    learner = DKT(tasks.convolutional(4, norm=False), kernel="cosine")
    learner.compile("sgd", tasks.CROSSENTROPY, run_eagerly=True)
    learner.prepare(tasks.dataset(episodes, 1))
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    outputs = np.array(learner.predict_query(learner.adapt(support), query.x))
    assert outputs.shape == (6, 3)
    for label in range(3):
        own = DKT(learner.network, kernel="cosine")
        own.compile("sgd", run_eagerly=True)
        values = np.where(support.y == label, 1.0, -1.0).astype("float32")
        mean = own.predict_query(own.adapt(support._replace(y=values)), query.x)
        np.testing.assert_allclose(outputs[:, label], np.array(mean)[:, 0], atol=1e-5)
    assert not learner.predicts_distributions


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel": "sphere"}, "Expected kernel in .* Received: kernel='sphere'"),
        ({"noise": 0.0}, "Expected noise > 0: without noise a point that is there twice"),
        ({"length": 0}, "Expected length > 0"),
        ({"learn_noise": None}, "Expected learn_noise to be True or False"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        DKT(**arguments)
