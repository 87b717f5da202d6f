"""Functions that all tasks call: each is converted once, and so is an inner step."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf

import tfmeta
from tfmeta.backend import calls
from tfmeta.ops import map_tasks


@pytest.fixture
def conversions(monkeypatch):
    """The names of the functions that are converted, one for each conversion."""
    found, convert = [], calls._converted

    def converted(op, function, *arguments):
        found.append(function.name)
        return convert(op, function, *arguments)

    monkeypatch.setattr(calls, "_converted", converted)
    return found


def test_values_of_a_tasks_own_are_what_they_were():
    shared = tf.constant([[1.0, 2.0]])

    def task(x):
        own, more = calls.of_each_task((shared, tf.constant(3)), like=x)
        return own * x, more

    x = tf.constant([1.0, 10.0, 100.0])
    for mode in ("vectorize", "fold", "loop"):
        product, more = tf.function(lambda x, mode=mode: map_tasks(task, x, mode))(x)
        np.testing.assert_array_equal(product, x[:, None, None] * shared[None])
        np.testing.assert_array_equal(more, [3, 3, 3])


@pytest.mark.parametrize("steps", [2, 5])
def test_a_step_and_its_gradient_are_converted_once(conversions, steps):
    network = keras.Sequential([
        keras.Input((8, 8, 1)),
        keras.layers.Conv2D(4, 3, strides=2),
        keras.layers.BatchNormalization(),
        keras.layers.Flatten(),
        keras.layers.Dense(3),
    ])  # fmt: skip
    learner = tfmeta.learners.MAML(network, inner_steps=steps, task_batching="vectorize")
    learner.compile("adam", tasks.CROSSENTROPY, jit_compile=False)
    learner.train_on_batch(tasks.images(tasks=3, shots=2, size=8))
    assert len(conversions) == 2, conversions


def test_a_step_of_maml_plus_plus_and_its_query_loss_are_converted_once(conversions):
    learner = tfmeta.learners.MAMLPlusPlus(tasks.dense(), inner_steps=5)
    learner.compile("adam", "mse", jit_compile=False)
    learner.train_on_batch(tasks.regression(tasks=3))
    # The tape is outside of the map over dense tasks: there are no gradients to convert.
    assert len(set(conversions)) == len(conversions) == 2, conversions
