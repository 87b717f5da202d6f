"""Ridge regression in closed form."""

from typing import Any

import tensorflow as tf

from tfmeta.arguments import check_number, is_number
from tfmeta.backend.solve import solve

FORMS = ("auto", "primal", "dual")


def ridge(
    x: tf.Tensor,
    y: tf.Tensor,
    regularization: Any,
    form: str = "auto",
    mask: tf.Tensor | None = None,
) -> tf.Tensor:
    """Weights of the ridge regression of `y` on `x`, exact and differentiable.

        W = argmin |X W - Y|^2 + l |W|^2
          = (X^T X + l I)^-1 X^T Y        "primal", a system of D unknowns
          = X^T (X X^T + l I)^-1 Y        "dual", a system of S unknowns (Woodbury)

    Args:
        x: inputs `[S, D]`, of floats.
        y: targets `[S, N]`.
        regularization: `l`, > 0, a number or a scalar tensor.
        form: "primal", "dual", or "auto": the smaller system, the dual one if `S` is not known.
        mask: `[S]`, 0 for rows that change nothing, else 1; None if every row is real.

    Returns:
        `[D, N]`, of the dtype of `x`.

    Raises:
        ValueError: an unknown form, or a regularization that is no number > 0.

    Reference:
        Bertinetto, Henriques, Torr and Vedaldi, 2019, arXiv:1805.08136, equations 4 and 6.
    """
    if form not in FORMS:
        raise ValueError(f"Expected form in {FORMS}. Received: {form!r}.")
    x = tf.convert_to_tensor(x)
    y = tf.cast(y, x.dtype)
    if is_number(regularization):  # `tf.cast` would make it float32 first
        regularization = tf.constant(check_number("regularization", regularization), x.dtype)
    regularization = tf.cast(regularization, x.dtype)
    if mask is not None:
        real = tf.cast(mask, x.dtype)[:, None]
        x, y = x * real, y * real
    if form == "auto":
        rows, columns = x.shape
        form = "dual" if rows is None or (columns is not None and rows < columns) else "primal"
    if form == "dual":
        return tf.matmul(x, _solve(tf.matmul(x, x, transpose_b=True), regularization, y), True)
    return _solve(tf.matmul(x, x, transpose_a=True), regularization, tf.matmul(x, y, True))


def _solve(gram, regularization, b):
    """`(gram + regularization I)^-1 b`."""
    identity = tf.eye(tf.shape(gram)[0], dtype=gram.dtype)
    # The solver stops at NaN with a message of its own; from x and b it comes to the loss, too.
    finite = tf.reduce_all(tf.math.is_finite(gram))
    gram = tf.where(finite, gram, identity)
    # Not Cholesky: it fails in float32 where a gram matrix is close to singular.
    return solve(gram + regularization * identity, b)
