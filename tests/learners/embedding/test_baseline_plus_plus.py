"""BaselinePlusPlus: its cosine head and classifier against NumPy."""

import numpy as np
import pytest
import tasks
from learners.embedding.pictures import base_classes, embedding, softmax, task, unit

from tfmeta.learners import BaselinePlusPlus


def test_a_step_of_a_cosine_head_by_hand():
    support, x = task()
    learner = BaselinePlusPlus(
        embedding(), scale=5.0, head_learning_rate=0.3, head_steps=1, weight_decay=0.1
    )
    z = unit(learner.embed(support.x).numpy(), 1)
    vectors = np.stack([z[support.y == label].mean(axis=0) for label in range(3)], axis=1)
    directions, lengths = unit(vectors, 0), np.linalg.norm(vectors, axis=0)
    errors = (softmax(5 * z @ directions) - np.eye(3)[support.y]) / len(z)
    slopes = 5 * z.T @ errors
    # A change along the vector changes no cosine.
    slopes = (slopes - directions * np.sum(directions * slopes, axis=0)) / lengths
    vectors = vectors - 0.3 * (slopes + 0.1 * vectors)
    adapted = learner.adapt(support)
    np.testing.assert_allclose(adapted.weights[0], vectors, atol=1e-5)
    expected = 5 * unit(learner.embed(x).numpy(), 1) @ unit(vectors, 0)
    np.testing.assert_allclose(learner.predict_query(adapted, x), expected, atol=1e-4)


def test_the_cosine_classifier_against_numpy():
    learner = BaselinePlusPlus(embedding(), scale=4.0)
    classifier = learner.classifier(6)
    classifier.compile("adam", tasks.CROSSENTROPY)
    base = base_classes()
    classifier.fit(base.x, base.class_ids, verbose=0)
    vectors = classifier.get_layer("head").kernel.numpy()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=0), 1, rtol=1e-5)
    expected = 4 * unit(learner.embed(base.x).numpy(), 1) @ vectors
    np.testing.assert_allclose(classifier.predict(base.x, verbose=0), expected, atol=1e-4)


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"Expected scale > 0, a finite.*: 0"):
        BaselinePlusPlus(embedding(), scale=0)
