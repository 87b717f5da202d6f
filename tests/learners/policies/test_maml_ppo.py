"""MAMLPPO: without inner steps it is the plain policy gradient."""

import numpy as np
import pytest
import tensorflow as tf
from learners.policies.small_policies import ARMS, PLANE, first, made

from tfmeta.learners import MAMLPPO


def test_no_inner_step_is_the_plain_policy_gradient():
    learner = made(MAMLPPO, ARMS, inner_steps=0, updates=1)
    episodes = first(ARMS.tasks(5, 2))
    _, supports, query = learner._live(episodes)
    assert supports == []
    start = learner.initial_weights()
    with tf.GradientTape() as tape:
        tape.watch(start)
        loss, kl = learner._loss_and_kl(start, supports, query)
    np.testing.assert_allclose(kl, 0.0, atol=1e-6)
    found = tape.gradient(loss, start)
    # The plain policy gradient of all tasks.
    with tf.GradientTape() as tape:
        logs = tf.nn.log_softmax(learner.network(tf.zeros((40, 1))))
        taken = tf.gather(logs, tf.reshape(query.actions, [-1]), batch_dims=1)
        objective = -tf.reduce_mean(taken * tf.reshape(query.advantages, [-1]))
    expected = tape.gradient(objective, learner.network.trainable_variables)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda: MAMLPPO(PLANE, updates=0), "Expected updates"),
        (lambda: MAMLPPO(PLANE, clip=0), "Expected clip > 0"),
    ],
)
def test_bad_input(run, message):
    with pytest.raises(ValueError, match=message):
        run()
