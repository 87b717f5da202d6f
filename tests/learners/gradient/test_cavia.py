"""CAVIA: a context is biases, inputs, or shifts of a normalisation."""

import numpy as np
import pytest
import tasks
import tensorflow as tf
from meta_gradients import compiled, outer_gradients

from tfmeta.learners import CAVIA, MAML
from tfmeta.learners.gradient.adapted_part import AllWeights

RATE = {"inner_learning_rate": 0.1, "inner_steps": 2}


def test_cavia_with_all_biases_for_its_context_is_maml_on_the_biases():
    class Biases(AllWeights):
        def positions(self, learner):
            weights = learner.network_weights()
            return [i for i, w in enumerate(weights) if w.path.endswith("bias")]

    class OnlyBiases(MAML):
        adapted_part = Biases()

    episodes = tasks.regression(dtype="float64")
    network = tasks.dense(dtype="float64")
    units = [layer.units for layer in network.layers]
    names = [layer.name for layer in network.layers]
    learner = compiled(CAVIA(network, context_size=sum(units), context_layers=names, **RATE))
    selections = np.split(np.eye(sum(units)), np.cumsum(units)[:-1], axis=1)
    for variable, columns in zip(learner.meta_parameters.variables, selections, strict=True):
        variable.assign(columns)
    expected = outer_gradients(compiled(OnlyBiases(tasks.dense(dtype="float64"), **RATE)), episodes)
    found = outer_gradients(learner, episodes)
    for a, b in zip(found, expected, strict=False):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_cavia_in_a_dense_layer_is_a_context_among_the_inputs():
    network = tasks.dense()
    learner = compiled(CAVIA(network, context_size=2, inner_learning_rate=0.5))
    first = network.layers[0]
    (matrix,) = learner.meta_parameters.trainable_variables
    support = tasks.one(tasks.regression().support)
    x = np.array(support.x)

    def loss(context):
        inputs = tf.concat([x, tf.tile(context[None], (len(x), 1))], 1)
        kernel = tf.concat([first.kernel, matrix], 0)
        outputs = first.activation(inputs @ kernel + first.bias)
        for layer in network.layers[1:]:
            outputs = layer(outputs)
        return tf.reduce_mean((outputs - support.y) ** 2)

    context = tf.zeros(2)
    with tf.GradientTape() as tape:
        tape.watch(context)
        value = loss(context)
    context -= 0.5 * tape.gradient(value, context)
    adapted = learner.adapt(support)
    found = np.mean((learner.predict_query(adapted, x) - support.y) ** 2)
    np.testing.assert_allclose(found, loss(context), rtol=1e-5)


def test_cavia_shifts_the_normalisation_after_the_first_layer():
    network = tasks.convolutional()
    learner = CAVIA(network)
    paths = [learner.network_weights()[i].path.rsplit("/", 1)[-1] for i in learner.shifted()]
    assert paths == ["beta", "gamma"]
    head = network.layers[-1].name
    learner = CAVIA(network, context_layers=[head])
    (position,) = learner.shifted()
    assert learner.network_weights()[position] is network.layers[-1].bias


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda n: CAVIA(n, context_size=0), r"Expected context_size .*=0"),
        (lambda n: CAVIA(n, context_layers=["x"]), r"Expected context_layers .*Received: \['x'\]"),
        (lambda n: CAVIA(n, context_layers=3), r"Expected context_layers to name .*Received: 3"),
        (
            lambda n: CAVIA(n, context_layers=[n.layers[0].name] * 2),
            r"Expected context_layers to name .*Received",
        ),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make(tasks.dense())
