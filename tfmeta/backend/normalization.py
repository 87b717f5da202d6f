"""Normalisation and pooling inside a task, right to the second derivative."""

import keras
import tensorflow as tf

from tfmeta.backend.batch_norm import applies_to, batch_norm
from tfmeta.backend.conversion import is_vectorized
from tfmeta.backend.moments import exact_moments
from tfmeta.backend.pooling import is_wrong_in_tensorflow, max_pool, per_axis
from tfmeta.backend.task_layers import calls_as_keras, in_task

_NOTE = "_tfmeta_normalized"  # of a graph's tensor: a function that gives it pooled


@in_task(keras.layers.BatchNormalization)
def batch_normalization(layer, call, mode, inputs, training=None, mask=None, **kwargs):
    """By the statistics that the task says, without a moving average; else as Keras, but fused.

    Keras ties statistics and dropout to one flag, but an inner loop at test time needs batch
    statistics without dropout, and the query of a training step the opposite.
    """
    if mode.batch_statistics is None:
        own = layer_renorms(layer) or getattr(layer, "synchronized", False)
        as_keras = calls_as_keras(layer, keras.layers.BatchNormalization) and not own
        if training and layer.trainable and as_keras and _is_fused(layer, mode, inputs, mask):
            return _fused(layer, inputs, momentum=layer.momentum)
        return call(inputs, training=training, mask=mask, **kwargs)
    if not (mode.batch_statistics and layer.trainable):  # frozen: it goes by its moving averages
        return call(inputs, training=False, mask=mask, **kwargs)
    if not calls_as_keras(layer, keras.layers.BatchNormalization) or layer_renorms(layer):
        return _without_average(layer, call, inputs, mask, kwargs)
    if _is_fused(layer, mode, inputs, mask):
        return _fused(layer, inputs, momentum=0.0)
    x = tf.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
    mean, variance = _moments(x, layer.axis, mask)
    layer.moving_mean.assign(mean)
    layer.moving_variance.assign(variance)
    return _normalized(layer, x, mean, variance, layer.axis)


def layer_renorms(layer):
    """True for a BatchNormalization with `renorm=True`, which older versions of Keras lack."""
    return bool(getattr(layer, "renorm", False))


def _without_average(layer, call, inputs, mask, kwargs):
    """What a layer computes itself, with its state as if its momentum were zero."""
    averages = [layer.moving_mean, layer.moving_variance]
    before = [tf.convert_to_tensor(v) for v in averages]
    outputs = call(inputs, training=True, mask=mask, **kwargs)
    share = 1.0 - layer.momentum
    for variable, old in zip(averages, before, strict=True) if share > 0 else ():
        variable.assign(old + (tf.convert_to_tensor(variable) - old) / share)
    return outputs


def _moments(x, axis, mask):
    axes = [i for i in range(x.shape.rank) if i != axis % x.shape.rank]
    if mask is None:
        return exact_moments(x, axes)
    real = tf.broadcast_to(tf.cast(mask, tf.bool)[..., None], tf.shape(x))
    count = tf.reduce_sum(tf.cast(real, x.dtype), axes, keepdims=True)
    count += keras.config.epsilon()  # as Keras has it
    mean = tf.reduce_sum(tf.where(real, x, tf.zeros_like(x)), axes, keepdims=True) / count
    difference = tf.where(real, x - mean, tf.zeros_like(x))
    variance = tf.reduce_sum(difference**2, axes, keepdims=True) / count
    return tf.squeeze(mean, axes), tf.squeeze(variance, axes)


def _normalized(layer, x, mean, variance, axis):
    gamma, beta = (w if w is None else tf.cast(w, x.dtype) for w in (layer.gamma, layer.beta))
    outputs = keras.ops.batch_normalization(
        x, mean, variance, axis=axis, offset=beta, scale=gamma, epsilon=layer.epsilon
    )
    return tf.cast(outputs, layer.compute_dtype)


def _is_fused(layer, mode, x, mask):
    # Not where operations of one task become those of all, which have derivatives of their own.
    fused = mode.fused and mask is None and not is_vectorized()
    return fused and layer.axis in (-1, 3) and layer.compute_dtype == x.dtype.name and applies_to(x)


def _fused(layer, x, momentum):
    """One operation; with the max pooling after it, or after a ReLU, if there is one.

    The largest value of a window is the same before and after both. What pooling that is taken in
    leaves without use drops out of the compiled graph.

    Args:
        momentum: the share of the state before in the new one.
    """
    channels = x.shape[-1]
    gamma = tf.ones([channels], x.dtype) if layer.gamma is None else layer.gamma
    beta = tf.zeros([channels], x.dtype) if layer.beta is None else layer.beta
    gamma, beta = (tf.convert_to_tensor(w) for w in (gamma, beta))
    averages = [layer.moving_mean, layer.moving_variance]
    before = [tf.cast(tf.convert_to_tensor(v), x.dtype) for v in averages] if momentum else averages

    def normalize(pool=False):
        outputs, *statistics = batch_norm(x, gamma, beta, layer.epsilon, pool)
        for variable, old, new in zip(averages, before, statistics, strict=True):
            variable.assign(old * momentum + new * (1.0 - momentum) if momentum else new)
        return outputs

    outputs = normalize()
    setattr(outputs, _NOTE, normalize)
    return outputs


@in_task(keras.layers.MaxPooling1D)
@in_task(keras.layers.MaxPooling2D)
@in_task(keras.layers.MaxPooling3D)
def max_pooling(layer, call, mode, inputs):
    """TensorFlow's where its second derivative is right; one operation with what is before it."""
    size, strides, padding = layer.pool_size, layer.strides, layer.padding
    if is_wrong_in_tensorflow(strides, padding, mode.in_xla):
        data_format = "NC" if layer.data_format == "channels_first" else None
        return max_pool(inputs, list(size), list(strides), padding.upper(), data_format)
    if mode.fused and _halves(inputs, size, strides, padding):
        rectified = inputs.op.type == "Relu"
        redo = getattr(inputs.op.inputs[0] if rectified else inputs, _NOTE, None)
        if redo is not None:
            pooled = redo(pool=True)
            return tf.nn.relu(pooled) if rectified else pooled
    return call(inputs)


def _halves(x, size, strides, padding):
    """True for pooling of 2x2 windows side by side."""
    if x.shape.rank != 4 or tf.executing_eagerly():
        return False
    sides = x.shape[1:3].as_list()
    whole = padding == "valid" or not any(side is None or side % 2 for side in sides)
    return None not in sides and whole and all(per_axis(v, 2) == [2, 2] for v in (size, strides))


@in_task(keras.layers.LayerNormalization)
def layer_normalization(layer, call, mode, inputs, *args, **kwargs):
    """As Keras, by moments whose second derivative is right."""
    rms = getattr(layer, "rms_scaling", False)
    if rms or not calls_as_keras(layer, keras.layers.LayerNormalization):
        return call(inputs, *args, **kwargs)
    x = tf.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
    axes = [axis % x.shape.rank for axis in tf.nest.flatten(layer.axis)]
    mean, variance = exact_moments(x, axes, keepdims=True)
    shape = [x.shape[i] if i in axes else 1 for i in range(x.shape.rank)]
    return _scaled(layer, x, mean, variance, shape)


def _scaled(layer, x, mean, variance, shape):
    outputs = (x - mean) * tf.math.rsqrt(variance + layer.epsilon)
    if layer.gamma is not None:
        outputs *= tf.reshape(tf.cast(layer.gamma, x.dtype), shape)
    if layer.beta is not None:
        outputs += tf.reshape(tf.cast(layer.beta, x.dtype), shape)
    return tf.cast(outputs, layer.compute_dtype)


@in_task(keras.layers.GroupNormalization)
def group_normalization(layer, call, mode, inputs, *args, **kwargs):
    """As Keras, by moments whose second derivative is right."""
    if not calls_as_keras(layer, keras.layers.GroupNormalization):
        return call(inputs, *args, **kwargs)
    rank, axis = inputs.shape.rank, layer.axis % inputs.shape.rank
    shape = [tf.shape(inputs)[i] if s is None else s for i, s in enumerate(inputs.shape)]
    channels = inputs.shape[axis]
    grouped = [*shape[:axis], layer.groups, channels // layer.groups, *shape[axis + 1 :]]
    x = tf.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
    x = tf.reshape(x, grouped)
    mean, variance = exact_moments(x, [i for i in range(1, rank + 1) if i != axis], keepdims=True)
    scales = [1] * axis + [layer.groups, channels // layer.groups] + [1] * (rank - axis - 1)
    return tf.reshape(_scaled(layer, x, mean, variance, scales), shape)
