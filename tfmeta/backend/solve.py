"""Systems of linear equations, and the precision of such, where TensorFlow's are not to be had."""

import contextlib
import contextvars

import tensorflow as tf

_elementary = contextvars.ContextVar("elementary", default=False)


@contextlib.contextmanager
def elementary_operations():
    """A scope in which graphs are made of operations that LiteRT has, too: it has no solver."""
    token = _elementary.set(True)
    try:
        yield
    finally:
        _elementary.reset(token)


def is_elementary():
    """True inside of `elementary_operations`."""
    return _elementary.get()


def in_double(values):
    """Values as float64, in which posteriors are computed; as float32 in LiteRT, which has no more.

    What is computed in float64 before, and only read there, loses nothing but its last digits.
    """
    return tf.cast(values, tf.float32 if is_elementary() else tf.float64)


def solve(matrix, right):
    """The solution `X` of `matrix X = right`: `[..., D, D]` and `[..., D, N]` to `[..., D, N]`."""
    return _eliminate(matrix, right) if is_elementary() else tf.linalg.solve(matrix, right)


def inverted(matrix):
    """The inverse of `[..., D, D]`."""
    if not is_elementary():
        return tf.linalg.inv(matrix)
    identity = tf.eye(tf.shape(matrix)[-1], dtype=matrix.dtype)
    return _eliminate(matrix, tf.zeros_like(matrix) + identity)


def _eliminate(left, right):
    """Gauss and Jordan's elimination, each time by the row whose entry is the largest.

    Rows are not exchanged: `place` says which unknown each of them is solved for.
    """
    count, dtype = tf.shape(left)[-1], left.dtype

    def step(k, left, right, place):
        here = tf.one_hot(k, count, dtype=dtype)
        column = tf.reduce_sum(left * here, axis=-1)
        is_used = tf.reduce_sum(place, axis=-2) > 0
        entries = tf.where(is_used, -tf.ones_like(column), tf.abs(column))
        chosen = tf.one_hot(tf.argmax(entries, axis=-1, output_type=tf.int32), count, dtype=dtype)
        value = tf.reduce_sum(chosen * column, axis=-1, keepdims=True)
        chosen_row = tf.expand_dims(chosen / value, -2)
        # The chosen row is divided by its entry, and taken from each of the others.
        factors = tf.expand_dims(column - chosen, -1)
        new = [t - tf.matmul(factors, tf.matmul(chosen_row, t)) for t in (left, right)]
        return k + 1, *new, place + tf.expand_dims(here, -1) * tf.expand_dims(chosen, -2)

    shapes = [tf.TensorShape([None] * t.shape.rank) for t in (left, right, left)]
    _, _, solved, place = tf.while_loop(
        lambda k, *_: k < count,
        step,
        (tf.constant(0), left, right, tf.zeros_like(left)),
        shape_invariants=(tf.TensorShape([]), *shapes),
    )
    solved = tf.matmul(place, solved)
    solved.set_shape(right.shape)
    return solved
