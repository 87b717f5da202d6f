"""MetaSGD: MAML where rates are equal, a closed form, and rates that are learned."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf
from meta_gradients import assert_gradients_of_maml, compiled, outer_gradients

import tfmeta
from tfmeta.learners import MetaSGD

RATE = {"inner_learning_rate": 0.1, "inner_steps": 2}


@pytest.mark.parametrize("convolutional", [False, True])
@pytest.mark.parametrize("first_order", [False, True])
def test_meta_sgd_with_equal_rates_is_maml(convolutional, first_order):
    assert_gradients_of_maml(
        lambda network: MetaSGD(network, first_order=first_order, **RATE),
        convolutional,
        first_order=first_order,
        **RATE,
    )


def test_meta_sgd_in_closed_form():
    """Support loss (w-s)^2, query loss (w-q)^2: dL/da = -2 (w_1 - q) 2 (w - s)."""
    network = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")]
    )
    learner = compiled(MetaSGD(network, inner_learning_rate=0.1))
    ones = tf.ones((1, 1, 1))
    support, query = (tfmeta.Examples(ones, y * ones, ones[..., 0]) for y in (3.0, -1.5))
    episodes = tfmeta.Episode(support, query)
    moved = 1.0 - 0.1 * 2 * (1.0 - 3.0)
    by_weight, by_rate = outer_gradients(learner, episodes)
    np.testing.assert_allclose(by_weight, [[2 * (moved + 1.5) * (1 - 0.2)]], rtol=1e-5)
    np.testing.assert_allclose(by_rate, [[2 * (moved + 1.5) * -2 * (1.0 - 3.0)]], rtol=1e-5)


def test_meta_sgd_learns_its_rates():
    learner = compiled(MetaSGD(tasks.dense(), **RATE))
    learner.fit(tasks.dataset(tasks.regression(), 3), verbose=0)
    rates = learner.meta_parameters.trainable_variables
    assert [r.shape for r in rates] == [w.shape for w in learner.network.trainable_variables]
    assert all(np.ptp(r.numpy()) > 0 for r in rates if r.numpy().size > 1)


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"Expected inner_learning_rate > 0"):
        MetaSGD(tasks.dense(), inner_learning_rate=0)
