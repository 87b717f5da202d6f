"""LSTMRule: gradient descent with constant gates, and its features."""

import numpy as np
import tasks
import tensorflow as tf
from learners.optimizers.steps import drawn_gradients, stepped

from tfmeta.inner import SGD
from tfmeta.learners import LSTMRule


def test_an_lstm_with_constant_gates_is_gradient_descent():
    network, small = tasks.dense(dtype="float64"), 1e-4
    rule = LSTMRule((1,), scale=0.3, log_and_sign=False)
    rule.make([tf.convert_to_tensor(v) for v in network.trainable_variables])
    # Input and output gates open, forget gates shut, and the candidate tanh(1e-4 g).
    rule.kernels[0].assign([[0, 0, small, 0], [0, 0, 0, 0]])
    rule.biases[0].assign([50, -50, 0, 50])
    rule.output_kernel.assign([[-1 / small]])
    gradients = drawn_gradients(network)
    expected = stepped(SGD(0.3), network, gradients)
    for w, e in zip(stepped(rule, network, gradients), expected, strict=True):
        np.testing.assert_allclose(w, e, rtol=1e-6, atol=1e-8)


def test_the_features_of_the_lstm():
    g = tf.constant([1e-6, -1.0, np.exp(5.0), 0.0], tf.float64)
    found = LSTMRule(precision=10.0)._features(g)
    np.testing.assert_allclose(found[0], [-1, np.exp(10) * 1e-6], rtol=1e-12)
    np.testing.assert_allclose(found[1:], [[0, -1], [0.5, 1], [-1, 0]], atol=1e-12)
