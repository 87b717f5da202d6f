"""Relation networks: pairs and loss by hand, the paper's module, outer gradients."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf
from meta_gradients import compiled, relative_error_along

from tfmeta.learners import RelationNet


def maps(dtype="float64"):
    """A network that ends in maps `[rows, 4, 4, 3]`."""
    keras.utils.set_random_seed(0)
    layers = [keras.Input((8, 8, 1), dtype=dtype)]
    layers += [keras.layers.Conv2D(3, 3, 2, "same", activation="tanh", dtype=dtype)]
    return keras.Sequential(layers)


def smooth(pairs):
    """A relation module without kinks, for central differences."""
    layers = [keras.Input(pairs, dtype="float64"), keras.layers.Flatten(dtype="float64")]
    layers += [keras.layers.Dense(5, "tanh", dtype="float64")]
    return keras.Sequential([*layers, keras.layers.Dense(1, dtype="float64")])


@pytest.fixture(scope="module")
def episodes():
    return tasks.images(shots=2, dtype="float64")


@pytest.fixture(scope="module")
def learner():
    return compiled(RelationNet(maps(), relation=smooth((4, 4, 6)), ways=3), None)


def test_scores_and_loss_by_hand(learner, episodes):
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    z, s = (np.array(learner.network(x)) for x in (query.x, support.x))
    means = [s[support.y == label].mean(axis=0) for label in range(3)]
    scores = [
        np.array(learner.relation(np.stack([np.concatenate([c, row], -1) for row in z])))
        for c in means
    ]
    scores = np.concatenate(scores, axis=1)
    outputs = learner.predict_query(learner.adapt(support), query.x)
    np.testing.assert_allclose(outputs, scores, rtol=1e-6)
    errors = (1 / (1 + np.exp(-scores)) - np.eye(3)[query.y]) ** 2
    one = tf.nest.map_structure(lambda t: t[0], episodes)
    result = learner.score_task(one, training=False)
    np.testing.assert_allclose(result.loss, errors.mean(), rtol=1e-6)


@pytest.mark.parametrize("ways", [3, None])
def test_outer_gradient_against_central_differences(ways, learner, episodes):
    if ways is None:
        learner = compiled(RelationNet(maps(), relation=smooth((4, 4, 6))), None)
    assert relative_error_along(learner, episodes, eager=True) < 1e-6


def test_the_papers_module_and_that_of_flat_embeddings():
    learner = RelationNet(maps("float32"), filters=5)
    shapes = [layer.output.shape[1:] for layer in learner.compare.layers]
    assert shapes[0] == (4, 4, 6)
    assert (2, 2, 5) in shapes
    assert (1, 1, 5) in shapes
    assert shapes[-2:] == [(8,), (1,)]
    flat = RelationNet(tasks.convolutional(4), filters=5)
    assert [layer.output.shape[1:] for layer in flat.compare.layers][-3:] == [(5,), (8,), (1,)]


def test_more_classes_than_ways_are_refused(episodes):
    learner = compiled(RelationNet(maps(), relation=smooth((4, 4, 6)), ways=2), None)
    with pytest.raises(ValueError, match=r"at most ways=2 classes\. Received: 3 classes"):
        learner.fit(tasks.dataset(episodes, 1), verbose=0)


@pytest.mark.parametrize("arguments", [{"relation": "sum"}, {"filters": 0}, {"ways": 1}])
def test_bad_arguments(arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"Expected {name} "):
        RelationNet(maps(), **arguments)
