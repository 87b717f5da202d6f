"""LR-D2: against Newton's method in NumPy, outer gradient, padding."""

import numpy as np
import pytest
import tasks
from meta_gradients import compiled, gradient_of, relative_error_along

from tfmeta.learners import LRD2


@pytest.fixture(scope="module")
def learner():
    network = tasks.convolutional(5, dtype="float64", norm=False)
    learner = compiled(LRD2(network, steps=2), tasks.CROSSENTROPY)
    learner.log_regularization.assign(-0.5)
    learner.output_scale.assign(1.7)
    return learner


@pytest.fixture(scope="module")
def episodes():
    return tasks.images(shots=2, dtype="float64")


def test_outputs_are_those_of_numpy(learner, episodes):
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    x, z = (np.c_[f, np.ones(len(f))] for f in map(learner.network, (support.x, query.x)))
    expected = []
    for label in range(3):
        y, w = (support.y == label) * 1.0, np.zeros(x.shape[1])
        for _ in range(2):
            mean = 1 / (1 + np.exp(-x @ w))
            hessian = (x.T * mean * (1 - mean)) @ x + np.exp(-0.5) * np.eye(len(w))
            w = w - np.linalg.solve(hessian, x.T @ (mean - y) + np.exp(-0.5) * w)
        expected.append(1.7 * z @ w)
    outputs = learner.predict_query(learner.adapt(support), query.x)
    np.testing.assert_allclose(outputs, np.stack(expected, axis=1), rtol=1e-6, atol=1e-8)


def test_outer_gradient_against_central_differences(learner, episodes):
    assert relative_error_along(learner, episodes, eager=True) < 1e-6
    for own in (learner.log_regularization, learner.output_scale):
        assert abs(gradient_of(learner, episodes, own)) > 1e-6


@pytest.mark.parametrize(
    "arguments", [{"regularization": 0}, {"scale": -1.0}, {"steps": 0}, {"steps": 2.5}]
)
def test_bad_arguments(arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"Expected {name} "):
        LRD2(tasks.convolutional(5), **arguments)
