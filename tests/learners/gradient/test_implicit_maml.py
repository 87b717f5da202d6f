"""ImplicitMAML: closed forms of its minimum and gradient, and one graph for all steps."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf
from meta_gradients import compiled, outer_gradients

import tfmeta
from tfmeta.learners import MAML, ImplicitMAML


@pytest.mark.parametrize(("strength", "damping"), [(0.5, 0.0), (4.0, 0.0), (0.5, 2.0)])
def test_implicit_maml_in_closed_form(strength, damping):
    """Support loss |Xv - y|^2 / n: the minimum, and the derivative of it, by linear algebra."""
    episodes = tasks.regression(tasks=2, rows=6, width=3, dtype="float64")
    network = keras.Sequential(
        [keras.Input((3,), dtype="float64"), keras.layers.Dense(1, use_bias=False, dtype="float64")]
    )
    learner = compiled(
        ImplicitMAML(
            network,
            regularization=strength,
            inner_learning_rate=0.1,
            inner_steps=400,
            cg_steps=3,
            cg_damping=damping,
        )
    )
    start, expected = network.get_weights()[0], []
    for i in range(2):
        x, y, query_x, query_y = (
            np.array(getattr(e, axis)[i]) for e in episodes for axis in ("x", "y")
        )
        hessian, eye = 2 * x.T @ x / len(x), np.eye(3)
        solution = np.linalg.solve(
            hessian + strength * eye, 2 * x.T @ y / len(x) + strength * start
        )
        slope = 2 * query_x.T @ (query_x @ solution - query_y) / len(query_x)
        expected.append(np.linalg.solve(eye + hessian / (strength + damping), slope))
    (found,) = outer_gradients(learner, episodes)
    np.testing.assert_allclose(found, np.mean(expected, axis=0), rtol=1e-6)


def test_implicit_maml_with_dropout_has_one_minimum():
    """Units that change between the steps look like curvature, and bring the rate to nothing."""
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dropout(0.5)])
    network.add(keras.layers.Dense(1, use_bias=False))
    learner = compiled(
        ImplicitMAML(network, inner_learning_rate=0.1, inner_steps=40, regularization=1e-3)
    )
    line = tfmeta.Examples(np.linspace(1, 2, 20)[:, None], np.linspace(1, 2, 20)[:, None])
    slopes = np.diff(learner.adapt(line, training=True).inner_losses)
    assert np.all(slopes <= 1e-6)
    assert slopes[0] < -1e-2


@pytest.mark.parametrize("convolutional", [False, True])
def test_implicit_maml_with_a_strong_pull_is_joint_training(convolutional):
    """The solution is then the initialisation, and its derivative the identity."""
    network, loss = tasks.dense(dtype="float64"), "mse"
    episodes = tasks.regression(dtype="float64")
    if convolutional:
        network, loss = tasks.convolutional(dtype="float64"), tasks.CROSSENTROPY
        episodes = tasks.images(dtype="float64")
    pulled = ImplicitMAML(
        network, regularization=1e11, inner_learning_rate=1e-12, inner_steps=1, cg_steps=2
    )
    found = outer_gradients(compiled(pulled, loss), episodes)
    expected = outer_gradients(compiled(MAML(network, inner_steps=0), loss), episodes)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-8)


def test_implicit_maml_has_one_graph_for_any_number_of_steps():
    """What a step of the inner loop needs is forgotten before the next one."""
    sizes = []
    for steps in (5, 100):
        learner = compiled(ImplicitMAML(tasks.dense(), inner_steps=steps), jit_compile=False)
        graph = tf.function(learner.outer_gradients).get_concrete_function(tasks.regression()).graph
        sizes.append(len(graph.get_operations()))
    assert sizes[0] == sizes[1]


def test_first_order_is_refused_where_it_means_nothing():
    learner = ImplicitMAML(tasks.dense())
    with pytest.raises(ValueError, match="Expected no first_order: ImplicitMAML"):
        learner.first_order = True
    ImplicitMAML.from_config(learner.get_config())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda n: ImplicitMAML(n, regularization=0), r"Expected regularization > 0"),
        (lambda n: ImplicitMAML(n, cg_steps=0), r"Expected cg_steps .*Received: cg_steps=0"),
        (lambda n: ImplicitMAML(n, cg_damping=-1), r"Expected cg_damping >= 0.*Received: -1"),
        (lambda n: ImplicitMAML(n, first_order=True), r"Expected no first_order: ImplicitMAML"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make(tasks.dense())
