"""LabelPropagation: its linear system against NumPy."""

import numpy as np
import pytest
import tasks
from learners.embedding.transductive_heads import (
    assert_an_absent_class_is_hidden,
    assert_gradient,
    assert_outputs_are_those_of,
    squares,
)

from tfmeta.learners import LabelPropagation


@pytest.fixture(scope="module")
def network():
    return tasks.convolutional(4, dtype="float64", norm=False)


@pytest.fixture(scope="module")
def task():
    episodes = tasks.images(shots=2, dtype="float64")
    return tasks.one(episodes.support), tasks.one(episodes.query)


def propagated(s, y, z):
    rows = np.concatenate([s, z])
    weights = np.exp(-0.5 * squares(rows, rows) / rows.shape[1])
    near = weights >= np.sort(weights, axis=1)[:, [-3]]
    weights = weights * (near | near.T)
    roots = 1 / np.sqrt(weights.sum(axis=1))
    system = np.eye(len(rows)) - 0.99 * weights * roots[:, None] * roots
    return np.linalg.solve(system, np.concatenate([y, np.zeros((len(z), 3))]))[len(s) :]


def made(network):
    return LabelPropagation(network, neighbours=3, learn_scale=False)


def test_outputs_are_those_of_numpy_and_depend_on_the_query_set(network, task):
    assert_outputs_are_those_of(propagated, made(network), task)


def test_an_absent_class_is_hidden(network, task):
    assert_an_absent_class_is_hidden(made(network), task)


def test_outer_gradient_against_central_differences(network):
    assert_gradient(LabelPropagation(network, dtype="float64"))


@pytest.mark.parametrize("arguments", [{"spread": 1.0}, {"neighbours": 0}, {"learn_scale": 1}])
def test_bad_arguments(arguments, network):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"Expected {name} "):
        LabelPropagation(network, **arguments)
