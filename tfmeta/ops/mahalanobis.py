"""Gaussians of classes with regularised covariances, and the distance to their means."""

from typing import Any, NamedTuple

import tensorflow as tf

from tfmeta.backend.solve import solve
from tfmeta.ops.distances import squared_euclidean
from tfmeta.ops.prototypes import class_means


class Gaussians(NamedTuple):
    """What `class_gaussians` returns: `Q_k^-1 = (I - R^T B_k R) / b` for each class `k`.

    Attributes:
        means: `[N, D]`.
        rows: `R`, `[S, D]`, or the identity `[D, D]`, where that has fewer rows.
        inner: `B_k`, `[N, S, S]` or `[N, D, D]`.
        regularization: `b`, a scalar.
        present: `[N]`, 0 for a class without a real row.
    """

    means: Any
    rows: Any
    inner: Any
    regularization: Any
    present: Any


def class_gaussians(
    embeddings: tf.Tensor,
    labels: tf.Tensor,
    mask: tf.Tensor,
    ways: int | tf.Tensor,
    regularization: float,
) -> Gaussians:
    """The mean of each class, and a covariance between that of the class and that of the task.

        Q_k = l_k Cov_k + (1 - l_k) Cov + b I,    l_k = n_k / (n_k + 1)

    with `Cov_k` the covariance of the `n_k` rows of class `k` (0 for one row), `Cov` that of all
    rows. All of them are products of the rows less their mean, so that the system to be solved is
    the smaller one of `D` and of the number of rows (Woodbury).

    Args:
        embeddings: `[S, D]`.
        labels: integers `[S]`, `0..ways-1`.
        mask: `[S]`, 1 for a real row, 0 for padding.
        ways: `N`, a Python int or a scalar tensor.
        regularization: `b`, a number > 0.

    Returns:
        `Gaussians`.

    Reference:
        Bateni et al., 2020, arXiv:1912.03432, section 4.
    """
    means, present = class_means(embeddings, labels, mask, ways)
    mask = tf.cast(mask, embeddings.dtype)
    members = tf.transpose(tf.one_hot(labels, ways, dtype=embeddings.dtype) * mask[:, None])
    counts, count = tf.reduce_sum(members, axis=-1), tf.reduce_sum(mask)
    share = counts / (counts + 1.0)
    rows = (embeddings - tf.matmul(mask[None], embeddings) / count) * mask[:, None]
    # Q_k - b I = R^T M_k R: M_k takes the mean of the class away, and weighs both covariances.
    centre = tf.linalg.diag(members) - tf.math.divide_no_nan(
        tf.expand_dims(members, 2) * tf.expand_dims(members, 1), counts[:, None, None]
    )
    of_class = tf.math.divide_no_nan(share, counts - 1.0)[:, None, None]
    of_task = tf.math.divide_no_nan(1.0 - share, count - 1.0)[:, None, None]
    middle = of_class * centre + of_task * tf.linalg.diag(mask)
    regularization = tf.convert_to_tensor(regularization, embeddings.dtype)
    height, width = embeddings.shape
    if height is not None and width is not None and width <= height:
        middle = tf.matmul(rows, tf.matmul(middle, rows), transpose_a=True)
        rows = tf.eye(width, dtype=embeddings.dtype)
    gram = tf.matmul(rows, rows, transpose_b=True)
    identity = tf.eye(tf.shape(rows)[0], dtype=embeddings.dtype)
    system = regularization * identity + tf.matmul(middle, gram)
    # A NaN would stop the solver with a message of its own; it comes to distances by means, too.
    finite = tf.reduce_all(tf.math.is_finite(system))
    system = tf.where(finite, system, identity)
    inner = solve(system, middle)
    return Gaussians(means, rows, inner, regularization, present)


def mahalanobis(embeddings: tf.Tensor, gaussians: Any) -> tf.Tensor:
    """`(z - c_k)^T Q_k^-1 (z - c_k)` of every row `z` of the embeddings to every class.

    Args:
        embeddings: `[M, D]`.
        gaussians: `Gaussians` of `N` classes.

    Returns:
        `[M, N]`.
    """
    means, rows, inner, regularization, _ = gaussians
    of_means, of_rows = (tf.matmul(t, rows, transpose_b=True) for t in (means, embeddings))
    differences = of_rows[None] - of_means[:, None]  # [N, M, S]
    reduced = tf.reduce_sum(tf.matmul(differences, inner) * differences, axis=-1)
    return (squared_euclidean(embeddings, means) - tf.transpose(reduced)) / regularization
