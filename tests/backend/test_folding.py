"""Convolutions with weights of each task's own: all tasks in one kernel equal a task at a time."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from tfmeta.backend.batch_norm import batch_norm
from tfmeta.backend.pooling import max_pool
from tfmeta.ops import map_tasks

TASKS, ROWS, SIDE, CHANNELS = 3, 4, 7, 2

BLOCKS = {
    "same": lambda x, w: tf.nn.conv2d(x, w["kernel"], 1, "SAME"),
    "strided": lambda x, w: tf.nn.conv2d(x, w["kernel"], 2, "SAME"),
    "valid": lambda x, w: tf.nn.conv2d(x, w["kernel"], 1, "VALID"),
    "shared kernel": lambda x, w: tf.nn.conv2d(
        conv(x, w), tf.ones((2, 2, 4, 5), x.dtype), 1, "SAME"
    ),
    "bias": lambda x, w: tf.nn.bias_add(conv(x, w), w["bias"]),
    "normalised": lambda x, w: batch_norm(conv(x, w), w["bias"], w["bias"], 1e-3)[0],
    "normalised, pooled": lambda x, w: batch_norm(conv(x, w), w["bias"], w["bias"], 0.1, True)[0],
    "rectified": lambda x, w: tf.nn.leaky_relu(tf.nn.relu(conv(x, w)) - 0.5),
    "elementwise": lambda x, w: tf.tanh(conv(x, w)) * w["bias"] / (1 + conv(x, w) ** 2),
    "by a number a task": lambda x, w: conv(x, w) * tf.reduce_sum(w["bias"]),
    "max pooling by slices": lambda x, w: max_pool(conv(x, w), 3, 1, "SAME"),
    "max pooling": lambda x, w: tf.nn.max_pool2d(conv(x, w), 2, 2, "VALID"),
    "average pooling": lambda x, w: tf.nn.avg_pool2d(conv(x, w), 3, 2, "SAME"),
    "mean over places": lambda x, w: tf.reduce_mean(conv(x, w), (1, 2)),
    "sum kept": lambda x, w: conv(x, w) - tf.reduce_mean(conv(x, w), (0, 1, 2), keepdims=True),
    "over channels": lambda x, w: (
        tf.nn.softmax(conv(x, w)) + tf.reduce_max(conv(x, w), -1)[..., None]
    ),
    "flattened": lambda x, w: tf.tanh(tf.reshape(conv(x, w), (ROWS, -1))),
    "residual": lambda x, w: conv(x, w) + tf.concat([x, x], -1),
    "stopped": lambda x, w: conv(x, w) * tf.stop_gradient(conv(x, w)),
    "two": lambda x, w: tf.nn.conv2d(
        tf.nn.relu(conv(x, w)), tf.transpose(w["kernel"], (0, 1, 3, 2)), 1, "SAME"
    ),
}


def conv(x, w):
    return tf.nn.conv2d(x, w["kernel"], 1, "SAME")


def elements(dtype):
    random = np.random.default_rng(0)

    def normal(*shape):
        return tf.constant(random.normal(size=shape), dtype)

    weights = {"kernel": 0.3 * normal(TASKS, 3, 3, CHANNELS, 4), "bias": normal(TASKS, 4)}
    return normal(TASKS, ROWS, SIDE, SIDE, CHANNELS), weights


def after_a_step(block, element):
    """A loss after one gradient step, and its gradient: two derivatives of every op."""
    x, weights = element
    with tf.GradientTape() as outer:
        outer.watch(weights)
        with tf.GradientTape() as inner:
            inner.watch((x, weights))
            loss = tf.reduce_mean(block(x, weights) ** 2)
        x_step, step = inner.gradient(loss, (x, weights), unconnected_gradients="zero")
        moved = tf.nest.map_structure(lambda w, g: w - 0.1 * g, weights, step)
        loss = tf.reduce_mean(tf.sin(block(x - 0.1 * x_step, moved)))
    return loss, outer.gradient(loss, weights, unconnected_gradients="zero")


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_folded_tasks_equal_single_tasks(name, dtype):
    fn = functools.partial(after_a_step, BLOCKS[name])
    found, expected = (
        tf.function(lambda e, mode=mode: map_tasks(fn, e, mode), autograph=False)(elements(dtype))
        for mode in ("fold", "loop")
    )
    tolerance = 1e-4 if dtype == "float32" else 1e-10
    for a, b in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_one_kernel_for_all_tasks():
    def kernels(nodes):
        return sum(node.op == "Conv2DBackpropFilter" for node in nodes)

    fn = tf.function(functools.partial(after_a_step, BLOCKS["normalised, pooled"]), autograph=False)
    one = tf.nest.map_structure(lambda t: t[0], elements("float32"))
    of_one_task = kernels(fn.get_concrete_function(one).graph.as_graph_def().node)
    step = tf.function(lambda e: map_tasks(fn.python_function, e, "fold"), autograph=False)
    graph = step.get_concrete_function(elements("float32")).graph.as_graph_def()
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    assert not any("While" in node.op for node in nodes)
    # Nothing of the graph that one task was traced in is left in the step's.
    assert kernels(nodes) == of_one_task


def test_assertions_of_a_task_are_kept():
    def checked(element):
        x, weights = element
        outputs = conv(x, weights)
        with tf.control_dependencies([tf.debugging.assert_less(outputs, -1e9)]):
            return tf.identity(outputs)

    run = tf.function(lambda e: map_tasks(checked, e, "fold"), autograph=False)
    with pytest.raises(tf.errors.InvalidArgumentError):
        run(elements("float32"))
