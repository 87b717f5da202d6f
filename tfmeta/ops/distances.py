"""Distances between embeddings."""

import tensorflow as tf

from tfmeta.backend.solve import is_elementary


def squared_euclidean(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Squared Euclidean distance of every row of `a` to every row of `b`.

    `|a - b|^2 = |a|^2 - 2 a.b + |b|^2`: one matrix product, nothing of size rows x rows x width.

    Args:
        a: `[M, D]`.
        b: `[N, D]`.

    Returns:
        `[M, N]`, of the dtype of `a`.
    """
    of_a, of_b = tf.reduce_sum(a * a, axis=-1)[:, None], tf.reduce_sum(b * b, axis=-1)[None, :]
    product = 2.0 * tf.matmul(a, b, transpose_b=True)
    # LiteRT's converter takes |a|^2 of a constant for a bias of the product, of its columns.
    return of_a + of_b - product if is_elementary() else of_a - product + of_b


def euclidean(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Euclidean distance of every row of `a` to every row of `b`, with a gradient of 0 at 0.

    Args:
        a: `[M, D]`.
        b: `[N, D]`.

    Returns:
        `[M, N]`, of the dtype of `a`.
    """
    # The square of a distance near 0 may come out negative, and a root has no derivative there.
    return tf.sqrt(tf.maximum(squared_euclidean(a, b), 1e-12))


def cosine_similarity(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Cosine of the angle between every row of `a` and every row of `b`.

    Args:
        a: `[M, D]`.
        b: `[N, D]`.

    Returns:
        `[M, N]`, of the dtype of `a`; 0 for a row of zeros.
    """
    a, b = (tf.math.l2_normalize(rows, axis=-1) for rows in (a, b))
    return tf.matmul(a, b, transpose_b=True)
