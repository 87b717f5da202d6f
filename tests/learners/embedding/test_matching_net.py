"""Matching networks: attention against NumPy, context, its order, gradients."""

import numpy as np
import pytest
import tasks
from meta_gradients import compiled, relative_error_along

import tfmeta
from tfmeta.learners import MatchingNet


def made(dtype="float64", **kwargs):
    network = tasks.convolutional(4, dtype=dtype, norm=False)
    return compiled(MatchingNet(network, dtype=dtype, **kwargs), tasks.CROSSENTROPY)


@pytest.fixture(scope="module")
def episodes():
    return tasks.images(shots=2, dtype="float64")


@pytest.fixture(scope="module")
def in_context():
    return made(full_context=True, attention_steps=2)


def softmax(scores):
    exponents = np.exp(scores - scores.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("arguments", [{"temperature": 1.0}, {"learn_temperature": True}])
def test_attention_of_numpy_and_the_outer_gradient(arguments, episodes):
    learner = made(**arguments)
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    z, s = (np.array(learner.network(x)) for x in (query.x, support.x))
    cosines = (z @ s.T) / np.linalg.norm(z, axis=1)[:, None] / np.linalg.norm(s, axis=1)
    attention = softmax(cosines / arguments.get("temperature", 0.1))
    expected = attention @ np.eye(3)[support.y]
    outputs = np.array(learner.predict_query(learner.adapt(support), query.x))
    np.testing.assert_allclose(np.exp(outputs), expected, rtol=1e-6)
    assert relative_error_along(learner, episodes, eager=True) < 1e-6


def test_with_context_the_outer_gradient_is_right_and_the_order_counts(in_context, episodes):
    assert relative_error_along(in_context, episodes, eager=True) < 1e-6
    assert in_context.order_matters
    assert not made().order_matters
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    turned = tfmeta.Examples(*[t[::-1] for t in support])
    a, b = (in_context.predict_query(in_context.adapt(s), query.x) for s in (support, turned))
    assert np.abs(a - b).max() > 1e-4


def test_context_by_hand(in_context, episodes):
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    f, adapted = np.array(in_context.network(query.x)), in_context.adapt(support)
    g = np.array(adapted.embeddings)
    kernel, recurrent, bias = (np.array(w) for w in in_context.attention.weights)
    hidden = cell = read = np.zeros_like(f)
    for _ in range(2):
        gates = np.c_[f, read] @ kernel + hidden @ recurrent + bias
        i, forget, new, out = np.split(gates, 4, axis=1)
        i, forget, out = (1 / (1 + np.exp(-v)) for v in (i, forget, out))
        cell = forget * cell + i * np.tanh(new)
        hidden = out * np.tanh(cell) + f
        read = softmax(hidden @ g.T) @ g
    cosines = (hidden @ g.T) / np.linalg.norm(hidden, axis=1)[:, None] / np.linalg.norm(g, axis=1)
    expected = softmax(cosines / 0.1) @ np.eye(3)[support.y]
    outputs = np.array(in_context.predict_query(adapted, query.x))
    np.testing.assert_allclose(np.exp(outputs), expected, rtol=1e-5)


def test_padded_rows_change_nothing_in_context(in_context, episodes):
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    padded = tfmeta.Examples(*(np.concatenate([t, 7 * np.ones_like(t[:2])]) for t in support))
    padded.y[-2:] = 1
    padded.mask[-2:] = 0
    a, b = (in_context.predict_query(in_context.adapt(s), query.x) for s in (support, padded))
    np.testing.assert_allclose(a, b, rtol=1e-8)


@pytest.mark.parametrize(
    "arguments",
    [{"temperature": 0}, {"full_context": 1}, {"attention_steps": 0}, {"learn_temperature": None}],
)
def test_bad_arguments(arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"Expected {name} "):
        MatchingNet(tasks.convolutional(4), **arguments)
