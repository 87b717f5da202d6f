"""ADKL: kernel ridge regression of NumPy, what conditions the kernel, the outer gradient."""

import numpy as np
import pytest
import tasks
from meta_gradients import relative_error_along

import tfmeta
from tfmeta.learners import ADKL

SMALL = {"hidden": (6,), "representation": 3, "embedding": 4}


def made(dtype="float64", **kwargs):
    episodes = tasks.regression(dtype=dtype)
    learner = ADKL(tasks.dense(3, dtype=dtype), dtype=dtype, **(SMALL | kwargs))
    learner.compile("sgd", run_eagerly=True)
    learner.prepare(tasks.dataset(episodes, 1))
    return learner, episodes


@pytest.mark.parametrize("head", ["gp", "ridge"])
def test_with_a_fixed_kernel_it_is_kernel_ridge_regression(head):
    learner, episodes = made(head=head, noise=0.5)
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    # The task's representation counts no more: a kernel of inputs, the same for every task.
    first = learner.condition.layers[0].kernel
    first.assign(np.concatenate([first[:3], np.zeros((3, 6))]))
    adapted = learner.adapt(support)
    x, new = (
        np.array(learner.condition(np.c_[learner(e.x), np.zeros((4, 3))])) for e in (support, query)
    )
    np.testing.assert_allclose(adapted.features, x, rtol=1e-9)

    def kernel(a, b):
        return np.exp(-0.5 * ((a[:, None] - b[None]) ** 2).sum(-1))

    weights = np.linalg.solve(kernel(x, x) + 0.5**2 * np.eye(4), support.y)
    expected = kernel(new, x) @ weights
    np.testing.assert_allclose(learner.predict_query(adapted, query.x), expected, rtol=1e-6)
    loss = np.mean((expected - query.y) ** 2)
    if head == "ridge":
        results, _ = learner.outer_gradients(episodes)
        np.testing.assert_allclose(results.loss[0], loss, rtol=1e-6)


def test_targets_change_the_kernel():
    learner, episodes = made()
    support = tasks.one(episodes.support)
    pair = [learner.adapt(support._replace(y=y)).features for y in (support.y, support.y + 1)]
    assert not np.allclose(*pair, atol=1e-3)


@pytest.mark.parametrize("head", ["gp", "ridge"])
def test_outer_gradient_against_central_differences(head):
    learner, episodes = made(head=head)
    # A short step: ReLU has kinks that a longer one crosses.
    assert relative_error_along(learner, episodes, step=1e-7, eager=True) < 1e-5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"head": "svm"}, r"Expected head in \('gp', 'ridge'\). Received: head='svm'"),
        ({"kernel": 3}, "Expected kernel in"),
        ({"noise": 0}, "Expected noise > 0: without noise a point that is there twice"),
        ({"representation": 0}, "Expected representation to be an integer of at least 1"),
        ({"hidden": 40}, "Expected hidden to be a tuple of widths"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ADKL(**arguments)


def test_ridge_predicts_no_distributions():
    learner, episodes = made("float32", head="ridge")
    with pytest.raises(ValueError, match="Expected a learner that predicts distributions"):
        tfmeta.evaluation.score_likelihood(learner, tasks.dataset(episodes), 3, verbose=0)
