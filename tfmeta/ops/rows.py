"""One row of a tensor, at a place that is known only when the step runs."""

import tensorflow as tf


def row(values: tf.Tensor, index: int | tf.Tensor) -> tf.Tensor:
    """`values[index]`, as a sum of products with a one-hot vector.

    The gradient of `tf.gather` is sparse: to make it dense for all tasks of a meta-batch takes tens
    of operations, and the trace of a step with many rows seconds. A value that is not finite in one
    row reaches all of them.

    Args:
        values: floats `[T, ...]`.
        index: an int, or a scalar integer tensor.

    Returns:
        `[...]`; zeros where there is no such row.
    """
    values = tf.convert_to_tensor(values)
    chosen = tf.one_hot(index, values.shape[0], dtype=values.dtype)
    chosen = tf.reshape(chosen, [-1] + [1] * (len(values.shape) - 1))
    return tf.reduce_sum(chosen * values, axis=0)
