"""Attention of rows to those that were read before them, and to themselves."""

import tensorflow as tf


def attend(queries, keys, values, memory, seen):
    """Each row's mean of values, weighted by a softmax of `query . key / sqrt(width)`.

    Args:
        queries, keys: of the rows, `[M, heads, width]`.
        values: of the rows, `[M, heads, V]`.
        memory: `(keys, values)` of the rows that were read, `[S, heads, ...]`.
        seen: `[M, S]`, True where a row sees one that was read. Each row sees itself besides.

    Returns:
        `[M, heads, V]`.
    """
    scale = keys.shape[-1] ** -0.5
    # Plain products: of einsum's, mapped over the tasks of a meta-batch, some end the process.
    read_keys, read_values, by_head = (_heads_first(t) for t in (*memory, queries))
    before = tf.matmul(by_head, read_keys, transpose_b=True) * scale  # [heads, M, S]
    own = tf.reduce_sum(queries * keys, axis=-1, keepdims=True) * scale
    before = tf.where(seen, before, before.dtype.min / 4)
    weights = tf.nn.softmax(tf.concat([before, _heads_first(own)], axis=-1))
    found = _heads_first(tf.matmul(weights[..., :-1], read_values))
    return found + _heads_first(weights[..., -1:]) * values


def _heads_first(t):
    """`[rows, heads, width]` to `[heads, rows, width]`, and back."""
    return tf.transpose(t, [1, 0, 2])


def seen_before(places, rows):
    """`[M, rows]`, True where one of `rows` rows comes before a place `[M]`."""
    return tf.range(rows)[None] < places[:, None]
