"""A function that raises in a loop leaves the process as it was."""

import pytest
import tensorflow as tf

from tfmeta.loops import map_fn


def test_an_error_leaves_no_caching_device():
    def fails(row):
        raise ZeroDivisionError(row.name)

    with pytest.raises(ZeroDivisionError):
        tf.function(lambda x: map_fn(fails, x), autograph=False)(tf.ones([3]))
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():  # NotImplementedError before
        variable = tf.Variable(1.0)
    found = tf.function(lambda x: map_fn(lambda row: row * variable, x))(tf.ones([3]))
    assert found.shape == (3,)
