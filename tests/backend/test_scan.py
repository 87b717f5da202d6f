"""A loop over time, of one task and of all tasks at once."""

import numpy as np
import pytest
import tensorflow as tf

import tfmeta
from tfmeta.backend.calls import with_batch_axis
from tfmeta.backend.scan import scan

RANDOM = np.random.default_rng(0)
INPUTS = RANDOM.normal(size=(3, 4, 2))
MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 1, 1]], "float64")
WEIGHT = RANDOM.normal(size=(2, 2))


def step(weight):
    def one(x, state):
        h = tf.tanh(x + tf.matmul(state["h"], weight))
        return h, {"h": h, "steps": state["steps"] + 1}

    return one


def run(weight, inputs, mask):
    batch = tf.shape(inputs)[0]
    start = {"h": tf.zeros((batch, 2), tf.float64), "steps": tf.zeros((batch, 1), tf.int32)}
    return scan(step(weight), inputs, mask, start)


def by_hand(inputs, mask):
    h, steps, outputs = np.zeros(2), 0, []
    for x, real in zip(inputs, mask, strict=True):
        new = np.tanh(x + h @ WEIGHT)
        outputs.append(new)
        h, steps = (new, steps + 1) if real else (h, steps)
    return np.array(outputs), h, steps


@pytest.mark.parametrize("compiled", [False, True])
def test_steps_that_are_masked_leave_the_state(compiled):
    function = tf.function(run) if compiled else run
    outputs, state = function(tf.constant(WEIGHT), tf.constant(INPUTS), tf.constant(MASK))
    for i in range(3):
        expected, h, steps = by_hand(INPUTS[i], MASK[i])
        np.testing.assert_allclose(outputs[i], expected)
        np.testing.assert_allclose(state["h"][i], h)
        assert state["steps"][i] == steps


@pytest.mark.parametrize("mode", ["vectorize", "loop"])
def test_all_tasks_share_one_loop_and_its_gradient_is_right(mode):
    weight, traces = tf.Variable(WEIGHT), []

    def function(inputs, mask):
        traces.append(inputs.shape)
        return run(weight, inputs, mask)

    def task(element):
        scale, inputs, mask = element
        outputs, state = with_batch_axis(function, inputs * scale, mask)
        return tf.reduce_sum(outputs[-1] * state["h"]), state["steps"]

    @tf.function
    def gradients(scales):
        elements = scales, tf.constant(INPUTS), tf.constant(MASK)
        return tfmeta.ops.map_gradients(task, elements, [weight], mode)

    scales = np.array([1.0, 2.0, -1.0])
    steps, (found,) = gradients(tf.constant(scales))
    assert steps[:, 0].numpy().tolist() == [4, 2, 3]
    if mode == "vectorize":
        assert traces[-1] == (3, 4, 2)  # in the place of three loops

    def loss():
        outputs, state = run(weight, tf.constant(INPUTS * scales[:, None, None]), MASK)
        return tf.reduce_mean(tf.reduce_sum(outputs[:, -1] * state["h"], axis=1))

    with tf.GradientTape() as tape:
        value = loss()
    np.testing.assert_allclose(found, tape.gradient(value, weight), rtol=1e-9)


def test_what_is_the_same_for_all_tasks_is_repeated():
    shared = tf.constant(INPUTS[0])

    def task(mask):
        return with_batch_axis(lambda x, m: x * m[:, :, None], shared, mask)

    found = tf.function(lambda m: tfmeta.ops.map_tasks(task, m, "vectorize"))(tf.constant(MASK))
    np.testing.assert_allclose(found, INPUTS[:1] * MASK[:, :, None])
