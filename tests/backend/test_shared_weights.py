"""Learners whose tasks share their weights: normalisation as Keras's, fused, averages included."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf

from tfmeta.backend.batching import batching_mode
from tfmeta.learners import ProtoNet


def network(dtype, frozen):
    keras.utils.set_random_seed(0)
    layers = [keras.Input((9, 8, 1), dtype=dtype)]
    for momentum in (0.9, 0.5):
        layers += [
            keras.layers.Conv2D(4, 3, padding="same", dtype=dtype),
            keras.layers.BatchNormalization(momentum=momentum, dtype=dtype),
            keras.layers.ReLU(dtype=dtype),
            keras.layers.MaxPooling2D(dtype=dtype),
        ]
    layers[2].gamma_initializer = keras.initializers.Constant(-1.5)
    layers[6].trainable = not frozen
    return keras.Sequential([*layers, keras.layers.Flatten(dtype=dtype)])


def episodes(dtype, count):
    random = np.random.default_rng(0)
    episode = tasks.images(count, shots=2, size=9, dtype=dtype)
    cut = lambda part: part._replace(x=part.x[:, :, :, :8] + random.normal())  # noqa: E731
    return type(episode)(*map(cut, episode))


def step(dtype, count, batching, eagerly, frozen=False):
    """Loss, gradients, and weights after a step; the operations of a compiled step."""
    learner = ProtoNet(network(dtype, frozen), task_batching=batching)
    learner.compile(keras.optimizers.SGD(0.1), tasks.CROSSENTROPY, run_eagerly=eagerly)
    data = episodes(dtype, count)
    learner.prepare(tasks.dataset(data, 1))
    run = learner.train_step if eagerly else tf.function(learner.train_step, autograph=False)
    learner.optimizer.build(learner.trainable_variables)
    logs, operations = run(data), []
    if not eagerly:
        operations = [op.type for op in run.get_concrete_function(data).graph.get_operations()]
    return [logs["loss"], *learner.variables], operations


@pytest.mark.parametrize(
    ("count", "dtype", "frozen"),
    [(1, "float64", False), (2, "float64", False), (1, "float32", True)],
)
def test_equals_keras_with_moving_averages(count, dtype, frozen):
    expected, _ = step(dtype, count, "loop", True, frozen)
    found, operations = step(dtype, count, "loop", False, frozen)
    tolerance = 1e-9 if dtype == "float64" else 1e-5
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    if count == 1:  # support and query; what is frozen normalises as Keras does
        assert operations.count("MaxPool") == (2 if frozen else 0)
        assert not {"While", "StatelessWhile"} & set(operations)


def test_large_shared_features_are_taken_a_task_at_a_time():
    plain = [keras.Input((32, 32, 3)), keras.layers.Conv2D(64, 3, padding="same")]
    normalized = keras.Sequential([*plain, keras.layers.BatchNormalization()]).layers
    layers = normalized[:1]
    elements = tf.zeros((4, 100, 32, 32, 3))

    def mode(layers, elements, asked="auto", in_xla=False):
        return batching_mode([], layers, asked, elements, in_xla)

    assert mode(normalized, elements) == "loop"
    assert mode(layers, elements) == mode(normalized, elements[:, :5]) == "vectorize"
    assert mode(normalized, elements, in_xla=True) == "vectorize"
    assert mode(normalized, elements, "vectorize") == "vectorize"
    deep = [keras.layers.Conv2D(2, 1) for _ in range(21)]  # traced for one task, not converted
    network = keras.Sequential([keras.Input((4, 4, 1)), *deep, keras.layers.BatchNormalization()])
    assert mode(network.layers, tf.zeros((4, 5, 4, 4, 1))) == "loop"
    assert mode(network.layers[1:], tf.zeros((4, 5, 4, 4, 1))) == "vectorize"
