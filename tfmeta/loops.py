"""`tf.map_fn`, which leaves nothing behind."""

import tensorflow as tf


def map_fn(fn, elements, **options):
    """`tf.map_fn`, with its arguments.

    Where `fn` raises, TensorFlow's leaves a caching device in the variable scope, which is one for
    the process: no scope of a `MirroredStrategy` could be entered after that.
    """
    if tf.executing_eagerly():
        return tf.map_fn(fn, elements, **options)
    scope = tf.compat.v1.get_variable_scope()
    before = scope.caching_device
    try:
        return tf.map_fn(fn, elements, **options)
    finally:
        scope.set_caching_device(before)
