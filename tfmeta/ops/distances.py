"""Distances between embeddings."""

import tensorflow as tf


def squared_euclidean(a, b):
    """Squared Euclidean distance of every row of `a` to every row of `b`.

    `|a - b|^2 = |a|^2 - 2 a.b + |b|^2`: one matrix product, nothing of size rows x rows x width.

    Args:
        a: `[M, D]`.
        b: `[N, D]`.

    Returns:
        `[M, N]`, of the dtype of `a`.
    """
    return (
        tf.reduce_sum(a * a, axis=-1)[:, None]
        - 2.0 * tf.matmul(a, b, transpose_b=True)
        + tf.reduce_sum(b * b, axis=-1)[None, :]
    )
