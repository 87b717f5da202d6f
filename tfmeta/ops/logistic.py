"""Logistic regression by Newton's method, in few and differentiable steps."""

from typing import Any

import tensorflow as tf

from tfmeta.arguments import check_integer, check_number, is_number
from tfmeta.backend.solve import solve
from tfmeta.ops.ridge import FORMS


def logistic(
    x: tf.Tensor,
    y: tf.Tensor,
    regularization: Any,
    steps: int = 5,
    form: str = "auto",
    mask: tf.Tensor | None = None,
) -> tf.Tensor:
    """Weights of the logistic regressions of the columns of `y` on `x`, each for itself.

    Newton's method for `sum over rows of log(1 + exp(-t x.w)) + l/2 |w|^2`, with `t` = 1 where `y`
    is 1 and -1 where it is 0, is iteratively reweighted least squares: with `m = sigmoid(X w)`,
    `s = m (1 - m)` and `S = diag(s)`, from `w = 0`,

        z = X w + (y - m) / s
        w = (X^T S X + l I)^-1 X^T S z        "primal", systems of D unknowns
          = X^T (X X^T + l S^-1)^-1 z         "dual", systems of the rows' number (Woodbury)

    Args:
        x: inputs `[S, D]`, of floats.
        y: targets `[S, N]`, each 0 or 1.
        regularization: `l`, > 0, a number or a scalar tensor.
        steps: of Newton's, at least 1. The gradient goes through all of them.
        form: "primal", "dual", or "auto": the smaller systems, the dual ones if `S` is not known.
        mask: `[S]`, 0 for rows that change nothing, else 1; None if every row is real.

    Returns:
        `[D, N]`, of the dtype of `x`.

    Raises:
        ValueError: an unknown form, steps below 1, or a regularization that is no number > 0.

    Reference:
        Bertinetto, Henriques, Torr and Vedaldi, 2019, arXiv:1805.08136, section 3.3.
    """
    if form not in FORMS:
        raise ValueError(f"Expected form in {FORMS}. Received: {form!r}.")
    steps = check_integer("steps", steps, 1)
    x = tf.convert_to_tensor(x)
    if is_number(regularization):  # `tf.cast` would make it float32 first
        regularization = tf.constant(check_number("regularization", regularization), x.dtype)
    regularization = tf.cast(regularization, x.dtype)
    y = tf.transpose(tf.cast(y, x.dtype))
    real = tf.ones_like(x[:, 0]) if mask is None else tf.cast(mask, x.dtype)
    if form == "auto":
        rows, columns = x.shape
        form = "dual" if rows is None or (columns is not None and rows < columns) else "primal"
    step = _dual_step if form == "dual" else _primal_step
    # A NaN would stop the solver with a message of its own; it comes to the loss from x, too.
    clean = tf.where(tf.math.is_finite(x), x, tf.zeros_like(x))
    w = tf.zeros_like(tf.matmul(y, clean))
    for _ in range(steps):
        scores = tf.matmul(w, clean, transpose_b=True)
        means = tf.sigmoid(scores)
        # Rows that are long decided hardly weigh any more; none of them may weigh nothing.
        weights = real * tf.maximum(means * (1.0 - means), 1e-6)
        gradient = real * (y - means)
        w = step(clean, weights, gradient + weights * scores, regularization)
    return tf.transpose(w) + 0.0 * tf.reduce_sum(x)


def _primal_step(x, weights, targets, regularization):
    """`w` `[N, D]` from weights `s` and targets `s z`, `[N, S]` each."""
    gram = tf.matmul(tf.transpose(x)[None] * tf.expand_dims(weights, 1), x[None])
    identity = tf.eye(tf.shape(x)[1], dtype=x.dtype)
    right = tf.expand_dims(tf.matmul(targets, x), -1)
    return solve(gram + regularization * identity, right)[..., 0]


def _dual_step(x, weights, targets, regularization):
    # With the root of S on both sides, so that no row, padding among them, is divided by zero:
    # X^T R (R X X^T R + l I)^-1 R z, where R z = s z / R.
    safe = tf.where(weights > 0, weights, tf.ones_like(weights))
    root = tf.where(weights > 0, tf.sqrt(safe), tf.zeros_like(weights))
    gram = tf.matmul(x, x, transpose_b=True)[None] * tf.expand_dims(root, 2)
    gram *= tf.expand_dims(root, 1)
    identity = tf.eye(tf.shape(x)[0], dtype=x.dtype)
    right = tf.expand_dims(targets / tf.sqrt(safe), -1)
    solved = solve(gram + regularization * identity, right)[..., 0]
    return tf.matmul(root * solved, x)
