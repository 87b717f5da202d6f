"""Linear systems with a matrix that is known by its products alone."""

import tensorflow as tf

from tfmeta.backend.calls import of_each_task, traced_once


def conjugate_gradient(product, b, steps):
    """Solve `A x = b` for a symmetric positive definite `A`, approximately.

    Exact after as many steps as `A` has different eigenvalues; every step takes one product.

    Args:
        product: function from a list of tensors like `b` to `A` times them.
        b: list of tensors.
        steps: number of steps, a Python int.

    Returns:
        `x`, a list of tensors like `b`; zeros after no steps.

    Reference:
        Hestenes and Stiefel, "Methods of conjugate gradients for solving linear systems", 1952.
    """

    def step(x, residual, direction, square):
        image = product(direction)
        # After an exact solution there is nothing left to divide.
        length = tf.math.divide_no_nan(square, _dot(direction, image))
        x = [a + length * d for a, d in zip(x, direction, strict=True)]
        residual = [r - length * p for r, p in zip(residual, image, strict=True)]
        before, square = square, _dot(residual, residual)
        ratio = tf.math.divide_no_nan(square, before)
        direction = [r + ratio * d for r, d in zip(residual, direction, strict=True)]
        return x, residual, direction, square

    # Of each task, so that the first step is the same function of a task as all others.
    start = of_each_task([tf.zeros_like(t) for t in b], like=b[0])
    state = start, list(b), list(b), _dot(b, b)
    step = traced_once(step, *state) if steps > 1 else step
    for _ in range(steps):
        state = step(*state)
    return list(state[0])


def _dot(a, b):
    return tf.add_n([tf.reduce_sum(s * t) for s, t in zip(a, b, strict=True)])
