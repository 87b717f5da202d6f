"""A loss that is NaN or infinite stops the run, says where, and changes no weight."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf

import tfmeta
from tfmeta.learners import MAML


def learner(rate=1e30, steps=3, **kwargs):
    maml = MAML(tasks.dense(), inner_learning_rate=rate, inner_steps=steps)
    maml.compile("adam", "mse", **kwargs)
    return maml


def weights(maml):
    return [np.array(v) for v in (*maml.variables, *maml.optimizer.variables)]


@pytest.mark.parametrize(
    "mode",
    [
        {},
        {"run_eagerly": True},
        pytest.param({"steps_per_execution": 2}, marks=pytest.mark.slow),
        {"jit_compile": False},
        pytest.param({"jit_compile": False, "steps_per_execution": 2}, marks=pytest.mark.slow),
    ],
)
def test_fit_stops_and_loses_nothing(mode):
    good = tasks.regression()
    support = good.support._replace(x=good.support.x * float("nan"))
    data = tasks.dataset(good, 3).concatenate(tasks.dataset(good._replace(support=support), 3))
    maml, reference = (learner(0.01, **kwargs) for kwargs in (mode, {}))
    reference.fit(tasks.dataset(good, 3), verbose=0)
    expected = weights(reference)
    message = "inner step 0 of MAML.inner_learning_rate=0.01"
    # Finite ones after the first that is not: no step goes on from there.
    data = data.concatenate(tasks.dataset(good, 3))
    with pytest.raises(FloatingPointError, match=message):
        maml.fit(data, verbose=0)
    for a, b in zip(weights(maml), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


class SquareRoot(keras.layers.Layer):
    """Finite at zero, unlike its slope."""

    def build(self, shape):
        self.w = self.add_weight(shape=(1,), initializer="zeros", name="w")

    def call(self, x):
        return x + tf.sqrt(self.w * 0.0)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_fit_stops_at_gradients_that_are_not_finite(jit_compile):
    network = keras.Sequential([keras.Input((1,)), SquareRoot()])
    maml = MAML(network, inner_steps=0)
    maml.compile("sgd", "mse", jit_compile=jit_compile)
    with pytest.raises(FloatingPointError, match=r"finite outer gradients.*from finite losses"):
        maml.fit(tasks.dataset(tasks.regression(), 2), verbose=0)
    np.testing.assert_array_equal(network.get_weights()[0], [0.0])


@pytest.mark.parametrize("jit_compile", [False, True])
def test_evaluate_stops(jit_compile):
    data = tasks.dataset(tasks.regression(), 1)
    message = "inner step [12] of MAML.inner_learning_rate=1e"
    maml = learner(jit_compile=jit_compile)
    with pytest.raises(FloatingPointError, match=message):
        maml.evaluate(data, verbose=0)
    with pytest.raises(FloatingPointError, match=message):
        maml.test_on_batch(tasks.regression())
    maml.inner_learning_rate = 0.01  # what was not finite is forgotten
    maml.evaluate(data, verbose=0)


def test_adapt_and_evaluate_episodes_stop():
    episodes = tasks.regression()
    with pytest.raises(FloatingPointError, match=r"inner step 1 of MAML\(inner_learning_rate=1e"):
        learner().adapt(tasks.one(episodes.support))
    with pytest.raises(FloatingPointError, match="inner learning rate"):
        tfmeta.evaluation.evaluate_episodes(learner(), tasks.dataset(episodes), 3, verbose=0)


def test_classification_is_not_scored_on_nan():
    network = tfmeta.networks.mlp((8, 8, 1), 3, hidden=(4,))
    maml = MAML(network, inner_learning_rate=1e38, inner_steps=3)
    maml.compile("sgd", tasks.CROSSENTROPY)
    with pytest.raises(FloatingPointError, match="inner learning rate"):
        tfmeta.evaluation.evaluate_episodes(maml, tasks.dataset(tasks.images()), 2, verbose=0)
