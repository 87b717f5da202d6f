"""Scores along a sequence, of a learner whose predictions are known."""

import numpy as np
import pytest
import tensorflow as tf
from evaluation.fakes import Facts

from tfmeta.evaluation import score_sequence
from tfmeta.loops import map_fn
from tfmeta.types import Episode, Examples


class RightFromTheSecondTime(Facts):
    """Says class 0 at the first sight of a class, and then what it is."""

    predicts_sequences = True

    def prepare(self, episodes):
        pass

    def map_tasks(self, fn, elements):
        return map_fn(fn, elements, fn_output_signature=tf.float64)

    def predict_sequence(self, examples):
        y = examples.y
        same = (y[:, None] == y[None]) & (examples.mask[None] > 0)
        again = tf.reduce_sum(tf.linalg.band_part(tf.cast(same, tf.float32), -1, 0), axis=1) > 1
        return tf.one_hot(tf.where(again, y, 0), 3)


class One(RightFromTheSecondTime):
    def predict_sequence(self, examples):
        return tf.ones_like(examples.y)


def episodes(y, mask=None):
    """Sequences with these targets `[E, L]`, a meta-batch of two at a time."""
    y = np.array(y)
    mask = np.ones(y.shape) if mask is None else np.array(mask)
    examples = Examples(np.zeros((*y.shape, 1), "float32"), y, mask.astype("float32"))
    parts = (slice(None, -1), slice(-1, None))
    both = Episode(*(Examples(*(t[:, part] for t in examples)) for part in parts))
    return tf.data.Dataset.from_tensor_slices(both).batch(2)


LABELS = [[0, 1, 2, 1, 0, 2], [2, 1, 1, 0, 2, 0], [1, 2, 0, 0, 1, 2], [0, 0, 1, 1, 2, 2]]


def score(learner, data, **options):
    return score_sequence(learner, data, **({"count": 4, "verbose": 0} | options))


def test_by_the_time_that_a_class_is_seen():
    scores = score(RightFromTheSecondTime(), episodes(LABELS))
    np.testing.assert_allclose(scores.scores, [[1 / 3, 1]] * 4)
    assert scores.by == "instance"
    assert str(scores.at(2)) == "accuracy 100.00 ± 0.00 % (95 % interval, 4 episodes)"
    assert str(scores).startswith("instance 1: accuracy 33.33")
    assert repr(scores).startswith("<SequenceScores: instance 1 to 2; the last: accuracy 100.00")
    for k in (0, 3):
        with pytest.raises(ValueError, match=f"Expected k in 1..2. Received: {k}"):
            scores.at(k)


def test_a_class_that_is_seen_less_often_has_no_later_score():
    labels = [[0, 0, 0, 1, 1, 2], [2, 2, 2, 2, 2, 1]]
    scores = score(RightFromTheSecondTime(), episodes(labels), count=2)
    np.testing.assert_allclose(scores.scores, [[1 / 3, 1], [0, 1]])


def test_by_row():
    scores = score(RightFromTheSecondTime(), episodes(LABELS), by="row")
    np.testing.assert_array_equal(scores.scores[0], [1, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(scores.scores[3], [1, 1, 0, 1, 0, 1])
    deviation = scores.scores.std(axis=0, ddof=1)
    np.testing.assert_allclose(scores.interval, 1.96 * deviation / 2)


def test_padded_rows_are_no_instances():
    labels = [[0, 1, 1, 0, 2, 2, 1], [2, 1, 0, 1, 1, 2, 0]]
    mask = [[1, 1, 0, 1, 1, 1, 1], [1, 0, 1, 1, 1, 1, 1]]
    scores = score(RightFromTheSecondTime(), episodes(labels, mask), count=2)
    np.testing.assert_allclose(scores.scores, [[1 / 3, 1]] * 2)


def test_numbers_by_row():
    y = np.array([[[1.0], [3.0], [0.0]], [[2.0], [1.0], [1.0]]])
    scores = score(One(), episodes(y, np.ones((2, 3))), count=2)
    np.testing.assert_array_equal(scores.scores, [[0, 4, 1], [1, 0, 0]])
    assert (scores.by, scores.score_name) == ("row", "squared error")


def test_what_is_refused():
    numbers = episodes(np.ones((2, 3, 1)), np.ones((2, 3)))
    with pytest.raises(ValueError, match='Expected by="row", as targets are numbers'):
        score(One(), numbers, by="instance")
    with pytest.raises(ValueError, match=r"Expected by in .*Received: by='class'"):
        score(RightFromTheSecondTime(), episodes(LABELS), by="class")
    with pytest.raises(ValueError, match=r"a learner that reads sequences.*Received: object"):
        score(object(), numbers)
    with pytest.raises(ValueError, match="Expected at least count=9 episodes"):
        score(RightFromTheSecondTime(), episodes(LABELS), count=9)


def test_a_prediction_that_is_not_finite_has_no_score():
    class Broken(RightFromTheSecondTime):
        def predict_sequence(self, examples):
            return super().predict_sequence(examples) * np.nan

    with pytest.raises(FloatingPointError, match="Expected finite scores"):
        score(Broken(), episodes(LABELS))
