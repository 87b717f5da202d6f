"""The LSTM learner: its cells are Keras's, and NumPy's, step by step."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf

from tfmeta.learners import LSTMLearner
from tfmeta.learners.context.recurrence import Cell, LSTMCell


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def made(cell="lstm"):
    keras.utils.set_random_seed(0)
    learner, episodes = LSTMLearner(units=4, cell=cell), tasks.regression()
    learner.prepare(tasks.dataset(episodes, 1))
    for weight in learner.recurrence.weights:  # no bias is left at zero
        weight.assign(weight + 0.1 * np.random.default_rng(0).normal(size=weight.shape))
    return learner, tasks.one(episodes.support)


def inputs_of(sequence):
    late = np.concatenate([np.zeros((1, 1)), sequence.y[:-1]])
    return np.concatenate([sequence.x, late], axis=1).astype("float32")


def test_lstm_steps_are_those_of_numpy():
    learner, sequence = made()
    cell, head = learner.recurrence, learner.head.dense
    kernel, recurrent, bias = map(np.array, (cell.kernel, cell.recurrent, cell.bias))
    h = c = np.zeros(4)
    expected = []
    for x in inputs_of(sequence):
        i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        expected.append(h @ np.array(head.kernel) + np.array(head.bias))
    np.testing.assert_allclose(learner.predict_sequence(sequence), expected, atol=1e-6)
    state, target = learner.adapt(sequence)
    np.testing.assert_allclose(state, [h, c], atol=1e-6)
    np.testing.assert_array_equal(target, sequence.y[-1])


def test_gru_steps_are_those_of_numpy():
    learner, sequence = made("gru")
    cell = learner.recurrence
    kernel, recurrent, bias = map(np.array, (cell.kernel, cell.recurrent, cell.bias))
    h = np.zeros(4)
    for x in inputs_of(sequence):
        z, r, new = np.split(x @ kernel + bias, 3)
        z_h, r_h, new_h = np.split(h @ recurrent + np.array(cell.recurrent_bias), 3)
        z, r = sigmoid(z + z_h), sigmoid(r + r_h)
        h = z * h + (1 - z) * np.tanh(new + r * new_h)
    np.testing.assert_allclose(learner.adapt(sequence).state[0], h, atol=1e-6)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_cells_are_those_of_keras(cell):
    learner, sequence = made(cell)
    layer = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}[cell](4)
    inputs = inputs_of(sequence)[None]
    layer.build(inputs.shape)
    weights = [np.array(w) for w in learner.recurrence.weights]
    layer.set_weights(
        weights if cell == "lstm" else [*weights[:2], np.stack([weights[2], weights[3]])]
    )
    np.testing.assert_allclose(learner.adapt(sequence).state[0], layer(inputs)[0], atol=1e-6)


@pytest.mark.parametrize("compiled", [False, True])
def test_all_steps_have_the_derivatives_of_single_steps(compiled):
    random = np.random.default_rng(0)
    cell = LSTMCell(3, dtype="float64")
    cell.build((None, 2))
    x, along = (tf.constant(random.normal(size=shape)) for shape in ((17, 4, 2), (3, 12)))
    mask = tf.cast(tf.range(4) < tf.constant([[4]] * 9 + [[2]] * 8), tf.float64)

    def derivatives(over):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            outputs, (h, c) = over(cell, x, mask)
            loss = tf.reduce_sum(tf.sin(outputs) * mask[..., None])
            loss += tf.reduce_sum(h * h) + tf.reduce_sum(tf.cos(c))
            first = tape.gradient(loss, [x, *cell.trainable_variables])
            of_first = tf.reduce_sum(first[0] ** 2) + tf.reduce_sum(first[2] * along)
        return [loss, *first, *tape.gradient(of_first, [x, *cell.trainable_variables])]

    run = tf.function(derivatives, autograph=False) if compiled else derivatives
    for found, expected in zip(run(LSTMCell.over), run(Cell.over), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_the_forget_gate_starts_open():
    keras.utils.set_random_seed(0)
    learner = LSTMLearner(units=2)
    learner.prepare(tasks.dataset(tasks.regression(), 1))
    np.testing.assert_array_equal(learner.recurrence.bias, [0, 0, 1, 1, 0, 0, 0, 0])


def test_a_cell_of_no_name():
    with pytest.raises(ValueError, match=r"Expected cell in .*'lstm', 'gru'.*Received: 'rnn'"):
        LSTMLearner(cell="rnn")
    with pytest.raises(ValueError, match="Expected units to be an integer of at least 1"):
        LSTMLearner(units=0)
