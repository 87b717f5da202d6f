"""Mean and variance."""

import contextlib
import warnings
from typing import Any

import tensorflow as tf


def exact_moments(x: tf.Tensor, axes: Any, keepdims: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
    """`tf.nn.moments` with a right second derivative.

    TensorFlow's stops the gradient of the mean inside the variance. The first derivative does
    not change, since that term sums to zero; the second does, by 0.5 to 5 % of MAML's outer
    gradient in the tests' network, and Keras's batch, layer and group normalisation go through it.

    Args:
        x: a tensor.
        axes: the axes that it is reduced over.
        keepdims: True keeps them, with size 1.

    Returns:
        `(mean, variance)`.
    """
    mean = tf.reduce_mean(x, axes, keepdims=True)
    variance = tf.reduce_mean(tf.math.squared_difference(x, mean), axes, keepdims=True)
    if keepdims:
        return mean, variance
    return tf.squeeze(mean, axes), tf.squeeze(variance, axes)


@contextlib.contextmanager
def telling_of_moments():
    """Within it a graph that gets a `tf.nn.moments` brings a warning, with the layer's name.

    The layers of Keras that use it are registered to do without; a layer of the user's is not.
    """
    if tf.executing_eagerly():
        yield
        return
    graph = tf.compat.v1.get_default_graph()
    known = len(graph.get_operations())
    yield
    new = graph.get_operations()[known:]
    found = [op.name for op in new if op.type == "StopGradient" and "moments/" in op.name]
    if found:
        warnings.warn(
            f"Expected layers whose second derivative is right. Received: tf.nn.moments in "
            f"{found[0].partition('/moments/')[0]!r}, which stops the gradient of the mean inside "
            "the variance: outer gradients of second order are some percent off. Compute them with "
            "tfmeta.ops.moments, or register the layer with tfmeta.inner.in_task.",
            stacklevel=2,
        )
