"""Normal random numbers that are the same in XLA and outside."""

import math
from typing import Any

import tensorflow as tf


def standard_normal(shape: Any, seed: Any, dtype: Any = "float32") -> tf.Tensor:
    """Standard normal random numbers, from a seed alone.

    TensorFlow's own, `tf.random.stateless_normal`, are others in a step that XLA compiles. These
    come from the integers that are the same in both; none is beyond 5.3.

    Args:
        shape: of the result.
        seed: integers `[2]`, such as `keras.random.SeedGenerator().next()`.
        dtype: of the result.

    Returns:
        A tensor.
    """
    seed = tf.cast(seed, tf.int32)
    bits = tf.random.stateless_uniform(shape, seed, None, None, tf.int32)
    # 23 bits, and the middle of each of their intervals: never -1 or 1, and exact in float32.
    middle = (tf.cast(tf.math.floordiv(bits, 2**9), tf.float32) + 0.5) * 2.0**-22
    return tf.cast(math.sqrt(2.0) * tf.math.erfinv(middle), dtype)
