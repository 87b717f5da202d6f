"""Class prototypes."""

import tensorflow as tf


def class_means(
    embeddings: tf.Tensor, labels: tf.Tensor, mask: tf.Tensor | None, ways: int | tf.Tensor
) -> tf.Tensor:
    """The mean embedding of each class: `c_k = mean of f(x_i) over y_i = k`.

    Args:
        embeddings: `[S, D]`.
        labels: integers `[S]`, `0..ways-1`.
        mask: `[S]`, 1 for a real row, 0 for padding.
        ways: number of rows of the result, a Python int or a scalar tensor.

    Returns:
        `(means [ways, D], present [ways])`: `present` is 1 where the class has a real row;
        the mean of a class without one is 0.

    Reference:
        Snell et al., 2017, arXiv:1703.05175, equation 1.
    """
    weights = tf.one_hot(labels, ways, dtype=embeddings.dtype)
    weights *= tf.cast(mask, embeddings.dtype)[:, None]
    counts = tf.reduce_sum(weights, axis=0)
    sums = tf.matmul(weights, embeddings, transpose_a=True)
    return sums / tf.maximum(counts, 1.0)[:, None], tf.cast(counts > 0, embeddings.dtype)
