"""What neural processes share: a Gaussian at each query input, given a representation."""

import math

import keras
import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_integer, check_number
from tfmeta.engine.inputs import as_tensor
from tfmeta.engine.meta_model import MetaModel
from tfmeta.engine.task import TaskResult


class NeuralProcess(MetaModel):
    """Base of the learners that predict a Gaussian for each query row, for targets `[rows, d]`.

    A subclass says in `adapt` what it takes from the support set, and in `predict_distribution`
    the mean and the standard deviation of what it predicts with that. `predict_query` gives the
    mean; the loss is the negative log-likelihood of the query set, whatever is compiled.

    Args:
        network: a `keras.Model` that maps inputs to features `[rows, F]` (more axes are
            flattened), which then take the place of the inputs; None for the inputs as they are.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.
    """

    supports_masks = True
    has_own_loss = True

    def call(self, x, training=None):
        """The features of inputs: themselves, without a network."""
        return x if self.network is None else self.network(x, training=training)

    def features(self, x, training=False):
        """Features `[rows, F]`."""
        return features_of(self, x, training)

    def predict_distribution(self, adapted, x, training=False):
        """What is expected at query inputs, and how sure that is.

        Args:
            adapted: the value that `adapt` returned.
            x: query inputs `[M, ...]`, or a nest of such.
            training: True inside a step of `fit`.

        Returns:
            `(mean, scale)`, the mean and the standard deviation of each target, `[M, d]`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define `predict_distribution`.")

    def predict_query(self, adapted, x, training=False):
        return self.predict_distribution(adapted, x, training)[0]

    def score_task(self, episode, training):
        adapted, query = self.adapt(episode.support, training=training), episode.query
        mean, scale = self.predict_distribution(adapted, as_tensor(self, query.x), training)
        values = log_likelihood(rows_of_targets(query.y, mean.dtype), mean, scale)
        mask = tf.cast(query.mask, values.dtype)
        loss = -tf.math.divide_no_nan(tf.reduce_sum(values * mask), tf.reduce_sum(mask))
        return TaskResult(loss, query.y, mean, query.mask, adapted=adapted)


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


def features_of(learner, x, training):
    """What a learner's `call` makes of inputs, as features `[rows, F]`."""
    features = learner(x, training=training)
    if not tf.is_tensor(features):
        raise ValueError(
            f"Expected one tensor of inputs. Received: a {type(features).__name__}. Give the "
            "learner a network that maps its inputs to features [rows, F]."
        )
    if not features.dtype.is_floating:
        features = tf.cast(features, learner.compute_dtype)
    return tf.reshape(full_precision(features), (-1, int(np.prod(features.shape[1:]))))


def full_precision(values):
    """Float32 in the place of 16 bits: half precision is for layers."""
    half = values.dtype in (tf.float16, tf.bfloat16)
    return tf.cast(values, tf.float32) if half else values


def rows_of_targets(y, dtype):
    """Targets `[rows]` or `[rows, d]` as floats `[rows, d]`."""
    if y.shape.rank not in (1, 2):
        raise ValueError(f"Expected targets of shape [rows, d]. Received: y of shape {y.shape}.")
    return tf.cast(y[:, None] if y.shape.rank == 1 else y, dtype)


def log_likelihood(y, mean, scale):
    """`log N(y; mean, scale^2)`, summed over the targets of a row: `[rows, d]` to `[rows]`."""
    z = (y - mean) / scale
    return tf.reduce_sum(-0.5 * z * z - tf.math.log(scale) - 0.5 * math.log(2 * math.pi), axis=-1)


def check_layer(name, layer):
    """An argument that is a Keras layer or model, or None; else a ValueError."""
    if layer is not None and not isinstance(layer, keras.layers.Layer):
        raise ValueError(f"Expected {name} to be a Keras model or layer. Received: {layer!r}.")
    return layer


def check_widths(hidden):
    """The widths of hidden layers as a tuple; a ValueError unless they are integers from 1."""
    if not isinstance(hidden, tuple | list):
        raise ValueError(
            f"Expected hidden to be a tuple of widths, such as (128, 128). Received: {hidden!r}."
        )
    return tuple(check_integer("each width in hidden", width, 1) for width in hidden)


def check_minimum_scale(value):
    """The smallest standard deviation as a float; a ValueError unless it is > 0 and < 1."""
    if check_number("minimum_scale", value) >= 1:
        raise ValueError(f"Expected minimum_scale < 1. Received: {value!r}.")
    return float(value)
