"""What all learners on a pretrained network promise, and pretraining itself."""

import keras
import numpy as np
import pytest
import tasks
from learners.embedding.pictures import base_classes, embedding, task
from meta_gradients import relative_error_along

import tfmeta
from tfmeta.learners import MAML, Baseline, BaselinePlusPlus, SimpleShot

ALL = [Baseline, BaselinePlusPlus, SimpleShot]


@pytest.mark.parametrize("cls", ALL)
def test_outer_gradient_against_central_differences(cls):
    learner = cls(tasks.convolutional(4, dtype="float64"))
    learner.compile(optimizer="sgd", loss=tasks.CROSSENTROPY)
    if cls is not SimpleShot:
        learner.head_steps, learner.head_learning_rate = 3, 0.5
    assert relative_error_along(learner, tasks.images(shots=2, dtype="float64")) < 1e-6


@pytest.mark.parametrize("cls", ALL)
def test_a_class_without_examples_is_never_predicted(cls):
    support, x = task()
    learner = cls(embedding())
    expected = learner.predict_query(learner.adapt(support), x)
    gap = support._replace(y=np.array([0, 1, 3], "int32")[support.y])
    outputs = learner.predict_query(learner.adapt(gap), x).numpy()
    assert (outputs[:, 2] < -1e30).all()
    np.testing.assert_allclose(outputs[:, [0, 1, 3]], expected, atol=1e-5)


@pytest.mark.parametrize("cls", ALL)
def test_pretraining_changes_the_learners_own_network(cls):
    base = base_classes()
    learner = cls(embedding())
    classifier = learner.classifier(base.num_classes)
    classifier.compile(keras.optimizers.Adam(0.02), tasks.CROSSENTROPY, metrics=["accuracy"])
    batches, before = tfmeta.datasets.labelled(base, 16), learner.network.get_weights()
    classifier.fit(batches, epochs=12, verbose=0)
    assert classifier.evaluate(batches, verbose=0)[1] > 0.8
    pretrained = learner.network.get_weights()
    assert not any(map(np.array_equal, before, pretrained))
    # The next learner takes the network over, under an output for each way.
    maml = MAML(keras.Sequential([learner.network, keras.layers.Dense(3)]))
    maml.compile("sgd", tasks.CROSSENTROPY)
    maml.evaluate(tasks.dataset(tasks.images(), 1), verbose=0)
    for a, b in zip(maml.network.get_weights()[: len(pretrained)], pretrained, strict=True):
        np.testing.assert_array_equal(a, b)
