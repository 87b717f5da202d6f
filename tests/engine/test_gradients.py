"""Outer gradients in float64 of a family: central differences, regularisers, a batch's mean."""

import numpy as np
import pytest
import tasks
import tensorflow as tf
from meta_gradients import outer_loss_and_gradients, relative_error_along

from tfmeta.learners import ALFA, ANIL, BOIL, CAVIA, MAML, MetaCurvature, MetaSGD


def maml(network, loss, **kwargs):
    learner = MAML(network, **kwargs)
    learner.compile(optimizer="sgd", loss=loss)
    return learner


@pytest.mark.parametrize("cls", [ALFA, ANIL, BOIL, CAVIA, MetaCurvature, MetaSGD])
@pytest.mark.parametrize("checkpoint", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_family_against_central_differences(cls, checkpoint):
    network = tasks.convolutional(dtype="float64")
    learner = cls(
        network, inner_learning_rate=0.1, inner_steps=3, checkpoint_inner_steps=checkpoint
    )
    learner.compile(optimizer="sgd", loss=tasks.CROSSENTROPY)
    # Away from where they start: there the gradients of some of them are zero (ALFA's generator).
    random = np.random.default_rng(0)
    for variable in learner.meta_parameters.trainable_variables if learner.meta_parameters else ():
        variable.assign(variable + 0.02 * random.normal(size=variable.shape))
    assert relative_error_along(learner, tasks.images(dtype="float64")) < 1e-6


def test_weight_regularisers_join_the_outer_loss():
    episodes = tasks.regression(dtype="float64")
    plain, regularised = (
        maml(tasks.dense(dtype="float64", kernel_regularizer=r), "mse") for r in (None, "l2")
    )
    before, gradients = outer_loss_and_gradients(plain, episodes)
    after, with_penalty = outer_loss_and_gradients(regularised, episodes)
    kernel = regularised.trainable_variables[-2].numpy()
    np.testing.assert_allclose(after - before, 0.01 * np.sum(kernel**2), rtol=1e-6)
    np.testing.assert_allclose(with_penalty[-2] - gradients[-2], 0.02 * kernel, rtol=1e-6)


def test_batch_is_the_mean_of_its_tasks():
    learner = maml(tasks.convolutional(dtype="float64"), tasks.CROSSENTROPY)
    episodes = tasks.images(tasks=3, dtype="float64")
    _, together = outer_loss_and_gradients(learner, episodes)

    def gradients_of(i):
        task = tf.nest.map_structure(lambda t: t[i : i + 1], episodes)
        return outer_loss_and_gradients(learner, task)[1]

    alone = [gradients_of(i) for i in range(3)]
    for i, gradient in enumerate(together):
        np.testing.assert_allclose(
            gradient, np.mean([a[i] for a in alone], axis=0), rtol=1e-9, atol=1e-14
        )
