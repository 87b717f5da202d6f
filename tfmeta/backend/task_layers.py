"""What BatchNormalization layers do inside a task."""

import contextlib
import contextvars
from typing import Any, NamedTuple
from unittest import mock

import keras
import tensorflow as tf

from tfmeta.backend.batch_norm import applies_to, batch_norm
from tfmeta.backend.network_facts import batch_norm_layers
from tfmeta.backend.pooling import per_axis

_fused = contextvars.ContextVar("fused", default=False)
_NOTE = "_tfmeta_normalized"  # of a graph's tensor: how it was made


@contextlib.contextmanager
def batch_norm_calls(network, batch_statistics):
    """Set what BatchNormalization does, whatever `training` says for dropout.

    Keras ties both to one flag, but an inner loop at test time needs batch statistics without
    dropout, and the query of a training step the opposite.
    """
    layers = batch_norm_layers(network)
    saved = [layer.momentum for layer in layers]
    for layer in layers:
        original = type(layer).call.__get__(layer)

        def call(inputs, training=None, mask=None, _original=original, _layer=layer):
            if batch_statistics and _fused.get() and mask is None and _is_plain(_layer, inputs):
                return _call_fused(_layer, inputs)
            return _original(inputs, training=batch_statistics, mask=mask)

        object.__setattr__(layer, "call", call)
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum in zip(layers, saved, strict=True):
            object.__delattr__(layer, "call")
            layer.momentum = momentum


class _Normalized(NamedTuple):
    """Where a tensor comes from: `redo(pool=True)` gives it pooled, before the rectifier."""

    redo: Any
    rectified: bool = False


@contextlib.contextmanager
def fused_batch_norm(enabled):
    """Within it BatchNormalization on batch statistics is `tfmeta.backend.batch_norm`.

    Max pooling (2x2, stride 2) right after it, or with a ReLU between, is taken in: the largest
    value of a window is the same before and after both. The passes that this leaves without use
    drop out of the compiled graph.
    """
    if not enabled:
        yield
        return
    relu, max_pool = tf.nn.relu, tf.nn.max_pool

    def noting_relu(features, name=None):
        outputs, origin = relu(features, name=name), getattr(features, _NOTE, None)
        if origin is not None:
            setattr(outputs, _NOTE, origin._replace(rectified=True))
        return outputs

    def fusing_max_pool(input, ksize, strides, padding, data_format=None, name=None):
        origin = getattr(input, _NOTE, None)
        if origin is None or not _halves(input, ksize, strides, padding):
            return max_pool(input, ksize, strides, padding, data_format, name)
        pooled = origin.redo(pool=True)
        return relu(pooled, name=name) if origin.rectified else pooled

    token = _fused.set(True)
    try:
        with (
            mock.patch.object(tf.nn, "relu", noting_relu),
            mock.patch.object(tf.nn, "max_pool", fusing_max_pool),
        ):
            yield
    finally:
        _fused.reset(token)


def _is_plain(layer, x):
    """True if a layer does no more than `tfmeta.backend.batch_norm`."""
    of_keras = type(layer).call is keras.layers.BatchNormalization.call
    return (
        of_keras
        and layer.trainable  # a frozen one goes by its moving averages
        and not layer.synchronized
        and not getattr(layer, "renorm", False)
        and layer.axis in (-1, 3)
        and layer.compute_dtype == x.dtype.name
        and applies_to(x)
    )


def _call_fused(layer, x):
    channels = x.shape[-1]
    gamma = tf.ones([channels], x.dtype) if layer.gamma is None else layer.gamma
    beta = tf.zeros([channels], x.dtype) if layer.beta is None else layer.beta
    gamma, beta = (tf.convert_to_tensor(w) for w in (gamma, beta))

    def normalize(pool=False):
        outputs, mean, variance = batch_norm(x, gamma, beta, layer.epsilon, pool)
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(variance)
        return outputs

    outputs = normalize()
    setattr(outputs, _NOTE, _Normalized(normalize))
    return outputs


def _halves(x, ksize, strides, padding):
    """True for pooling of 2x2 windows side by side."""
    sides = x.shape[1:3].as_list()
    whole = None not in sides and (padding == "VALID" or not any(side % 2 for side in sides))
    return whole and all(per_axis(v, 2) == [2, 2] for v in (ksize, strides))
