"""BDCSPN: its rectified means against NumPy."""

import numpy as np
import pytest
import tasks
from learners.embedding.transductive_heads import (
    assert_an_absent_class_is_hidden,
    assert_gradient,
    assert_outputs_are_those_of,
)

from tfmeta.learners import BDCSPN


@pytest.fixture(scope="module")
def network():
    return tasks.convolutional(4, dtype="float64", norm=False)


@pytest.fixture(scope="module")
def task():
    episodes = tasks.images(shots=2, dtype="float64")
    return tasks.one(episodes.support), tasks.one(episodes.query)


def cosines(a, b):
    a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (a, b))
    return a @ b.T


def rectified(s, y, z):
    means = (y.T @ s) / y.sum(axis=0)[:, None]
    z = z + s.mean(axis=0) - z.mean(axis=0)
    similar, chosen = cosines(z, means), np.zeros((len(z), 3))
    for k in range(3):
        of_class = [i for i in range(len(z)) if similar[i].argmax() == k]
        if of_class:
            chosen[max(of_class, key=lambda i: similar[i, k]), k] = 1
    of_support, of_queries = (
        share * np.exp(4 * cosines(rows, means)) for share, rows in ((y, s), (chosen, z))
    )
    sums = of_support.sum(axis=0) + of_queries.sum(axis=0)
    means = (of_support.T @ s + of_queries.T @ z) / sums[:, None]
    return 4 * cosines(z, means)


def made(network):
    return BDCSPN(network, scale=4.0, confident=1)


def test_outputs_are_those_of_numpy_and_depend_on_the_query_set(network, task):
    assert_outputs_are_those_of(rectified, made(network), task)


def test_an_absent_class_is_hidden(network, task):
    assert_an_absent_class_is_hidden(made(network), task)


def test_outer_gradient_against_central_differences(network):
    assert_gradient(made(network))


@pytest.mark.parametrize("arguments", [{"scale": 0}, {"confident": 0}])
def test_bad_arguments(arguments, network):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"Expected {name} "):
        BDCSPN(network, **arguments)
