"""The support vector machine of several classes of Crammer and Singer, differentiable."""

import tensorflow as tf

from tfmeta.arguments import check_integer, check_number
from tfmeta.backend.calls import of_each_task, traced_once
from tfmeta.backend.solve import inverted


def svm(
    x: tf.Tensor,
    y: tf.Tensor,
    capacity: float = 0.1,
    steps: int = 60,
    mask: tf.Tensor | None = None,
    present: tf.Tensor | None = None,
) -> tf.Tensor:
    """Weights of a linear machine of several classes, and their derivative, at its solution.

        W = argmin of 1/2 |W|^2 + C sum over rows of max over k of (1 - [k = y] + w_k.x - w_y.x)

    It is solved in its dual, a quadratic program in `A` `[S, N]` with `W = X^T A`:

        A = argmin of 1/2 tr(A^T X X^T A) - sum over rows of a_y
        with a_k <= C [k = y] and sum over k of a_k = 0 in each row

    by the alternating direction method of multipliers, one factorisation for all steps. At the
    solution some of the inequalities are equations; the derivative is that of the program with
    those equations in their place (implicit differentiation), by as many steps of the same method
    without inequalities. Only first derivatives are right.

    Args:
        x: inputs `[S, D]`, of floats.
        y: one-hot labels `[S, N]`.
        capacity: `C`, > 0: what an error costs.
        steps: of the solver, at least 1. 60 come to 1e-5 of the solution with a capacity of 0.1;
            it takes more where errors cost so much that many rows lie on the margin.
        mask: `[S]`, 0 for rows that change nothing, else 1; None if every row is real.
        present: `[N]`, 0 for classes that are not there; None if all are.

    Returns:
        `[D, N]`, of the dtype of `x`; 0 for a class that is not there.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        Crammer and Singer, "On the Algorithmic Implementation of Multiclass Kernel-based Vector
        Machines", JMLR 2001; Lee et al., 2019, arXiv:1904.03758, section 3.
    """
    capacity, steps = check_number("capacity", capacity), check_integer("steps", steps, 1)
    x = tf.convert_to_tensor(x)
    y = tf.cast(y, x.dtype)
    real = tf.ones_like(x[:, 0]) if mask is None else tf.cast(mask, x.dtype)
    x, y = x * real[:, None], y * real[:, None]
    there = tf.ones_like(y[0]) if present is None else tf.cast(present, x.dtype)
    gram = tf.matmul(x, x, transpose_b=True)
    # A NaN would stop the factorisation with a message of its own; it reaches W by x, too.
    finite = tf.where(tf.reduce_all(tf.math.is_finite(gram)), gram, tf.zeros_like(gram))
    inverse, weight = (tf.stop_gradient(t) for t in _factorised(finite, tf.reduce_sum(real)))
    dual = tf.stop_gradient(_solve(inverse, weight, y, capacity, there, steps))
    # Zero, with a derivative: what is left of the program's own slope along the free directions.
    slack = capacity * y - dual
    free = tf.stop_gradient(tf.cast(slack > 1e-5 * capacity, x.dtype) * there)
    slope = y - tf.matmul(finite, dual)
    slope -= tf.stop_gradient(slope)
    dual += _solve_along(inverse, weight, slope, free, steps)
    return tf.matmul(x, dual, transpose_a=True)


def _factorised(gram, count):
    """`(gram + r I)^-1`, and `r`: the variance of the real rows, which converges fastest."""
    identity = tf.eye(tf.shape(gram)[0], dtype=gram.dtype)
    square = tf.reduce_sum(gram * identity) / count  # LiteRT has no trace
    variance = square - tf.reduce_sum(gram) / count**2
    weight = tf.maximum(variance, 1e-3 * square) + 1e-6
    return inverted(gram + weight * identity), weight


def _solve(inverse, weight, y, capacity, there, steps):
    """The dual solution `A` `[S, N]`."""
    limits = capacity * y

    def step(t, dual, price):
        point = tf.matmul(inverse, y + weight * (dual - price))
        point = 1.6 * point - 0.6 * dual
        new = limits - _onto_simplex(limits - (point + price), limits, there)
        return t + 1, new, price + point - new

    zeros = tf.zeros_like(y) * inverse[:1, :1]  # of each task, in a loop that all tasks share
    start = of_each_task((zeros, zeros), like=inverse)
    return tf.while_loop(
        lambda t, *_: t < steps, step, (tf.constant(0), *start), maximum_iterations=steps
    )[1]


def _onto_simplex(values, limits, there):
    """The nearest rows with entries >= 0, 0 where a class is not there, and the sum of `limits`."""
    total = tf.reduce_sum(limits, axis=-1, keepdims=True)
    absent = tf.reduce_min(values) - tf.reduce_max(tf.abs(values)) - 2 * tf.reduce_max(total) - 1.0
    values = tf.where(there[None] > 0, values, absent)
    ordered = tf.sort(values, axis=-1, direction="DESCENDING")
    counts = tf.cumsum(tf.ones_like(values), axis=-1)
    levels = (tf.cumsum(ordered, axis=-1) - total) / counts
    # The level that the largest entries are lowered to: the last one below its entry.
    level = tf.reduce_max(levels, axis=-1, keepdims=True)
    return tf.nn.relu(values - level)


def _solve_along(inverse, weight, slope, free, steps):
    """The step `[S, N]` to the solution along the free directions, linear in `slope`.

    The free entries of a row may change by sums of 0; all others stay.
    """
    counts = tf.maximum(tf.reduce_sum(free, axis=-1, keepdims=True), 1.0)

    def along(values):
        values = values * free
        return values - free * tf.reduce_sum(values, axis=-1, keepdims=True) / counts

    def step(dual, price, slope):
        point = tf.matmul(inverse, slope + weight * (dual - price))
        point = 1.6 * point - 0.6 * dual
        new = along(point + price)
        return new, price + point - new

    dual = price = tf.zeros_like(slope)
    if steps > 1:
        step = traced_once(step, dual, price, slope)
    for _ in range(steps):
        dual, price = step(dual, price, slope)
    return dual
