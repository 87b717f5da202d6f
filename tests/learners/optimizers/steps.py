"""Steps of a rule alone, on gradients that are given."""

import numpy as np
import tensorflow as tf


def stepped(rule, network, gradients, steps=3):
    """Weights of a network after some steps of a rule, made for them, on given gradients."""
    weights = [tf.convert_to_tensor(v) for v in network.trainable_variables]
    if not rule.weights:
        rule.make(weights)
    slots = rule.init(weights)
    for t in range(steps):
        weights, slots = rule.update([g * (t + 1) for g in gradients], weights, slots, t)
    return [w.numpy() for w in weights]


def drawn_gradients(network):
    random = np.random.default_rng(0)
    return [tf.constant(random.normal(size=v.shape)) for v in network.trainable_variables]
