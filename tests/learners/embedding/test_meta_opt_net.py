"""MetaOptNet: its two heads, outer gradients, absent classes."""

import numpy as np
import pytest
import tasks
from meta_gradients import compiled, gradient_of, relative_error_along

from tfmeta.learners import MetaOptNet
from tfmeta.ops import svm


@pytest.fixture(scope="module")
def episodes():
    return tasks.images(shots=2, dtype="float64")


@pytest.mark.parametrize("head", ["svm", "ridge"])
def test_outputs_and_outer_gradient(head, episodes):
    network = tasks.convolutional(5, dtype="float64", norm=False)
    arguments = {"head": head, "capacity": 0.2, "regularization": 2.0, "steps": 60}
    learner = compiled(MetaOptNet(network, **arguments), tasks.CROSSENTROPY)
    learner.output_scale.assign(1.7)
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    x, y = np.array(network(support.x)), np.eye(3)[support.y]
    w = svm(x, y, 0.2) if head == "svm" else np.linalg.solve(x.T @ x + 2 * np.eye(5), x.T @ y)
    outputs = learner.predict_query(learner.adapt(support), query.x)
    np.testing.assert_allclose(outputs, 1.7 * np.array(network(query.x)) @ w, atol=1e-5)
    # 60 steps of the solver come so near; that its derivative is exact, `test_svm.py` tests.
    assert relative_error_along(learner, episodes, eager=True) < (1e-3 if head == "svm" else 1e-6)
    assert abs(gradient_of(learner, episodes, learner.output_scale)) > 1e-6


def test_an_absent_class_is_hidden(episodes):
    learner = compiled(MetaOptNet(tasks.convolutional(5, norm=False)), tasks.CROSSENTROPY)
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    names = np.array([0, 2, 3], "int32")
    outputs = np.array(
        learner.predict_query(learner.adapt(support._replace(y=names[support.y])), query.x)
    )
    assert np.all(outputs[:, 1] < -1e37)
    plain = learner.predict_query(learner.adapt(support), query.x)
    np.testing.assert_allclose(outputs[:, names], plain, atol=1e-5)


@pytest.mark.parametrize(
    "arguments", [{"head": "tree"}, {"capacity": 0}, {"regularization": 0}, {"scale": 0}]
)
def test_bad_arguments(arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"Expected {name} "):
        MetaOptNet(tasks.convolutional(5), **arguments)
