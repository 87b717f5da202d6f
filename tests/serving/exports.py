"""Exported learners that the tests of the service share."""

import keras
import numpy as np

import tfmeta
from tfmeta.learners import MAML, ProtoNet


def protonet():
    keras.utils.set_random_seed(0)
    return ProtoNet(tfmeta.networks.mlp((4, 4, 1), 5, hidden=(8,)))


def maml():
    """For three classes of rows of two numbers."""
    keras.utils.set_random_seed(0)
    learner = MAML(tfmeta.networks.mlp((2,), 3, hidden=(8,)), inner_learning_rate=0.5)
    learner.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return learner


def support(classes=3, seed=0):
    """`Examples` for `protonet`, two rows a class."""
    x = np.random.default_rng(seed).normal(size=(2 * classes, 4, 4, 1)).astype("float32")
    return tfmeta.Examples(x, np.repeat(np.arange(classes), 2))
