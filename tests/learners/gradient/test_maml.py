"""MAML against central differences, closed forms and a nested tape; what first order is."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf
from meta_gradients import outer_loss_and_gradients, relative_error_along

import tfmeta
from tfmeta.learners import MAML


def maml(network, loss, **kwargs):
    learner = MAML(network, **kwargs)
    learner.compile(optimizer="sgd", loss=loss)
    return learner


@pytest.mark.parametrize("steps", [1, 3, 5])
def test_maml_dense_against_central_differences(steps):
    learner = maml(tasks.dense(dtype="float64"), "mse", inner_learning_rate=0.1, inner_steps=steps)
    assert relative_error_along(learner, tasks.regression(dtype="float64")) < 1e-6


@pytest.mark.parametrize("transductive", [False, True])
@pytest.mark.parametrize("steps", [1, 3, 5])
def test_maml_convolutional_against_central_differences(steps, transductive):
    learner = maml(
        tasks.convolutional(dtype="float64"),
        tasks.CROSSENTROPY,
        inner_learning_rate=0.1,
        inner_steps=steps,
        transductive=transductive,
    )
    assert relative_error_along(learner, tasks.images(dtype="float64")) < 1e-6


@pytest.mark.parametrize("norm", ["batch", "layer", "group"])
def test_maml_conv4_against_central_differences(norm):
    keras.config.set_dtype_policy("float64")
    try:
        keras.utils.set_random_seed(0)
        network = tfmeta.networks.conv4((16, 16, 1), 3, filters=8, norm=norm)
        learner = maml(network, tasks.CROSSENTROPY, inner_learning_rate=0.1)
        episodes = tasks.images(dtype="float64", size=16)
        # A short step: ReLU and pooling have kinks that a longer one crosses.
        assert relative_error_along(learner, episodes, step=1e-8) < 1e-6
    finally:
        keras.config.set_dtype_policy("float32")


def test_every_weight_of_a_dense_network_against_central_differences():
    learner = maml(tasks.dense(dtype="float64"), "mse", inner_learning_rate=0.1, inner_steps=3)
    episodes = tasks.regression(dtype="float64")
    _, gradients = outer_loss_and_gradients(learner, episodes)
    run = tf.function(lambda e: tf.reduce_mean(learner.outer_gradients(e)[0].loss))
    for variable, gradient in zip(learner.trainable_variables, gradients, strict=True):
        value, numeric = variable.numpy(), np.zeros(variable.shape)
        for index in np.ndindex(*value.shape):
            moved = np.zeros_like(value)
            moved[index] = 1e-5
            variable.assign(value + moved)
            above = run(episodes).numpy()
            variable.assign(value - moved)
            numeric[index] = (above - run(episodes).numpy()) / 2e-5
        variable.assign(value)
        np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-10)


class Quadratic(keras.layers.Layer):
    """Outputs its one weight: the loss (w - y)^2 is then a parabola in w."""

    def build(self, shape):
        self.w = self.add_weight(shape=(1,), initializer="ones", name="w")

    def call(self, x):
        return 0.0 * x + self.w


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("first_order", [False, True])
def test_algebra_on_quadratics(steps, first_order):
    """Support loss a/2 (w-s)^2, query loss b/2 (w-q)^2; here a = b = 2, as (w - y)^2."""
    a, b, rate, s, q = 2.0, 2.0, 0.1, 3.0, -1.5
    network = keras.Sequential([keras.Input((1,), dtype="float64"), Quadratic(dtype="float64")])
    learner = maml(
        network, "mse", inner_learning_rate=rate, inner_steps=steps, first_order=first_order
    )
    rows = np.zeros((1, 1, 1))
    episode = tfmeta.Episode(
        *[tfmeta.Examples(*map(tf.constant, (rows, rows + y, np.ones((1, 1))))) for y in (s, q)]
    )
    w = 1.0
    for _ in range(steps):
        w -= rate * a * (w - s)
    expected = b * (w - q) * (1.0 if first_order else (1 - rate * a) ** steps)
    loss, (gradient,) = outer_loss_and_gradients(learner, episode)
    np.testing.assert_allclose(loss, b / 2 * (w - q) ** 2, rtol=1e-12)
    np.testing.assert_allclose(gradient, [expected], rtol=1e-12)


def test_no_inner_step_is_joint_training():
    network = tasks.dense(dtype="float64")
    episodes = tasks.regression(dtype="float64")
    query = episodes.query
    with tf.GradientTape() as tape:
        outputs = network(tf.reshape(query.x, (-1, 1)))
        loss = tf.reduce_mean((outputs - tf.reshape(query.y, (-1, 1))) ** 2)
    expected = [g.numpy() for g in tape.gradient(loss, network.trainable_variables)]
    value, gradients = outer_loss_and_gradients(maml(network, "mse", inner_steps=0), episodes)
    np.testing.assert_allclose(value, loss, rtol=1e-12)
    for g, e in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(g, e, rtol=1e-9, atol=1e-14)


def test_maml_equals_a_hand_written_nested_tape():
    learner = maml(tasks.dense(dtype="float64"), "mse", inner_learning_rate=0.1, inner_steps=2)
    episodes = tasks.regression(dtype="float64")
    kernel1, bias1, kernel2, bias2, kernel3, bias3 = learner.trainable_variables

    def forward(w, x):
        return tf.tanh(tf.tanh(x @ w[0] + w[1]) @ w[2] + w[3]) @ w[4] + w[5]

    with tf.GradientTape() as outer:
        total = 0.0
        for task in range(3):
            w = [tf.convert_to_tensor(v) for v in (kernel1, bias1, kernel2, bias2, kernel3, bias3)]
            for _ in range(2):
                with tf.GradientTape() as inner:
                    inner.watch(w)
                    error = forward(w, episodes.support.x[task]) - episodes.support.y[task]
                    loss = tf.reduce_mean(error**2)
                w = [v - 0.1 * g for v, g in zip(w, inner.gradient(loss, w), strict=True)]
            error = forward(w, episodes.query.x[task]) - episodes.query.y[task]
            total += tf.reduce_mean(error**2) / 3
    expected = outer.gradient(total, learner.trainable_variables)
    loss, gradients = outer_loss_and_gradients(learner, episodes)
    np.testing.assert_allclose(loss, total, rtol=1e-12)
    for g, e in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(g, e, rtol=1e-9, atol=1e-14)


def test_first_order_is_the_query_gradient_at_the_adapted_weights():
    network = tasks.dense(dtype="float64")
    learner = maml(network, "mse", inner_learning_rate=0.1, inner_steps=3, first_order=True)
    episodes = tasks.regression(tasks=1, dtype="float64")
    _, gradients = outer_loss_and_gradients(learner, episodes)
    model = learner.adapted_model(tasks.one(episodes.support))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(episodes.query.x[0]) - episodes.query.y[0]) ** 2)
    for g, e in zip(gradients, tape.gradient(loss, model.trainable_variables), strict=True):
        np.testing.assert_allclose(g, e, rtol=1e-9, atol=1e-14)


def test_first_order_builds_no_second_order_graph():
    def ops(first_order):
        network = tasks.convolutional(norm=False)
        learner = maml(network, tasks.CROSSENTROPY, inner_steps=3, first_order=first_order)
        run = tf.function(learner.outer_gradients).get_concrete_function(tasks.images())
        graph = run.graph.as_graph_def()
        parts = [graph.node, *(function.node_def for function in graph.library.function)]
        return [node.op for part in parts for node in part]

    first, second = ops(True), ops(False)
    # The second derivative of max pooling has an op of its own; first order never asks for it.
    assert "MaxPoolGradGrad" in second
    assert "MaxPoolGradGrad" not in first
    assert len(first) < 0.7 * len(second)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda n: MAML(n, inner_learning_rate="0.1"), r"inner_learning_rate > 0.*Received: '0.1'"),
        (lambda n: MAML(n, inner_learning_rate=np.inf), r"a finite number. Received: inf"),
        (lambda n: MAML(n, inner_steps=None), r"inner_steps to be an integer.*=None"),
        (lambda n: MAML(n, first_order="no"), r"first_order to be True or False. Received: 'no'"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make(tasks.dense())
