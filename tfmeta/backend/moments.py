"""Mean and variance."""

import tensorflow as tf


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
