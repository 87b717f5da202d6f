"""Attention of the points of one task, with several heads."""

import keras
import tensorflow as tf


class Attention(keras.layers.Layer):
    """Rows that each take a mean of other rows, with weights of their own: `[rows, D]`.

    With the heads' parts of `q = x W_q`, `k = c W_k` and `v = c W_v`, all with biases:

        outputs = [softmax(q_1 k_1^T / sqrt(D / heads)) v_1, ..., of all heads] W_o

    Not `keras.layers.MultiHeadAttention`: mapped over the tasks of a meta-batch, its operations
    end the process in oneDNN's kernels of TensorFlow 2.21.

    Args:
        width: `D`.
        heads: number of heads, which divide `width`.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.
    """

    def __init__(self, width, heads, **kwargs):
        super().__init__(**kwargs)
        self.width, self.heads = width, heads
        dtype = self.dtype_policy
        self.query, self.key, self.value, self.output_layer = (
            keras.layers.Dense(width, dtype=dtype, name=name)
            for name in ("query", "key", "value", "output")
        )

    def build(self, x_shape, keys_shape, values_shape, mask_shape=None):
        self.query.build(x_shape)
        self.key.build(keys_shape)
        self.value.build(values_shape)
        self.output_layer.build((None, self.width))

    def call(self, x, keys, values, mask):
        """`[rows, D]`, for rows x, keys and values of other rows `[S, ...]`, and a mask `[S]`.

        A mask `[rows, S]` says for each row of x which of the others it looks at.
        """
        return self.look(x, self.looked_up(keys, values), mask)

    def looked_up(self, keys, values):
        """What `look` takes of rows `[S, ...]`: `(k, v)`, `[heads, S, D / heads]` each.

        Keys are divided by the root of their width, for queries are more.
        """
        keys = self.key(keys) * (self.width // self.heads) ** -0.5
        return self._of_heads(keys), self._of_heads(self.value(values))

    def look(self, x, looked_up, mask):
        """As `call`, at rows of which `looked_up` has been computed."""
        keys, values = looked_up
        queries = self._of_heads(self.query(x))
        scores = tf.matmul(queries, keys, transpose_b=True)  # [heads, rows, S]
        # A sum, not a choice: its gradient costs nothing.
        scores += tf.where(mask > 0, tf.zeros((), scores.dtype), scores.dtype.min / 2)
        found = tf.matmul(tf.nn.softmax(scores), values)
        return self.output_layer(tf.reshape(tf.transpose(found, (1, 0, 2)), (-1, self.width)))

    def _of_heads(self, rows):
        """`[rows, D]` to `[heads, rows, D / heads]`."""
        parts = tf.reshape(rows, (-1, self.heads, self.width // self.heads))
        return tf.transpose(parts, (1, 0, 2))
