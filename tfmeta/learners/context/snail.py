"""SNAIL: temporal convolutions and attention over the sequence of examples."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.engine.saving import default_argument
from tfmeta.learners.context.causal_attention import attend, seen_before
from tfmeta.learners.context.sequence import SequenceLearner
from tfmeta.learners.gaussian import full_precision


class Reading(NamedTuple):
    """What `SNAIL.adapt` returns.

    Attributes:
        blocks: for each block what later rows look up in it: convolved rows, or keys and values.
        rows: the number of support rows, a scalar.
    """

    blocks: Any
    rows: Any


@keras.saving.register_keras_serializable("tfmeta")
class SNAIL(SequenceLearner):
    """Interleave causal convolutions over the examples with attention to any one of them.

    Each support row is `[f(x_t), y_t]`, a query row `[f(x), 0]` at the place after them. On top:

        attention, convolutions, attention, convolutions, attention, dense layer

    Each block puts what it finds beside its input, so that rows grow wider:

        attention:     [z, softmax(q k^T / sqrt(K)) v]        over the rows before, and itself
        convolutions:  for d = 1, 2, 4, ..: z = [z, tanh(a) * sigmoid(b)], with
                       a, b = dense layers of the rows at t and at t - d

    Each row's prediction is that of a query row in its place, so that no row sees its own label.
    Support rows are read once; a query row looks up what was made of them.

    Meta-learned: all weights. Adapted: keys, values and convolved rows of the support set.

    Differs from the paper: the paper trains the prediction of the last row alone, which is
    `score_support=False`; its pseudocode's convolutions begin at d = 2, of which no odd distance
    can be made, those of its figure, and ours, at 1.

    Args:
        network: a `keras.Model` that maps inputs to features `[rows, F]` (more axes are
            flattened), or None for the inputs as they are, flattened. The paper: four
            convolutional blocks and a dense layer to 64 for Omniglot.
        length: the rows, query included, that convolutions reach over: `log2(length)` of them are
            made a block. A longer sequence works, too: attention reaches all of it.
        filters: of each convolution. The paper: 128.
        attention: the widths `(K, V)` of the three attention blocks. The paper's are the default.
        ways: number of classes that labels may name; not used where targets are numbers.
        score_support: True trains each support row's prediction from the rows before it, too.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        Mishra, Rohaninejad, Chen and Abbeel, "A Simple Neural Attentive Meta-Learner", ICLR 2018,
        arXiv:1707.03141, section 3 and appendix A.
    """

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        length: float = 32,
        filters: int = 128,
        attention: Sequence[tuple[int, int]] = ((64, 32), (256, 128), (512, 256)),
        ways: int = 5,
        score_support: bool = True,
        **kwargs,
    ):
        super().__init__(network, ways=ways, score_support=score_support, **kwargs)
        self.length = check_integer("length", length, 2)
        self.filters = check_integer("filters", filters, 1)
        self.attention = check_attention(attention)
        self.blocks = self._made_blocks()

    def _made_blocks(self):
        dtype = {"dtype": self.dtype_policy}
        distances = [2**i for i in range(math.ceil(math.log2(self.length)))]
        first, *others = [Attention(*widths, **dtype) for widths in self.attention]
        blocks = [first]
        for block in others:
            blocks += [Convolution(self.filters, d, **dtype) for d in distances] + [block]
        return blocks

    @classmethod
    def search_space(cls, hp):
        """Arguments of the constructor, drawn with the `hp` of keras-tuner."""
        return {
            "filters": hp.Int(
                "filters", 16, 256, sampling="log", default=default_argument(cls, "filters")
            )
        }

    def read(self, x, y, mask, training=False):
        rows = y.shape[0] or tf.shape(y)[0]
        places, memories = tf.range(rows), []
        z = tf.concat([x, y], axis=-1)
        for block in self.blocks:
            z, memory = block(z, None, places)
            memories.append(memory)
        number = tf.cast(tf.reduce_sum(mask), tf.int32)
        reading = Reading(tuple(memories), number)
        return self.head(self._look_up(reading, x, places, y), y), reading

    def answer(self, memory, x, training=False):
        places = memory.rows + tf.zeros_like(x[:, 0], tf.int32)
        return self.head(self._look_up(memory, x, places))

    def _look_up(self, memory, x, places, y=None):
        """What the blocks make of rows at places, with zeros for their targets."""
        width = self.head.dense.units if y is None else y.shape[-1]
        z = tf.pad(x, [[0, 0], [0, width]])
        for block, looked_up in zip(self.blocks, memory.blocks, strict=True):
            z, _ = block(z, looked_up, places)
        return z


class Attention(keras.layers.Layer):
    """Attention of one head, beside its input, which grows by `added`.

    What is kept of a row for later ones are tensors of the shapes `remembered`.
    """

    def __init__(self, key_width, value_width, **kwargs):
        super().__init__(**kwargs)
        self.widths = [key_width, key_width, value_width]
        self.added = value_width
        self.remembered = [(1, key_width), (1, value_width)]
        self.projection = keras.layers.Dense(sum(self.widths), dtype=self.dtype_policy)

    def build(self, z_shape):
        self.projection.build(z_shape)

    def call(self, z, memory, places):
        """Rows `[M, C]` to `([M, C + V], own)`, their own keys and values.

        The memory is those of the rows that were read; None where the rows read each other.
        """
        projected = full_precision(self.projection(z))[:, None]
        query, *own = tf.split(projected, self.widths, axis=-1)
        memory = own if memory is None else memory
        seen = seen_before(places, memory[0].shape[0] or tf.shape(memory[0])[0])
        return tf.concat([z, attend(query, *own, memory, seen)[:, 0]], axis=-1), tuple(own)


class Convolution(keras.layers.Layer):
    """A gated causal convolution of two rows at a distance, beside its input, as `Attention`."""

    def __init__(self, filters, distance, **kwargs):
        super().__init__(**kwargs)
        self.distance, self.added = distance, filters
        self.remembered = [(2 * filters,)]
        self.now = keras.layers.Dense(2 * filters, dtype=self.dtype_policy)
        self.before = keras.layers.Dense(2 * filters, use_bias=False, dtype=self.dtype_policy)

    def build(self, z_shape):
        self.now.build(z_shape)
        self.before.build(z_shape)

    def call(self, z, memory, places):
        """Rows `[M, C]` to `([M, C + filters], own)`, as in `Attention`."""
        own = full_precision(self.before(z))
        memory = own if memory is None else memory
        rows = memory.shape[0] or tf.shape(memory)[0]
        # Rows before the first are zeros, which is what a place below 0 is in one-hot.
        back = tf.one_hot(places - self.distance, rows, dtype=memory.dtype)
        a, b = tf.split(full_precision(self.now(z)) + tf.matmul(back, memory), 2, axis=-1)
        return tf.concat([z, tf.tanh(a) * tf.sigmoid(b)], axis=-1), own


def check_attention(widths):
    """Pairs of widths as a tuple; a ValueError unless they are pairs of integers from 1."""
    if not isinstance(widths, tuple | list) or not widths:
        raise ValueError(
            f"Expected attention to be pairs (K, V), such as ((64, 32), (256, 128)). Received: "
            f"{widths!r}."
        )
    for pair in widths:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ValueError(f"Expected attention to be pairs (K, V). Received: {pair!r}.")
    return tuple(tuple(check_integer("each width in attention", w, 1) for w in p) for p in widths)
