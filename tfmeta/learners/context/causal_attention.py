"""Attention of rows to those that were read before them, and to themselves."""

import math

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
    read_keys, read_values = memory
    before = tf.einsum("mhk,shk->mhs", queries, read_keys)
    own = tf.reduce_sum(queries * keys, axis=-1, keepdims=True)
    hidden = tf.constant(before.dtype.min / 4, before.dtype)
    logits = tf.concat([before / math.sqrt(keys.shape[-1]), own / math.sqrt(keys.shape[-1])], -1)
    seen = tf.concat([seen, tf.ones_like(seen[:, :1])], axis=-1)
    weights = tf.nn.softmax(tf.where(seen[:, None], logits, hidden))
    return tf.einsum("mhs,shv->mhv", weights[..., :-1], read_values) + weights[..., -1:] * values


def seen_before(places, rows):
    """`[M, rows]`, True where one of `rows` rows comes before a place `[M]`."""
    return tf.range(rows)[None] < places[:, None]
