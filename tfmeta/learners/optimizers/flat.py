"""All weights of a network as rows of one matrix: a rule runs once on all of them."""

import math

import tensorflow as tf


def flat(tensors):
    """The numbers of a list of tensors, one after another, `[P]`."""
    return tf.concat([tf.reshape(t, [-1]) for t in tensors], axis=0)


def unflat(values, like):
    """The inverse of `flat`: numbers `[P]` in the shapes of a list of tensors."""
    sizes = [size_of(t) for t in like]
    parts = tf.split(values, sizes)
    return [tf.reshape(part, t.shape) for part, t in zip(parts, like, strict=True)]


def size_of(tensor):
    """How many numbers a tensor of known shape has."""
    return math.prod(tensor.shape)


def exactly(value):
    """An initializer that gives this value in every dtype.

    Keras's `Constant` goes by 32 bits; and a rule may be made inside of a graph, by an optimizer,
    where an assignment would be lost.
    """
    return lambda shape, dtype=None: tf.constant(value, dtype, shape)
