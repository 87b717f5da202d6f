"""Run any Keras network on given weights."""

from unittest import mock

import keras
import tensorflow as tf

from tfmeta.inner.batch_norm import batch_norm_calls


def call_network(network, weights, state, x, *, training, batch_statistics):
    """Call a network with tensors in the place of its variables. Changes no variable.

    Args:
        network: a built `keras.Model`.
        weights: tensors in the place of `network.trainable_variables`.
        state: tensors in the place of `network.non_trainable_variables` (statistics of
            normalisation layers, states of random seeds).
        x: inputs, `[rows, ...]`.
        training: True turns dropout on.
        batch_statistics: True normalises by the statistics of `x` and puts them, without a
            moving average, into the returned state; False normalises by those in `state`.

    Returns:
        `(outputs, new_state)`.
    """
    mapping = [
        *zip(network.trainable_variables, weights, strict=True),
        *zip(network.non_trainable_variables, state, strict=True),
    ]
    with (
        keras.StatelessScope(state_mapping=mapping) as scope,
        batch_norm_calls(network, batch_statistics),
        mock.patch.object(tf.nn, "moments", exact_moments),
    ):
        outputs = network(x, training=training)
    new_state = [scope.get_current_value(v) for v in network.non_trainable_variables]
    return outputs, new_state


def exact_moments(x, axes, shift=None, keepdims=False, name=None):
    """`tf.nn.moments` with a right second derivative.

    TensorFlow's stops the gradient of the mean inside the variance. The first derivative does
    not change, since that term sums to zero; the second does, by 0.5 to 5 % of MAML's outer
    gradient in the tests' network, and Keras's batch, layer and group normalisation go through it.
    """
    del shift
    mean = tf.reduce_mean(x, axes, keepdims=True, name=name)
    variance = tf.reduce_mean(tf.math.squared_difference(x, mean), axes, keepdims=True)
    if keepdims:
        return mean, variance
    return tf.squeeze(mean, axes), tf.squeeze(variance, axes)
