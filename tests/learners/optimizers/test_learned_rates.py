"""Rules of a few numbers: they are Keras's optimizers."""

import keras
import numpy as np
import pytest
import tasks
from learners.optimizers.steps import drawn_gradients, stepped

from tfmeta.learners import (
    LearnedAdam,
    LearnedMomentum,
    LearnedSGD,
)


@pytest.mark.parametrize(
    ("rule", "optimizer"),
    [
        (lambda: LearnedSGD(0.05), keras.optimizers.SGD(0.05)),
        (lambda: LearnedMomentum(0.05, 0.8), keras.optimizers.SGD(0.05, momentum=0.8)),
        (lambda: LearnedAdam(0.05, 0.8, 0.95, 1e-4), keras.optimizers.Adam(0.05, 0.8, 0.95, 1e-4)),
    ],
)
def test_rules_written_by_hand_are_keras_optimizers(rule, optimizer):
    network = tasks.dense(dtype="float64")
    gradients = drawn_gradients(network)
    found = stepped(rule(), network, gradients)
    optimizer.build(network.trainable_variables)
    for t in range(3):
        optimizer.apply([g * (t + 1) for g in gradients], network.trainable_variables)
    for w, v in zip(found, network.trainable_variables, strict=True):
        np.testing.assert_allclose(w, v, rtol=1e-5, atol=1e-7)


def test_a_momentum_of_one_is_refused():
    with pytest.raises(ValueError, match="Expected momentum > 0 and < 1"):
        LearnedMomentum(momentum=1.0)
