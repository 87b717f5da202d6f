"""Learners of particles that run eagerly, and what they predict."""

import numpy as np
import tasks
from meta_gradients import compiled, outer_gradients

from tfmeta.learners import MAML

RATE = {"inner_learning_rate": 0.1, "inner_steps": 2}


def made(cls, dtype="float64", loss="mse", **kwargs):
    """A learner that runs eagerly, and a meta-batch for it."""
    episodes = tasks.regression(dtype=dtype)
    learner = compiled(cls(tasks.dense(dtype=dtype), **RATE, **kwargs), loss, run_eagerly=True)
    learner.prepare(tasks.dataset(episodes, 1))
    return learner, episodes


def predict(learner, episodes, task=0):
    adapted = learner.adapt(tasks.one(episodes.support, task))
    return np.array(learner.predict_query(adapted, episodes.query.x[task]))


def assert_is_maml(learner):
    """The same predictions and outer gradients."""
    maml, episodes = made(MAML)
    np.testing.assert_allclose(predict(learner, episodes), predict(maml, episodes), rtol=1e-12)
    expected, found = (outer_gradients(x, episodes, eager=True) for x in (maml, learner))
    for a, b in zip(found, expected, strict=False):  # the network's come first
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
