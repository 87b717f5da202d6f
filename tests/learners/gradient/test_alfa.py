"""ALFA: MAML with constant outputs, one step against NumPy, and its own steps."""

import numpy as np
import pytest
import tasks
from meta_gradients import assert_gradients_of_maml, compiled

from tfmeta.learners import ALFA

RATE = {"inner_learning_rate": 0.1, "inner_steps": 2}


@pytest.mark.parametrize("convolutional", [False, True])
def test_alfa_with_constant_outputs_is_maml(convolutional):
    assert_gradients_of_maml(lambda n: ALFA(n, weight_decay=0.0, **RATE), convolutional, **RATE)


def test_alfa_makes_rates_and_decays_of_means():
    """One step on known parameters, against NumPy."""
    network = tasks.line()
    learner = compiled(ALFA(network, inner_learning_rate=0.1, inner_steps=1, weight_decay=0.5))
    random = np.random.default_rng(0)
    for variable in learner.meta_parameters.trainable_variables:
        variable.assign(random.normal(size=variable.shape))
    kernel_1, kernel_2, bias_1, bias_2, scales = [
        v.numpy() for v in learner.meta_parameters.trainable_variables
    ]
    support = tasks.one(tasks.regression().support)
    x, y = np.array(support.x)[:, 0], np.array(support.y)[:, 0]
    error = 0.5 * x + 0.2 - y
    slopes = [np.mean(2 * error * x), np.mean(2 * error)]
    means = np.array([0.5, 0.2, *slopes])
    h = (np.maximum(means @ kernel_1 + bias_1, 0) @ kernel_2 + bias_2) * scales[0]
    expected = [(1 - h[2]) * 0.5 - h[0] * slopes[0], (1 - h[3]) * 0.2 - h[1] * slopes[1]]
    found = [np.ravel(w)[0] for w in learner.adapt(support).weights]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_alfa_has_parameters_for_its_own_steps():
    with pytest.raises(ValueError, match=r"Expected evaluation_steps <= inner_steps.*Received"):
        ALFA(tasks.dense(), inner_steps=2, evaluation_steps=3)
    learner = compiled(ALFA(tasks.dense(), inner_steps=2))
    with pytest.raises(ValueError, match=r"Expected at most 2 inner steps.*Received: 3"):
        learner.adapt(tasks.one(tasks.regression().support), inner_steps=3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda n: ALFA(n, inner_steps=0), r"Expected inner_steps .* at least 1.*=0"),
        (lambda n: ALFA(n, weight_decay=-1.0), r"Expected weight_decay >= 0.*Received: -1.0"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make(tasks.dense())
