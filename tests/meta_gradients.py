"""Outer gradients in float64: how tests take them, and what they compare them with."""

import keras
import numpy as np
import tasks
import tensorflow as tf

from tfmeta.learners import MAML


def compiled(learner, loss="mse", **kwargs):
    learner.compile(keras.optimizers.SGD(0.1), loss, **kwargs)
    return learner


def outer_loss_and_gradients(learner, episodes, eager=False):
    """The mean query loss, and its gradient for each trainable variable, the network's first."""
    run = learner.outer_gradients if eager else tf.function(learner.outer_gradients)
    results, gradients = run(episodes)
    return np.mean(results.loss), [g.numpy() for g in gradients]


def outer_gradients(learner, episodes, eager=False):
    return outer_loss_and_gradients(learner, episodes, eager)[1]


def gradient_of(learner, episodes, variable):
    """The outer gradient for one variable."""
    position = [id(v) for v in learner.trainable_variables].index(id(variable))
    return outer_gradients(learner, episodes, eager=True)[position]


def relative_error_along(learner, episodes, seed=0, step=1e-5, eager=False):
    """|g.v - central difference| / |g.v| along a random direction v of all weights."""

    def run(episodes):
        return learner.outer_gradients(episodes)[0].objective

    run = run if eager else tf.function(run)
    gradients = outer_loss_and_gradients(learner, episodes, eager)[1]
    variables, random = learner.trainable_variables, np.random.default_rng(seed)
    start = [v.numpy() for v in variables]
    # A direction with a share of the gradient, so that the derivative is not near zero.
    direction = [random.normal(size=g.shape) * np.abs(g).mean() + g for g in gradients]
    losses = []
    for sign in (1, -1):
        for variable, value, along in zip(variables, start, direction, strict=True):
            variable.assign(value + sign * step * along)
        losses.append(np.mean(run(episodes)))
    for variable, value in zip(variables, start, strict=True):
        variable.assign(value)
    expected = sum(np.sum(g * d) for g, d in zip(gradients, direction, strict=True))
    return abs(expected - (losses[0] - losses[1]) / (2 * step)) / abs(expected)


def assert_gradients_of_maml(learner, convolutional, eager=False, **arguments):
    """The network's outer gradients are those of `MAML(network, **arguments)`.

    Args:
        learner: function of a network that makes the learner.
        convolutional: True for pictures, False for regression.
        eager: True takes both without a trace.
        **arguments: of MAML.
    """
    network = tasks.convolutional if convolutional else tasks.dense
    loss = tasks.CROSSENTROPY if convolutional else "mse"
    episodes = (tasks.images if convolutional else tasks.regression)(dtype="float64")
    maml = compiled(MAML(network(dtype="float64"), **arguments), loss)
    expected = outer_gradients(maml, episodes, eager)
    made = compiled(learner(network(dtype="float64")), loss)
    found = outer_gradients(made, episodes, eager)
    own = made.meta_parameters.trainable_variables if made.meta_parameters else []
    assert len(found) == len(expected) + len(own)
    for a, b in zip(found[: len(expected)], expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
