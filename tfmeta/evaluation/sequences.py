"""Scores along a sequence: by row, or by the k-th time that a class is seen."""

import numpy as np
import tensorflow as tf

from tfmeta.engine.meta_model import MetaModel
from tfmeta.evaluation.calibration import is_learner
from tfmeta.evaluation.report import EvaluationReport, ScoreCurve
from tfmeta.evaluation.scoring import score_all
from tfmeta.types import Examples

BY = ("instance", "row")


class SequenceScores(ScoreCurve):
    """The scores of each episode along its sequence.

    Args:
        scores: `[episodes, K]`; k counts from 1.
        score_name: name of the score.
        by: "instance" or "row", what k counts.

    Attributes:
        scores: float64 array `[episodes, K]`.
        score_name: str.
        by: str.
        mean: array `[K]`, mean over the episodes.
        interval: array `[K]`, half width of the 95 % interval.

    Raises:
        ValueError: `scores` is empty or has another number of axes.
    """

    def __init__(self, scores, score_name="score", by="row"):
        super().__init__(scores, score_name)
        self.by = by

    def at(self, k):
        """The `EvaluationReport` of the k-th instance or row, from 1.

        Raises:
            ValueError: there is no such k.
        """
        if not 1 <= k <= self.scores.shape[1]:
            raise ValueError(f"Expected k in 1..{self.scores.shape[1]}. Received: {k!r}.")
        return EvaluationReport(self.scores[:, k - 1], self.score_name)

    def __str__(self):
        return "\n".join(f"{self.by} {k + 1}: {self.at(k + 1)}" for k in range(len(self.mean)))

    def __repr__(self):
        last = len(self.mean)
        return f"<SequenceScores: {self.by} 1 to {last}; the last: {self.at(last)}>"


def score_sequence(
    learner: MetaModel,
    episodes: tf.data.Dataset,
    count: int = 600,
    *,
    by: str | None = None,
    verbose: int = 1,
) -> SequenceScores:
    """Scores each row's prediction from the rows before it and their targets.

    The rows of an episode, support set first, are read as one sequence. The first row is predicted
    from nothing.

    Args:
        learner: a learner that reads sequences, with a method `predict_sequence`: `LSTMLearner`,
            `MANN`, `SNAIL` or `InContextTransformer`.
        episodes: `tf.data.Dataset` of meta-batched `Episode`, such as
            `tfmeta.episodes.sequence`. Give it its own seed, and classes that were not trained on.
        count: number of episodes, the first of the dataset.
        by: "instance" for the accuracy at the k-th time that a class is seen, the mean over the
            classes that are seen so often, up to k = rows / ways, which one always is; "row" for
            the score of the k-th row, accuracy or squared error. None for "instance" where targets
            are labels, else "row".
        verbose: 1 for a progress bar, 0 for silence.

    Returns:
        `SequenceScores`: `.scores` `[count, K]`, `.mean` and `.interval` `[K]`, and `.at(k)`.

    Raises:
        ValueError: the learner does not read sequences; `by` is none of these, or "instance" where
            targets are no labels; the dataset ends before `count`.
        FloatingPointError: a score is not finite.

    Reference:
        Santoro et al., "Meta-Learning with Memory-Augmented Neural Networks", ICML 2016, table 1.
    """
    if not (is_learner(learner) and learner.predicts_sequences):
        raise ValueError(
            "Expected a learner that reads sequences, such as tfmeta.learners.MANN. Received: "
            f"{type(learner).__name__}, which has no method predict_sequence; use "
            "evaluate_episodes."
        )
    learner.prepare(episodes)
    first = _sequence(next(iter(episodes.take(1))), axis=1)
    labels = first.y.dtype.is_integer
    by = _check_by(by, labels)
    instances = _instances(first) if by == "instance" else None

    def scores(episode):
        rows = _sequence(episode, axis=0)
        values = _values(rows.y, learner.predict_sequence(rows), labels)
        # Rows that are padding have no score; selecting, as padding may hold nan.
        values = tf.where(rows.mask > 0, values, 0.0)
        if instances is None:
            return values
        which = tf.one_hot(_instance(rows) - 1, instances, dtype=values.dtype)
        which *= tf.cast(rows.mask, values.dtype)[:, None]
        return tf.reduce_sum(which * values[:, None], 0) / tf.reduce_sum(which, 0)

    key = "score_sequence", by, instances
    found, _ = score_all(learner, episodes, count, None, lambda _: scores, key, verbose)
    return SequenceScores(found, "accuracy" if labels else "squared error", by)


def _sequence(episode, axis):
    """The rows of an episode, or of a meta-batch, in one `Examples`."""
    return Examples(
        *tf.nest.map_structure(lambda *parts: tf.concat(parts, axis), *map(tuple, episode))
    )


def _check_by(by, labels):
    by = by or ("instance" if labels else "row")
    if by not in BY or (by == "instance" and not labels):
        allowed = f"by in {BY}" if labels else 'by="row", as targets are numbers'
        raise ValueError(f"Expected {allowed}. Received: by={by!r}.")
    return by


def _instances(first):
    """How often some class is seen for certain in each sequence like those of a meta-batch."""
    rows, ways = first.mask.numpy().sum(axis=1).min(), first.y.numpy().max() + 1
    return int(rows) // int(ways)


def _instance(rows):
    """For each row how many rows of its class there are up to it, itself included, int32."""
    same = (rows.y[:, None] == rows.y[None]) & (rows.mask[None] > 0)
    up_to = tf.linalg.band_part(tf.cast(same, tf.int32), -1, 0)
    return tf.reduce_sum(up_to, axis=1)


def _values(y, outputs, labels):
    """Accuracy, or squared error, of each row; nan where outputs are not finite."""
    if labels:
        right = tf.argmax(outputs, axis=-1, output_type=tf.int64) == tf.cast(y, tf.int64)
        known = tf.reduce_all(tf.math.is_finite(outputs), axis=-1)
        return tf.where(known, tf.cast(right, tf.float64), np.nan)
    y = tf.cast(tf.reshape(y, tf.shape(outputs)), tf.float64)
    return tf.reduce_mean(tf.square(tf.cast(outputs, tf.float64) - y), axis=-1)
