"""Zero-shot scores of a learner whose networks do nothing, counted by hand."""

import keras
import numpy as np
import pytest

from tfmeta.datasets import described, from_arrays
from tfmeta.evaluation import score_zero_shot
from tfmeta.learners import ProtoNet, ZeroShotProtoNet

NAMES = ["east", "north", "west", "south"]
AT = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])


def as_it_is(width=2):
    return keras.Sequential([keras.Input((width,)), keras.layers.Reshape((width,))])


@pytest.fixture(scope="module")
def learner():
    return ZeroShotProtoNet(as_it_is(), as_it_is())


def places(class_ids, examples=20, spread=0.8, seed=0):
    """Points around the places of some classes, and the places as their descriptions."""
    x = np.repeat(AT[class_ids], examples, axis=0)
    x = x + spread * np.random.default_rng(seed).normal(size=x.shape)
    labels = np.repeat(np.arange(len(class_ids)), examples)
    return described(from_arrays(x, labels, [NAMES[i] for i in class_ids]), AT[class_ids])


def accuracies(data, prototypes, penalties):
    """The accuracy of each class, whose prototypes come first, example by example."""
    found = []
    for class_id in range(data.num_classes):
        x = data.of_class(class_id)["x"]
        far = [((x - p) ** 2).sum(axis=1) + q for p, q in zip(prototypes, penalties, strict=True)]
        found.append(np.mean(np.argmin(far, axis=0) == class_id))
    return found


def test_scores_are_those_counted_by_hand(learner):
    unseen, seen = places([3, 0]), places([1, 2], seed=1)
    of_unseen, of_seen = AT[[3, 0]], AT[[1, 2]]
    scores = score_zero_shot(learner, unseen, seen, batch_size=7)
    np.testing.assert_allclose(scores.alone, accuracies(unseen, of_unseen, [0, 0]))
    np.testing.assert_allclose(scores.unseen, accuracies(unseen, [*of_unseen, *of_seen], [0] * 4))
    np.testing.assert_allclose(scores.seen, accuracies(seen, [*of_seen, *of_unseen], [0] * 4))
    s, u = np.mean(scores.seen), np.mean(scores.unseen)
    np.testing.assert_allclose(scores.harmonic, 2 * s * u / (s + u))
    assert u < scores.alone.mean()
    lines = str(scores).splitlines()
    assert "(95 % interval, 2 classes)" in lines[0]
    assert lines[3].startswith(f"harmonic mean:        {100 * scores.harmonic:.2f} ± ")
    assert repr(scores).startswith("<ZeroShotScores: unseen classes alone: accuracy")
    alone = score_zero_shot(learner, unseen)
    np.testing.assert_array_equal(alone.alone, scores.alone)
    assert alone.harmonic is None
    assert len(str(alone).splitlines()) == 1


def test_a_penalty_moves_answers_to_unseen_classes(learner):
    unseen, seen = places([3, 0]), places([1, 2], seed=1)
    scores = score_zero_shot(learner, unseen, seen, seen_penalty=1.0)
    np.testing.assert_allclose(
        scores.unseen, accuracies(unseen, AT[[3, 0, 1, 2]], [0, 0, 1, 1])
    )  # fmt: skip
    np.testing.assert_allclose(scores.seen, accuracies(seen, AT[[1, 2, 3, 0]], [1, 1, 0, 0]))
    all_unseen = score_zero_shot(learner, unseen, seen, seen_penalty=100.0)
    np.testing.assert_array_equal(all_unseen.unseen, all_unseen.alone)
    assert all_unseen.harmonic == 0


def test_bad_input(learner):
    unseen = places([0, 1])
    with pytest.raises(ValueError, match=r"reads descriptions.*Received: ProtoNet"):
        score_zero_shot(ProtoNet(as_it_is()), unseen)
    with pytest.raises(ValueError, match=r"Expected seen to be a data set with a description"):
        score_zero_shot(learner, unseen, from_arrays(AT, NAMES))
    with pytest.raises(ValueError, match=r"seen or unseen, not both\. Received: 1 .*north"):
        score_zero_shot(learner, unseen, places([1, 2]))
    with pytest.raises(ValueError, match=r"Expected seen_penalty >= 0"):
        score_zero_shot(learner, unseen, places([2, 3]), seen_penalty=-1.0)
    nowhere = described(from_arrays(AT[:2] * np.nan, NAMES[:2]), AT[:2])
    with pytest.raises((FloatingPointError, ValueError), match=r"[Ff]inite|NaN"):
        score_zero_shot(learner, nowhere)
