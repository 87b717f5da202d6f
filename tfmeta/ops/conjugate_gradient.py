"""Linear systems with a matrix that is known by its products alone."""

import tensorflow as tf

from tfmeta.backend.task_layers import is_in_xla


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
    if steps > 1 and not (tf.executing_eagerly() or is_in_xla()):
        # A function of the graph: traced once, and called at each step.
        specs = [tf.TensorSpec.from_tensor(t) for t in b]
        product = tf.function(product, autograph=False).get_concrete_function(specs)
    x, residual = [tf.zeros_like(t) for t in b], list(b)
    direction, square = residual, _dot(residual, residual)
    for _ in range(steps):
        image = product(direction)
        # After an exact solution there is nothing left to divide.
        length = tf.math.divide_no_nan(square, _dot(direction, image))
        x = [a + length * d for a, d in zip(x, direction, strict=True)]
        residual = [r - length * p for r, p in zip(residual, image, strict=True)]
        before, square = square, _dot(residual, residual)
        ratio = tf.math.divide_no_nan(square, before)
        direction = [r + ratio * d for r, d in zip(residual, direction, strict=True)]
    return x


def _dot(a, b):
    return tf.add_n([tf.reduce_sum(s * t) for s, t in zip(a, b, strict=True)])
