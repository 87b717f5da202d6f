"""Baseline: its linear head against NumPy."""

import numpy as np
import pytest
from learners.embedding.pictures import embedding, softmax, task

import tfmeta
from tfmeta.learners import Baseline


@pytest.mark.parametrize("padding", [0, 2])
def test_steps_of_a_linear_head_by_hand(padding):
    support, x = task()
    learner = Baseline(embedding(), head_learning_rate=0.3, head_steps=3, weight_decay=0.1)
    z, onehot = learner.embed(support.x).numpy(), np.eye(3)[support.y]
    kernel, bias = np.zeros((4, 3)), np.zeros(3)
    for _ in range(3):
        errors = (softmax(z @ kernel + bias) - onehot) / len(z)
        kernel, bias = (
            kernel - 0.3 * (z.T @ errors + 0.1 * kernel),
            bias - 0.3 * (errors.sum(axis=0) + 0.1 * bias),
        )
    padded = tfmeta.Examples(
        np.concatenate([support.x, 9 * np.ones((padding, 8, 8, 1), "float32")]),
        np.concatenate([support.y, np.ones(padding, "int32")]),
        np.concatenate([support.mask, np.zeros(padding, "float32")]),
    )
    adapted = learner.adapt(padded)
    np.testing.assert_allclose(adapted.weights[0], kernel, atol=1e-5)
    np.testing.assert_allclose(adapted.weights[1], bias, atol=1e-5)
    expected = learner.embed(x).numpy() @ kernel + bias
    np.testing.assert_allclose(learner.predict_query(adapted, x), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda n: Baseline(n, head_learning_rate=0), r"Expected head_learning_rate > 0.*: 0"),
        (lambda n: Baseline(n, head_steps=0), r"Expected head_steps .* at least 1.*=0"),
        (lambda n: Baseline(n, head_steps=1.5), r"Expected head_steps .*=1.5"),
        (lambda n: Baseline(n, weight_decay=-1), r"Expected weight_decay >= 0.*: -1"),
        (lambda n: Baseline(n).classifier(0), r"Expected classes .*=0"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make(embedding())
