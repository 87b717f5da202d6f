"""Recurrent cells, and how a learner reads rows into the state of one."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.backend.calls import with_batch_axis
from tfmeta.backend.scan import scan
from tfmeta.backend.solve import is_elementary
from tfmeta.learners.context.lstm_steps import lstm_steps
from tfmeta.learners.context.sequence import for_each, last_real, one_step_late


class Recalled(NamedTuple):
    """What a learner whose memory is the state of a cell returns from `adapt`.

    Attributes:
        state: of the cell, after the support rows: a tuple of tensors.
        target: of the last support row, which comes with the next row, `[d]`.
    """

    state: Any
    target: Any


def read(learner, x, y, mask):
    """`SequenceLearner.read` of a learner that reads `[x_t, y_{t-1}]` into the state of a cell.

    Args:
        learner: has `recurrence`, a `Cell`.
        x, y, mask: as in `SequenceLearner.read`.

    Returns:
        `(outputs, memory)`: `[S, d]` and `Recalled`.
    """
    cell, inputs = learner.recurrence, tf.concat([x, one_step_late(y)], axis=-1)
    if not cell.built:
        cell.build((None, inputs.shape[-1]))

    def run(inputs, mask):
        return cell.over(inputs, mask)

    hidden, state = with_batch_axis(run, inputs, mask)
    return learner.head(hidden, y), Recalled(state, last_real(y, mask))


def answer(learner, memory, x):
    """`SequenceLearner.answer` of such a learner: outputs `[M, d]`, each row the next one."""
    state, target = for_each(x, tuple(memory))
    projected = learner.recurrence.project(tf.concat([x, target], axis=-1))
    return learner.head(learner.recurrence.step(projected, state)[0])


class Cell(keras.layers.Layer):
    """Base of recurrent cells: weights as in Keras's, gates of all inputs in one product.

    A subclass has `start(batch, dtype)`, the first state, and `step(projected, state)`, which
    returns `(outputs, state)` from what `project` makes of inputs.
    """

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

    def over(self, inputs, mask):
        """Read sequences from their first steps on.

        Args:
            inputs: `[B, T, F]`.
            mask: `[B, T]`, ones, then zeros.

        Returns:
            `(outputs, state)`: `[B, T, H]`, and the state after the last step whose mask is 1.
        """
        start = self.start(tf.shape(inputs)[0], inputs.dtype)
        return scan(self.step, self.project(inputs), mask, start)


class LSTMCell(Cell):
    """Hochreiter and Schmidhuber's, with a forget gate, whose bias starts at 1."""

    gates = 4

    def first_bias(self, shape, dtype=None):
        gate = tf.zeros(self.units, dtype)
        return tf.concat([gate, gate + 1, gate, gate], axis=0)

    def start(self, batch, dtype):
        zeros = tf.zeros((batch, self.units), dtype)
        return zeros, zeros

    def over(self, inputs, mask):
        if is_elementary():  # LiteRT does not run those loops, and wants no gradient
            return super().over(inputs, mask)
        projected = self.project(tf.transpose(inputs, [1, 0, 2]))
        h, c = lstm_steps(projected, tf.convert_to_tensor(self.recurrent))
        last = tf.transpose(mask - tf.concat([mask[:, 1:], tf.zeros_like(mask[:, :1])], axis=1))
        state = tuple(tf.reduce_sum(t * last[..., None], axis=0) for t in (h, c))
        return tf.transpose(h, [1, 0, 2]), state

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
