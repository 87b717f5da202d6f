"""A recurrent network that learns by its state: the LSTM learner, and with GRU."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.backend.calls import with_batch_axis
from tfmeta.backend.scan import scan
from tfmeta.learners.context.sequence import SequenceLearner, for_each, last_real, one_step_late


class Recalled(NamedTuple):
    """What `LSTMLearner.adapt` returns.

    Attributes:
        state: of the cell, after the support rows: a tuple of tensors.
        target: of the last support row, which comes with the next row, `[d]`.
    """

    state: Any
    target: Any


class RecurrentLearner(SequenceLearner):
    """Base of the learners that read `[x_t, y_{t-1}]` into the state of a cell.

    A subclass has `self.recurrence`, a Keras layer with `start(batch, dtype)`, the first state;
    `project(inputs)`, what inputs alone contribute, of all steps at once; and
    `step(projected, state)`, which returns `(outputs, state)`.
    """

    def read(self, x, y, mask, training=False):
        inputs = tf.concat([x, one_step_late(y)], axis=-1)
        if not self.recurrence.built:
            self.recurrence.build((None, inputs.shape[-1]))
        hidden, state = with_batch_axis(self._run, inputs, mask)
        return self.head(hidden, y), Recalled(state, last_real(y, mask))

    def answer(self, memory, x, training=False):
        state, target = for_each(x, tuple(memory))
        hidden, _ = self.recurrence.step(
            self.recurrence.project(tf.concat([x, target], axis=-1)), state
        )
        return self.head(hidden)

    def _run(self, inputs, mask):
        start = self.recurrence.start(tf.shape(inputs)[0], inputs.dtype)
        return scan(self.recurrence.step, self.recurrence.project(inputs), mask, start)


@keras.saving.register_keras_serializable("tfmeta")
class LSTMLearner(RecurrentLearner):
    """Read examples and their labels into the state of an LSTM, which is all that is adapted.

    With features `f(x_t)` of row t and the target `y_{t-1}` of the row before, which is zero at the
    first row, an LSTM (or GRU) of `H` units reads

        h_t, c_t = LSTM([f(x_t), y_{t-1}], h_{t-1}, c_{t-1}),    outputs_t = W h_t + b

    over the support rows in their order. A query row is read as the row after the last one, from
    the same state. Labels are one-hot.

    Meta-learned: all weights, which hold how to learn. Adapted: the state; no weight changes.

    Differs from the paper: what Hochreiter et al. feed in is the same, but for functions, and they
    train along one long sequence of several tasks; here the state is new in each task. Santoro et
    al. train `score_support=True` as here, on sequences of 50 rows (`tfmeta.episodes.sequence`).

    Args:
        network: a `keras.Model` that maps inputs to features `[rows, F]` (more axes are
            flattened), or None for the inputs as they are, flattened. For pictures one with
            normalisation: nothing was learned from the small features of `conv4(..., norm=None)`.
        cell: "lstm" or "gru".
        units: `H`. Santoro et al.: 200.
        ways: number of classes that labels may name; not used where targets are numbers.
        score_support: True trains each support row's prediction from the rows before it, too.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        Hochreiter, Younger and Conwell, "Learning to Learn Using Gradient Descent", ICANN 2001;
        Santoro et al., "Meta-Learning with Memory-Augmented Neural Networks", ICML 2016, section 4
        (the LSTM there is the baseline).
    """

    def __init__(
        self, network=None, *, cell="lstm", units=200, ways=5, score_support=True, **kwargs
    ):
        super().__init__(network, ways=ways, score_support=score_support, **kwargs)
        if cell not in CELLS:
            raise ValueError(f"Expected cell in {tuple(CELLS)}. Received: {cell!r}.")
        self.cell, self.units = cell, check_integer("units", units, 1)
        self.recurrence = CELLS[cell](self.units, dtype=self.dtype_policy)

    @classmethod
    def search_space(cls, hp):
        """Arguments of the constructor, drawn with the `hp` of keras-tuner."""
        return {
            "cell": hp.Choice("cell", list(CELLS)),
            "units": hp.Int("units", 32, 512, sampling="log", default=200),
        }


class Cell(keras.layers.Layer):
    """Base of recurrent cells: weights as in Keras's, gates of all inputs in one product."""

    gates = 1

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.make(input_shape[-1], self.units)

    def make(self, inputs, recurrent):
        """The weights, for inputs and for what comes back, of these widths."""
        width = self.gates * self.units
        self.kernel = self.add_weight((inputs, width), "glorot_uniform", name="kernel")
        self.recurrent = self.add_weight((recurrent, width), "orthogonal", name="recurrent")
        self.bias = self.add_weight((width,), self.first_bias, name="bias")

    def first_bias(self, shape, dtype=None):
        """Zeros."""
        return tf.zeros(shape, dtype)

    def project(self, inputs):
        """`x W + b`, `[..., gates H]`, in the dtype of the weights."""
        return tf.tensordot(inputs, self.kernel, 1) + self.bias


class LSTMCell(Cell):
    """Hochreiter and Schmidhuber's, with a forget gate, whose bias starts at 1."""

    gates = 4

    def first_bias(self, shape, dtype=None):
        gate = tf.zeros(self.units, dtype)
        return tf.concat([gate, gate + 1, gate, gate], axis=0)

    def start(self, batch, dtype):
        zeros = tf.zeros((batch, self.units), dtype)
        return zeros, zeros

    def step(self, projected, state):
        h, c = state
        return self.gate(projected + tf.matmul(h, self.recurrent), c)

    def gate(self, z, c):
        """`(h, (h, c))`, from what the gates are given, `[B, 4 H]`, and the last `c`."""
        i, f, g, o = tf.split(z, 4, axis=-1)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
        h = tf.sigmoid(o) * tf.tanh(c)
        return h, (h, c)


class GRUCell(Cell):
    """Cho's, with the reset gate after the product, as Keras's by default."""

    gates = 3

    def make(self, inputs, recurrent):
        super().make(inputs, recurrent)
        self.recurrent_bias = self.add_weight((3 * self.units,), "zeros", name="recurrent_bias")

    def start(self, batch, dtype):
        return (tf.zeros((batch, self.units), dtype),)

    def step(self, projected, state):
        h = state[0]
        z, r, new = tf.split(projected, 3, axis=-1)
        back = tf.matmul(h, self.recurrent) + self.recurrent_bias
        z_back, r_back, new_back = tf.split(back, 3, axis=-1)
        z, r = tf.sigmoid(z + z_back), tf.sigmoid(r + r_back)
        h = z * h + (1 - z) * tf.tanh(new + r * new_back)
        return h, (h,)


CELLS = {"lstm": LSTMCell, "gru": GRUCell}
