"""Tensor functions against slow NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta.ops import class_means, map_gradients, map_tasks, squared_euclidean


def test_distances():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(4, 3)), random.normal(size=(2, 3))
    expected = [[np.sum((x - y) ** 2) for y in b] for x in a]
    np.testing.assert_allclose(squared_euclidean(tf.constant(a), tf.constant(b)), expected)


def test_class_means_leave_padding_out():
    embeddings = np.random.default_rng(0).normal(size=(5, 2))
    labels, mask = [0, 2, 0, 2, 2], [1.0, 1.0, 1.0, 1.0, 0.0]
    means, present = class_means(tf.constant(embeddings), labels, tf.constant(mask), 3)
    np.testing.assert_allclose(means[0], embeddings[[0, 2]].mean(axis=0))
    np.testing.assert_allclose(means[2], embeddings[[1, 3]].mean(axis=0))
    np.testing.assert_array_equal(means[1], [0, 0])
    np.testing.assert_array_equal(present, [1, 0, 1])


@pytest.mark.parametrize("mode", ["vectorize", "loop", "eager"])
def test_maps_and_gradients(mode):
    weight = keras.Variable([2.0, 3.0], name="w")
    x = tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])

    def run(x):
        mapped = map_tasks(lambda t: {"double": 2 * t}, x, mode)
        loss = lambda t: (tf.reduce_sum(t * weight), (t, ()))  # noqa: E731
        return mapped, *map_gradients(loss, x, [weight], mode)

    mapped, results, (gradient,) = run(x) if mode == "eager" else tf.function(run)(x)
    np.testing.assert_allclose(mapped["double"], 2 * x)
    np.testing.assert_allclose(results[0], x)
    np.testing.assert_allclose(gradient, [3, 4])
    lost = keras.Variable(0.0, name="lost")
    with pytest.raises(ValueError, match=r"no gradient for \['lost'\]"):
        map_gradients(lambda t: (tf.reduce_sum(t), ()), x, [lost], mode)
