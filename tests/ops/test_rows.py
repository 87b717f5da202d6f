"""One row by a product with a one-hot vector, against indexing."""

import numpy as np
import pytest
import tensorflow as tf

from tfmeta.ops import map_tasks, row

VALUES = np.random.default_rng(0).normal(size=(4, 3, 2))


@pytest.mark.parametrize("index", [0, 3, tf.constant(2)])
def test_it_is_the_row_and_its_gradient_a_one(index):
    values = tf.constant(VALUES)
    with tf.GradientTape() as tape:
        tape.watch(values)
        found = row(values, index)
        total = tf.reduce_sum(found)
    np.testing.assert_array_equal(found, VALUES[int(index)])
    expected = np.zeros_like(VALUES)
    expected[int(index)] = 1
    np.testing.assert_array_equal(tape.gradient(total, values), expected)


@pytest.mark.parametrize("index", [-1, 4])
def test_there_is_no_such_row(index):
    np.testing.assert_array_equal(row(VALUES, index), np.zeros((3, 2)))


def test_in_all_tasks_at_once_with_an_index_of_each():
    run = tf.function(lambda i: map_tasks(lambda t: row(VALUES, t), i, "vectorize"))
    np.testing.assert_array_equal(run(tf.constant([2, 0, 3])), VALUES[[2, 0, 3]])
