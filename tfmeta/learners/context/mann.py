"""MANN: a memory-augmented neural network with least recently used access."""

import keras
import tensorflow as tf

from tfmeta.arguments import check_flag, check_integer, check_number
from tfmeta.engine.saving import default_argument
from tfmeta.learners.context import recurrence
from tfmeta.learners.context.sequence import SequenceLearner


@keras.saving.register_keras_serializable("tfmeta")
class MANN(SequenceLearner):
    """Write examples bound to their labels into an external memory, and read them by similarity.

    An LSTM controller reads `[f(x_t), y_{t-1}, r_{t-1}]`, features, the target of the row before
    and what the heads read then. Its output `h_t` gives each of `R` heads a key `k`, what it writes
    `a`, both through a tanh, and a gate `g = sigmoid(.)`. With the memory `M` `[N, W]`:

        w^r_t = softmax over i of cos(k, M_{t-1}(i))
        w^w_t = g w^r_{t-1} + (1 - g) w^lu_{t-1}
        M_t   = M_{t-1}, its least used row set to 0, + sum over heads of w^w_t a^T
        r_t   = w^r_t M_t,    outputs_t = W [h_t, r_t] + b
        w^u_t = d w^u_{t-1} + sum over heads of w^r_t + w^w_t

    `w^lu` is 1 at the `R` rows with the smallest `w^u`, and 0 elsewhere. A query row is read as the
    row after the last support row; it writes into a memory of its own, which is not kept.

    Meta-learned: all weights. Adapted: the memory, the weightings and the controller's state. The
    memory begins each task empty: `fit` has no slots to watch, as those of `ParameterMemory`.

    Differs from the paper: in it `a` is the key itself, and what the heads read is not fed back.
    Both are as in the code that the figures of `tfmeta`'s comparison come from; the authors' own is
    not public. `write_keys=True` is the paper's way.

    Args:
        network: a `keras.Model` that maps inputs to features `[rows, F]` (more axes are
            flattened), or None for the inputs as they are, flattened. For pictures one with
            normalisation: nothing was learned from the small features of `conv4(..., norm=None)`.
        units: width of the controller. The paper: 200.
        memory_rows: `N`. The paper: 128.
        memory_width: `W`. The paper: 40.
        heads: `R`, of reading and of writing. The paper: 4.
        usage_decay: `d`, > 0 and < 1. The paper's search: 0.99; the code: 0.95.
        write_keys: True writes the keys that are read with, False what is made for writing.
        ways: number of classes that labels may name; not used where targets are numbers.
        score_support: True trains each support row's prediction from the rows before it, too.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        Santoro et al., "Meta-Learning with Memory-Augmented Neural Networks", ICML 2016, section 3,
        equations 2 to 8; `ntm/mann_cell.py` of snowkylin/ntm.
    """

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        units: int = 200,
        memory_rows: int = 128,
        memory_width: int = 40,
        heads: int = 4,
        usage_decay: float = 0.95,
        write_keys: bool = False,
        ways: int = 5,
        score_support: bool = True,
        **kwargs,
    ):
        super().__init__(network, ways=ways, score_support=score_support, **kwargs)
        self.units = check_integer("units", units, 1)
        self.memory_rows = check_integer("memory_rows", memory_rows, 1)
        self.memory_width = check_integer("memory_width", memory_width, 1)
        self.heads = check_integer("heads", heads, 1)
        if self.heads > self.memory_rows:
            raise ValueError(
                f"Expected heads <= memory_rows, {memory_rows}. Received: heads={heads}."
            )
        self.usage_decay = check_number("usage_decay", usage_decay)
        if self.usage_decay >= 1:
            raise ValueError(f"Expected usage_decay < 1. Received: {usage_decay!r}.")
        self.write_keys = check_flag("write_keys", write_keys)
        sizes = self.memory_rows, self.memory_width, self.heads
        self.recurrence = MemoryCell(
            self.units, *sizes, self.usage_decay, write_keys, dtype=self.dtype_policy
        )

    def fixed_arguments(self):
        return {"heads", "memory_rows", "memory_width", "units", "usage_decay", "write_keys"}

    def read(self, x, y, mask, training=False):
        return recurrence.read(self, x, y, mask)

    def answer(self, memory, x, training=False):
        return recurrence.answer(self, memory, x)

    @classmethod
    def search_space(cls, hp):
        """Arguments of the constructor, drawn with the `hp` of keras-tuner."""
        return {
            "units": hp.Int(
                "units", 32, 512, sampling="log", default=default_argument(cls, "units")
            ),
            "memory_rows": hp.Int(
                "memory_rows", 16, 256, sampling="log", default=default_argument(cls, "memory_rows")
            ),
            "memory_width": hp.Int(
                "memory_width",
                8,
                128,
                sampling="log",
                default=default_argument(cls, "memory_width"),
            ),
        }


class MemoryCell(recurrence.LSTMCell):
    """The controller and its memory: state `(h, c, r [R W], M [N, W], w^r [R, N], w^u [N])`."""

    over = recurrence.Cell.over  # step by step: a step is more than that of the controller

    def __init__(self, units, rows, width, heads, decay, write_keys, **kwargs):
        super().__init__(units, **kwargs)
        self.rows, self.width, self.heads = rows, width, heads
        self.decay, self.write_keys = decay, write_keys

    def build(self, input_shape):
        self.make(input_shape[-1], self.units + self.heads * self.width)
        self.widths = [self.width, 1] if self.write_keys else [self.width, self.width, 1]
        size = self.heads * sum(self.widths)
        near_zero = keras.initializers.RandomUniform(-0.1, 0.1)
        self.heads_kernel = self.add_weight((self.units, size), near_zero, name="heads_kernel")
        self.heads_bias = self.add_weight((size,), near_zero, name="heads_bias")

    def start(self, batch, dtype):
        def of(value, *shape):
            return tf.fill((batch, *shape), tf.cast(value, dtype))

        first = tf.one_hot(0, self.rows, dtype=dtype)
        memory = of(1e-6, self.rows, self.width)
        reads = of(0.0, self.heads * self.width)
        weightings = of(1.0, self.heads, self.rows) * first
        return *super().start(batch, dtype), reads, memory, weightings, weightings[:, 0]

    def step(self, projected, state):
        h, c, reads, memory, w_read, usage = state
        back = tf.matmul(tf.concat([h, reads], axis=-1), self.recurrent)
        h, (_, c) = self.gate(projected + back, c)
        key, add, gate = self._head_parameters(h)
        order = tf.math.top_k(-usage, self.heads).indices  # the least used first
        spots = tf.one_hot(order, self.rows, dtype=usage.dtype)  # [B, R, N]
        least_used = tf.reduce_sum(spots, axis=1, keepdims=True)
        w_write = gate * w_read + (1 - gate) * least_used
        w_read = tf.nn.softmax(_cosines(key, memory))
        memory *= 1 - spots[:, 0, :, None]
        memory += tf.matmul(w_write, add, transpose_a=True)
        usage = self.decay * usage + tf.reduce_sum(w_read + w_write, axis=1)
        reads = tf.reshape(tf.matmul(w_read, memory), (-1, self.heads * self.width))
        outputs = tf.concat([h, reads], axis=-1)
        return outputs, (h, c, reads, memory, w_read, usage)

    def _head_parameters(self, h):
        """Keys and what is written, `[B, R, W]`, and gates `[B, R, 1]`."""
        parameters = tf.matmul(h, self.heads_kernel) + self.heads_bias
        parameters = tf.reshape(parameters, (-1, self.heads, sum(self.widths)))
        *vectors, gate = tf.split(parameters, self.widths, axis=-1)
        vectors = [tf.tanh(v) for v in vectors]
        return vectors[0], vectors[-1], tf.sigmoid(gate)


def _cosines(keys, memory):
    """Of every key `[B, R, W]` and every row of the memory `[B, N, W]`: `[B, R, N]`."""
    # A key's or a row's length may be 0, where a square root has no derivative.
    keys, memory = (tf.math.l2_normalize(t, axis=-1, epsilon=1e-16) for t in (keys, memory))
    return tf.matmul(keys, memory, transpose_b=True)
