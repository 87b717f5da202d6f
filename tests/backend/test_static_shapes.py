"""Operations of all tasks with known shapes equal those of one task after the other."""

import numpy as np
import pytest
import tensorflow as tf

from tfmeta.backend.map_tasks import map_gradients, map_tasks

TASKS, ROWS, CLASSES = 3, 4, 5
SHARED = tf.constant(np.linspace(-1, 1, ROWS * CLASSES).reshape(ROWS, CLASSES), tf.float32)


def conv(x):
    return tf.nn.conv2d(x["image"], x["kernel"], 1, "SAME")


OPERATIONS = {
    "reshaped": lambda x: tf.reshape(x["row"], (CLASSES, -1)),
    "features reshaped": lambda x: tf.reshape(conv(x), (-1, 2)),
    "a kernel reshaped": lambda x: tf.squeeze(tf.reshape(x["kernel"], (1, 1, 1, -1, 2)), (0, 1, 2)),
    "axis added, and taken away": lambda x: tf.squeeze(conv(x)[:, None], 1),
    "sum": lambda x: tf.reduce_sum(x["row"], -1),
    "mean kept": lambda x: tf.reduce_mean(x["row"], 0, keepdims=True),
    "largest of all": lambda x: tf.reduce_max(x["row"]),
    "over axes of 64 bits": lambda x: tf.raw_ops.Sum(
        input=x["row"], axis=tf.constant([1], tf.int64), keep_dims=False
    ),
    "over channels": lambda x: tf.reduce_sum(conv(x), -1),
    "added to what is shared": lambda x: tf.add_n([x["row"], SHARED, x["row"], SHARED]),
    "shared alone": lambda x: tf.add_n([SHARED, SHARED]),
    "shape": lambda x: tf.cast(tf.raw_ops.ShapeN(input=[conv(x), x["row"]])[1], tf.float32),
    "cross-entropy": lambda x: tf.nn.sparse_softmax_cross_entropy_with_logits(x["y"], x["row"]),
    "gradient of a bias": lambda x: tf.raw_ops.BiasAddGrad(out_backprop=x["row"]),
    "in a condition": lambda x: tf.cond(
        tf.reduce_sum(x["row"]) > 0, lambda: conv(x), lambda: -2 * conv(x)
    ),
    "in a loop": lambda x: tf.while_loop(
        lambda i, total: i < 2, lambda i, total: (i + 1, total + conv(x)), (0, conv(x))
    )[1],
}


def elements():
    rng = np.random.default_rng(0)
    return {
        "image": tf.constant(rng.normal(size=(TASKS, ROWS, 3, 3, 2)), tf.float32),
        "kernel": tf.constant(rng.normal(size=(TASKS, 2, 2, 2, 2)), tf.float32),
        "row": tf.constant(rng.normal(size=(TASKS, ROWS, CLASSES)), tf.float32),
        "y": tf.constant(rng.integers(0, CLASSES, (TASKS, ROWS)), tf.int32),
    }


@pytest.mark.parametrize("mode", ["vectorize", "fold"])
def test_all_tasks_equal_one_after_the_other(mode):
    def task(element):
        return {name: operation(element) for name, operation in OPERATIONS.items()}

    found = tf.function(lambda e: map_tasks(task, e, mode), autograph=False)(elements())
    alone = map_tasks(task, elements(), mode)  # eagerly, a task at a time
    for name in OPERATIONS:
        np.testing.assert_allclose(found[name], alone[name], atol=1e-5, err_msg=name)


@pytest.mark.parametrize("mode", ["vectorize", "fold"])
def test_so_do_their_gradients(mode):
    scale = tf.Variable(1.3)
    # Of these TensorFlow's own conversion has no gradient.
    without = "in a loop", "in a condition", "over axes of 64 bits"
    names = [name for name in OPERATIONS if name not in without]

    def task(element):
        element = {k: t * scale if t.dtype.is_floating else t for k, t in element.items()}
        results = [OPERATIONS[name](element) for name in names]
        return tf.add_n([tf.reduce_sum(r**2) for r in results]), ()

    def gradient(elements):
        return map_gradients(task, elements, [scale], mode)[1]

    found = tf.function(gradient, autograph=False)(elements())[0]
    alone = gradient(elements())[0]
    np.testing.assert_allclose(found, alone, rtol=1e-5)
