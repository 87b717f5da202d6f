"""BOIL: the body alone, and MAML where every layer is named."""

import keras
import numpy as np
import pytest
import tasks
from meta_gradients import assert_gradients_of_maml, compiled, outer_gradients

from tfmeta.learners import BOIL

RATE = {"inner_learning_rate": 0.1, "inner_steps": 2}


@pytest.mark.parametrize("convolutional", [False, True])
def test_a_subset_of_every_layer_is_maml(convolutional):
    def learner(network):
        names = [layer.name for layer in network.layers if layer.trainable_variables]
        return BOIL(network, adapted_layers=names, **RATE)

    assert_gradients_of_maml(learner, convolutional, **RATE)


def test_it_changes_its_layers_alone():
    layers = [keras.layers.Dense(4, "tanh", name=name) for name in ("body", "neck")]
    network = keras.Sequential([keras.Input((1,)), *layers, keras.layers.Dense(1, name="head")])
    learner = compiled(BOIL(network, **RATE))
    adapted = learner.adapt(tasks.one(tasks.regression().support))
    for variable, value in zip(network.trainable_variables, adapted.weights, strict=True):
        moved = not np.array_equal(variable.numpy(), value)
        assert moved == (variable.path.split("/")[-2] in {"body", "neck"})
    # Every weight is meta-learned all the same.
    assert all(np.any(g) for g in outer_gradients(learner, tasks.regression()))


def test_layers_in_a_model_within():
    body = keras.Sequential([keras.Input((1,)), keras.layers.Dense(4), keras.layers.Dense(4)])
    body.name = "body"
    network = keras.Sequential([keras.Input((1,)), body, keras.layers.Dense(1, name="head")])
    assert BOIL(network).adapted_positions() == [0, 1, 2, 3]


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"no list\. Give \['dense'\]"):
        BOIL(tasks.dense(), adapted_layers="dense")


def test_boil_needs_a_body():
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="Expected a network with a body below its head"):
        BOIL(network)
