"""What neural processes share: layers that encode points, and one that decodes Gaussians."""

import keras
import tensorflow as tf

from tfmeta.arguments import check_integer, check_number
from tfmeta.learners.gaussian import full_precision


class GaussianDecoder(keras.layers.Layer):
    """Mean and standard deviation of targets, from rows of whatever describes a query point.

    Args:
        network: layer from `[rows, ...]` to `[rows, 2 d]`, means first; None for dense layers.
        hidden: widths of the dense layers, before one that is as wide as the first targets want.
        minimum_scale: the smallest standard deviation.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.
    """

    def __init__(self, network, hidden, minimum_scale, **kwargs):
        super().__init__(**kwargs)
        self.network = network
        self.hidden = hidden
        self.minimum_scale = minimum_scale

    def build(self, inputs_shape, y_shape):
        if self.network is None:
            widths = (*self.hidden, 2 * y_shape[-1])
            self.network = dense_layers(widths, self.dtype_policy, "decoder")

    def call(self, inputs, y=None, training=False):
        """`(mean, scale)` `[rows, d]`; `y`, targets of `d` columns, is there at the first call."""
        outputs = full_precision(self.network(inputs, training=training))
        mean, raw = tf.split(outputs, 2, axis=-1)
        return mean, self.minimum_scale + (1.0 - self.minimum_scale) * tf.nn.softplus(raw)


def dense_layers(widths, dtype, name):
    """A network of dense layers, ReLU between them, made for the first inputs that it sees."""
    layers = [keras.layers.Dense(width, "relu", dtype=dtype) for width in widths[:-1]]
    head = keras.layers.Dense(widths[-1], dtype=dtype)
    return keras.Sequential([*layers, head], name=name)


def mean_of_rows(values, mask):
    """The mean over the real rows: `[rows, R]` to `[R]`."""
    mask = tf.cast(mask, values.dtype)[:, None]
    return tf.reduce_sum(values * mask, axis=0) / tf.reduce_sum(mask)


def check_layer(name, layer):
    """An argument that is a Keras layer or model, or None; else a ValueError."""
    if layer is not None and not isinstance(layer, keras.layers.Layer):
        raise ValueError(f"Expected {name} to be a Keras model or layer. Received: {layer!r}.")
    return layer


def check_widths(widths, name="hidden"):
    """The widths of hidden layers as a tuple; a ValueError unless they are integers from 1."""
    if not isinstance(widths, tuple | list):
        raise ValueError(
            f"Expected {name} to be a tuple of widths, such as (128, 128). Received: {widths!r}."
        )
    return tuple(check_integer(f"each width in {name}", width, 1) for width in widths)


def check_minimum_scale(value):
    """The smallest standard deviation as a float; a ValueError unless it is > 0 and < 1."""
    if check_number("minimum_scale", value) >= 1:
        raise ValueError(f"Expected minimum_scale < 1. Received: {value!r}.")
    return float(value)
