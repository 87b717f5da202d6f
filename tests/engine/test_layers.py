"""Dropout and BatchNormalization inside learners."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf
from conformance.catalogue import small_convolutional

import tfmeta
from tfmeta.learners import MAML, ProtoNet


def dropped(outputs):
    """Where dropout has left a zero."""
    return np.array(outputs) == 0


@pytest.mark.parametrize("cls", [MAML, ProtoNet])
def test_dropout_differs_between_tasks_and_steps_and_is_off_outside_training(cls):
    """The network only drops: its outputs show which units."""
    keras.utils.set_random_seed(0)
    layers = [keras.Input((40,)), keras.layers.Dense(40, bias_initializer="ones")]
    learner = cls(keras.Sequential([*layers, keras.layers.Dropout(0.5)]))
    learner.compile("sgd", "mse" if cls is MAML else tasks.CROSSENTROPY)
    x = tf.ones((3, 2, 40))
    y = tf.ones((3, 2, 40)) if cls is MAML else tf.zeros((3, 2), tf.int32)
    examples = tfmeta.Examples(x, y, tf.ones((3, 2)))
    episodes = tfmeta.Episode(examples, examples)
    seen = []

    def outputs(episodes):
        results, _ = learner.outer_gradients(episodes)
        return results.outputs

    run = tf.function(outputs)
    seen = [np.array(run(episodes)), np.array(run(episodes))]
    np.testing.assert_array_equal(*seen)  # the same outer step draws the same units
    assert not np.array_equal(seen[0][0], seen[0][1])
    learner.train_on_batch(episodes)
    assert not np.array_equal(run(episodes)[0], seen[0][0])
    evaluated = [learner.predict_on_batch(episodes) for _ in range(2)]
    np.testing.assert_array_equal(*evaluated)
    if cls is MAML:
        assert dropped(seen[0]).mean() > 0.3
        assert dropped(evaluated[0]).mean() == 0


@pytest.mark.parametrize("transductive", [False, True])
def test_transductive_says_whether_query_rows_see_each_other(transductive):
    learner = MAML(small_convolutional(), transductive=transductive)
    learner.compile("sgd", tasks.CROSSENTROPY)
    episodes = tasks.images(shots=2, size=4)
    adapted, x = learner.adapt(tasks.one(episodes.support)), episodes.query.x[0]
    together, alone = learner.predict_query(adapted, x), learner.predict_query(adapted, x[:1])
    same = np.allclose(together[:1], alone, atol=1e-5)
    assert same is not transductive


def test_protonet_predicts_with_moving_averages():
    learner = ProtoNet(small_convolutional())
    learner.compile("sgd", tasks.CROSSENTROPY)
    episodes = tasks.images(shots=2, size=4)
    learner.train_on_batch(episodes)
    adapted, x = learner.adapt(tasks.one(episodes.support)), episodes.query.x[0]
    np.testing.assert_allclose(
        learner.predict_query(adapted, x)[:1], learner.predict_query(adapted, x[:1]), atol=1e-5
    )
