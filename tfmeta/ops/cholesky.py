"""A Cholesky factor that comes to the loss where there is none."""

import tensorflow as tf


def cholesky(matrix):
    """The lower Cholesky factor of `[..., N, N]`; NaN of a matrix that holds NaN or infinity.

    TensorFlow's own stops there with a message about the decomposition; NaN comes to the loss, and
    the loss is told of with its cause.
    """
    finite = tf.reduce_all(tf.math.is_finite(matrix), axis=(-2, -1), keepdims=True)
    identity = tf.eye(tf.shape(matrix)[-1], dtype=matrix.dtype)
    factor = tf.linalg.cholesky(tf.where(finite, matrix, identity))
    return tf.where(finite, factor, tf.constant(float("nan"), matrix.dtype))
