"""TIM: its steps against NumPy, and what it is in a step of fit."""

import numpy as np
import pytest
import tasks
from learners.embedding.transductive_heads import (
    assert_an_absent_class_is_hidden,
    assert_gradient,
    assert_outputs_are_those_of,
    softmax,
    squares,
)
from meta_gradients import compiled

import tfmeta
from tfmeta.learners import TIM


@pytest.fixture(scope="module")
def network():
    return tasks.convolutional(4, dtype="float64", norm=False)


@pytest.fixture(scope="module")
def task():
    episodes = tasks.images(shots=2, dtype="float64")
    return tasks.one(episodes.support), tasks.one(episodes.query)


def informed(s, y, z):
    s, z = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (s, z))
    w = (y.T @ s) / y.sum(axis=0)[:, None]
    for _ in range(4):
        of_s, of_z = (softmax(-1.5 * squares(v, w)) for v in (s, z))
        q = of_z**1.1 / np.sqrt((of_z**1.1).sum(axis=0))
        q = q / q.sum(axis=1, keepdims=True)
        new, norm = np.zeros_like(w), np.zeros(3)
        for rows, wanted, found, share in ((s, y, of_s, 0.1 / 1.1), (z, q, of_z, 1.0)):
            for i, row in enumerate(rows):
                moves = wanted[i][:, None] * row + found[i][:, None] * (w - row)
                new, norm = new + share * moves / len(rows), norm + share * wanted[i] / len(rows)
        w = new / norm[:, None]
    return -1.5 * squares(z, w)


def made(network):
    return TIM(network, temperature=3.0, steps=4)


def test_outputs_are_those_of_numpy_and_depend_on_the_query_set(network, task):
    assert_outputs_are_those_of(informed, made(network), task)


def test_an_absent_class_is_hidden(network, task):
    assert_an_absent_class_is_hidden(made(network), task)


def test_outer_gradient_against_central_differences(network):
    assert_gradient(made(network))


def test_in_a_step_of_fit_tim_is_a_protonet_of_unit_vectors(network, task):
    learner, (support, query) = TIM(network), task
    simple = tfmeta.learners.SimpleShot(network, transform="L2N")
    outputs = learner.predict_query(learner.adapt(support), query.x, training=True)
    expected = simple.predict_query(simple.adapt(support), query.x)
    np.testing.assert_allclose(outputs, 7.5 * np.array(expected), rtol=1e-6)


def test_reports_say_that_scores_are_transductive(network):
    learner = compiled(TIM(network, steps=2), tasks.CROSSENTROPY)
    episodes = tasks.dataset(tasks.images(shots=2, dtype="float64"), 1)
    report = tfmeta.evaluation.evaluate_episodes(learner, episodes, count=2)
    assert report.transductive
    assert "transductive" in str(report)


@pytest.mark.parametrize(
    "arguments", [{"temperature": 0}, {"conditional_weight": -1}, {"steps": 0}]
)
def test_bad_arguments(arguments, network):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"Expected {name} "):
        TIM(network, **arguments)
