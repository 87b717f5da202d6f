"""The area under the ROC curve of known against outside examples, counted pair by pair."""

import numpy as np
import pytest
import tensorflow as tf
from evaluation import fakes

from tfmeta.datasets import from_arrays
from tfmeta.evaluation import score_rejection
from tfmeta.types import Episode


def outside(examples=11, side=3):
    x = 3.0 * np.random.default_rng(1).normal(size=(examples, side, side, 1))
    return from_arrays(x, np.zeros(examples, int))


def area(arrays, i, strange, confidence):
    """Pairs that the known example wins, of one episode."""
    (sx, sy, _), (qx, _, mask) = ([a[i] for a in part] for part in arrays)
    means = np.stack([sx[sy == c].mean(axis=0).ravel() for c in range(sy.max() + 1)])

    def sure(x):
        return confidence(-((x.reshape(len(x), 1, -1) - means) ** 2).sum(axis=-1))

    known, unknown = sure(qx[mask > 0]), sure(strange)
    return np.mean([(a > b) + 0.5 * (a == b) for a in known for b in unknown])


def turns(data, rows, episode, seed=0):
    """The outside examples of an episode: the shuffled data set, again and again."""
    order = np.random.default_rng(seed).permutation(data.num_examples)
    return data.x[[order[(episode * rows + i) % len(order)] for i in range(rows)]]


@pytest.mark.parametrize("margin", [False, True])
def test_scores_are_those_counted_by_hand(margin):
    arrays, data = fakes.classification_arrays(), outside()
    arrays.query.mask[:, -3:] = 0  # padding

    def of_numpy(outputs):
        best = np.sort(outputs, axis=1)
        return best[:, -1] - best[:, -2] if margin else best[:, -1]

    def of_tensors(outputs):
        best = tf.math.top_k(outputs, 2).values
        return best[:, 0] - best[:, 1]

    options = {"confidence": of_tensors} if margin else {}
    report = score_rejection(
        fakes.PixelPrototypes(3), fakes.dataset(arrays), data, 7, rows=4, verbose=0, **options
    )
    expected = [area(arrays, i, turns(data, 4, i), of_numpy) for i in range(7)]
    np.testing.assert_allclose(report.scores, expected, rtol=1e-6)
    assert 0.3 < report.mean < 1
    assert str(report).startswith("AUROC 0.")


def test_equal_confidence_is_chance_and_numbers_that_are_none_are_refused():
    episodes = fakes.dataset(fakes.classification_arrays())
    learner = fakes.PixelPrototypes(3)
    report = score_rejection(
        learner, episodes, outside(), 3, confidence=lambda outputs: 0 * outputs[:, 0], verbose=0
    )
    np.testing.assert_array_equal(report.scores, [0.5] * 3)
    x = np.full((2, 3, 3, 1), np.nan)
    with pytest.raises(FloatingPointError, match="Expected finite scores"):
        score_rejection(learner, episodes, from_arrays(x, [0, 0]), 3, verbose=0)


def test_bad_input():
    episodes, learner = fakes.dataset(fakes.classification_arrays()), fakes.PixelPrototypes(3)
    with pytest.raises(ValueError, match=r"outside examples like those of the episodes.*3, 3, 1"):
        score_rejection(learner, episodes, outside(side=4), verbose=0)
    with pytest.raises(ValueError, match=r"Expected rows to be an integer of at least 1"):
        score_rejection(learner, episodes, outside(), rows=0)
    with pytest.raises(ValueError, match=r"confidence to be a function of outputs"):
        score_rejection(learner, episodes, outside(), confidence="max")
    with pytest.raises(ValueError, match=r"count=8 episodes.*ends after 7"):
        score_rejection(learner, episodes, outside(), 8, verbose=0)
    with pytest.raises(ValueError, match=r"ClassDataset"):
        score_rejection(learner, episodes, Episode(None, None))
