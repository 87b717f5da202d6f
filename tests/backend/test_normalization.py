"""BatchNormalization inside a compiled step: fused, and with the same results."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf

from tfmeta.backend.task_layers import task_mode
from tfmeta.inner import call_network
from tfmeta.learners import MAML


def network(between="relu", strides=None, padding="valid", dtype="float64", **kwargs):
    keras.utils.set_random_seed(0)
    layers = [keras.Input((8, 8, 1), dtype=dtype)]
    for _ in range(2):
        layers += [
            keras.layers.Conv2D(4, 3, padding="same", dtype=dtype),
            keras.layers.BatchNormalization(dtype=dtype, **kwargs),
            keras.layers.Activation(between, dtype=dtype),
            keras.layers.MaxPooling2D(2, strides, padding=padding, dtype=dtype),
        ]
    model = keras.Sequential(
        [*layers, keras.layers.Flatten(dtype=dtype), keras.layers.Dense(3, dtype=dtype)]
    )
    for variable in model.trainable_variables:
        if "gamma" in variable.path:
            variable.assign([1.0, -1.5, 0.5, 2.0])
    return model


def run(model, fused):
    """Outputs, new state and gradient of one call in a graph, and the operations of the graph."""
    x = tf.constant(np.random.default_rng(0).normal(size=(6, 8, 8, 1)), model.inputs[0].dtype)
    weights = [tf.convert_to_tensor(v) for v in model.trainable_variables]
    state = [tf.convert_to_tensor(v) for v in model.non_trainable_variables]

    @tf.function(autograph=False)
    def call():
        with task_mode(fused=fused), tf.GradientTape() as tape:
            tape.watch(weights)
            outputs, new = call_network(
                model, weights, state, x, training=True, batch_statistics=True
            )
            loss = tf.reduce_sum(tf.sin(outputs)) + sum(tf.reduce_sum(tf.sin(s)) for s in new)
        return outputs, new, tape.gradient(loss, weights)

    operations = [op.type for op in call.get_concrete_function().graph.get_operations()]
    return tf.nest.flatten(call()), operations


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"between": "linear"},
        {"between": "tanh"},
        {"strides": 1},
        {"padding": "same"},
        {"scale": False, "center": False},
    ],
)
def test_fused_equals_keras(arguments):
    model = network(**arguments)
    fused, _ = run(model, True)
    plain, operations = run(model, False)
    for a, b in zip(fused, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    assert "MaxPool" in operations


def test_pooling_is_taken_in_only_where_it_halves():
    for arguments, taken_in in (({}, True), ({"strides": 1}, False), ({"between": "tanh"}, False)):
        _, operations = run(network(**arguments), True)
        assert ("MaxPool" not in operations) == taken_in, arguments


@pytest.mark.parametrize("transductive", [False, True])
@pytest.mark.parametrize("first_order", [False, True])
def test_outer_gradient_is_the_same(transductive, first_order, monkeypatch):
    episodes = tasks.images(dtype="float64")

    def gradients():
        learner = MAML(
            network(),
            inner_steps=2,
            inner_learning_rate=0.1,
            transductive=transductive,
            first_order=first_order,
        )
        learner.compile("sgd", tasks.CROSSENTROPY)
        learner.prepare(tasks.dataset(episodes, 1))
        return tf.function(learner.outer_gradients, autograph=False)(episodes)

    results, fused = gradients()
    monkeypatch.setattr("tfmeta.engine.task.kernel_layers", lambda layers: [])
    expected, plain = gradients()
    np.testing.assert_allclose(results.loss, expected.loss, rtol=1e-10)
    for a, b in zip(fused, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-10)
