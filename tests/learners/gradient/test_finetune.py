"""Finetune: joint training, and what it refuses."""

import numpy as np
import pytest
import tasks
import tensorflow as tf
from meta_gradients import compiled, outer_loss_and_gradients

from tfmeta.learners import Finetune


def test_its_training_is_joint():
    network = tasks.dense(dtype="float64")
    episodes = tasks.regression(dtype="float64")
    query = episodes.query
    with tf.GradientTape() as tape:
        outputs = network(tf.reshape(query.x, (-1, 1)))
        loss = tf.reduce_mean((outputs - tf.reshape(query.y, (-1, 1))) ** 2)
    expected = [g.numpy() for g in tape.gradient(loss, network.trainable_variables)]
    value, gradients = outer_loss_and_gradients(compiled(Finetune(network)), episodes)
    np.testing.assert_allclose(value, loss, rtol=1e-12)
    for g, e in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(g, e, rtol=1e-9, atol=1e-14)


def test_first_order_is_refused_where_it_means_nothing():
    learner = Finetune(tasks.dense())
    with pytest.raises(ValueError, match="Expected no first_order: Finetune"):
        learner.first_order = True
    Finetune.from_config(learner.get_config())


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"Expected no inner_steps.*Received: inner_steps=2"):
        Finetune(tasks.dense(), inner_steps=2)
