"""Scores of many episodes, summed up."""

import math

import numpy as np


class EvaluationReport:
    """The score of each episode, their mean, and its 95 % interval.

    The interval is the field's: 1.96 standard errors (`ddof=1`) to either side of the mean.
    It covers the draw of the episodes and not the randomness of meta-training; for that,
    train with several seeds.

    `str(report)` is what a table of results shows, for instance
    `accuracy 98.12 ± 0.31 % (95 % interval, 600 episodes)`; before the bracket closes it says
    `transductive` where the score is.

    Args:
        scores: one score an episode, `[episodes]`.
        score_name: name of the score. "accuracy" is printed in percent.
        transductive: True if a prediction depends on the other query examples: such scores are
            higher, and are not to be compared with those of learners that see one at a time.

    Attributes:
        scores: float64 array `[episodes]`.
        score_name: str.
        transductive: bool.
        mean: float, mean over the episodes.
        interval: float, half width of the 95 % interval; nan for a single episode.

    Raises:
        ValueError: `scores` is empty or has another number of axes.
    """

    def __init__(self, scores, score_name="score", transductive=False):
        self.scores = _checked(scores, 1, "(episodes,)")
        self.score_name, self.transductive = score_name, bool(transductive)
        mean, interval = _mean_and_interval(self.scores)
        self.mean, self.interval = float(mean), float(interval)

    def difference(self, other):
        """Paired difference `self - other`, for two learners scored on the same episodes.

        Much of the spread between episodes is shared by both learners and cancels, so the
        interval is narrower than the two separate ones suggest. Give both evaluations a
        dataset with the same seed; that the episodes were the same cannot be seen here.

        Args:
            other: `EvaluationReport` of the same score over as many episodes.

        Returns:
            An `EvaluationReport` of the differences, one an episode; transductive if one of the
            two is.

        Raises:
            ValueError: the scores or the numbers of episodes differ.
        """
        if not isinstance(other, EvaluationReport):
            raise ValueError(
                f"Expected another EvaluationReport. Received: {other!r:.80}. Evaluate the other "
                "learner on the same episodes."
            )
        if self.score_name != other.score_name or len(self.scores) != len(other.scores):
            raise ValueError(
                "Expected two reports of the same score over the same episodes. Received: "
                f"{self.score_name} over {len(self.scores)} episodes and {other.score_name} over "
                f"{len(other.scores)}. Evaluate both learners with the same count and score."
            )
        return EvaluationReport(
            self.scores - other.scores,
            f"difference in {self.score_name}",
            self.transductive or other.transductive,
        )

    def __str__(self):
        mean, interval = self.mean, self.interval
        unit, decimals = "", _decimals(mean, interval)
        if is_percent(self.score_name):
            mean, interval, unit, decimals = 100 * mean, 100 * interval, " %", 2
        code = f".{decimals}f" if decimals <= 6 else ".2e"
        more = ", transductive" if self.transductive else ""
        if math.isnan(interval):
            return f"{self.score_name} {mean:{code}}{unit} (1 episode, no interval{more})"
        return (
            f"{self.score_name} {mean:{code}} ± {interval:{code}}{unit} "
            f"(95 % interval, {len(self.scores)} episodes{more})"
        )

    def __repr__(self):
        return f"<EvaluationReport: {self}>"


class ScoreCurve:
    """The score of each episode after 0, 1, ..., T inner steps.

    Args:
        scores: `[episodes, T + 1]`.
        score_name: name of the score.
        transductive: as in `EvaluationReport`.

    Attributes:
        scores: float64 array `[episodes, T + 1]`.
        score_name: str.
        mean: array `[T + 1]`, mean over the episodes.
        interval: array `[T + 1]`, half width of the 95 % interval.

    Raises:
        ValueError: `scores` is empty or has another number of axes.
    """

    def __init__(self, scores, score_name="score", transductive=False):
        self.scores = _checked(scores, 2, "(episodes, inner steps + 1)")
        self.score_name, self.transductive = score_name, bool(transductive)
        self.mean, self.interval = _mean_and_interval(self.scores)

    def at(self, inner_steps):
        """The `EvaluationReport` after this many inner steps."""
        return EvaluationReport(self.scores[:, inner_steps], self.score_name, self.transductive)

    def __repr__(self):
        last = self.scores.shape[1] - 1
        return f"<ScoreCurve: 0 to {last} inner steps; after {last}: {self.at(last)}>"


def is_percent(score_name):
    """Whether scores of this name are shown in percent."""
    return score_name in ("accuracy", "difference in accuracy")


def _checked(scores, axes, shape):
    scores = np.asarray(scores, np.float64)
    if scores.ndim != axes or scores.size == 0:
        raise ValueError(f"Expected scores of shape {shape}, not empty. Received: {scores.shape}.")
    return scores


def _mean_and_interval(scores):
    mean, episodes = scores.mean(axis=0), len(scores)
    if episodes == 1:
        return mean, np.full_like(mean, np.nan)
    return mean, 1.96 * scores.std(axis=0, ddof=1) / np.sqrt(episodes)


def _decimals(mean, interval):
    """Digits after the point that show two digits of the interval (three of a bare mean)."""
    value, digits = (interval, 2) if interval > 0 else (abs(mean), 3)
    if not (math.isfinite(value) and value > 0):
        return 3
    return max(0, digits - 1 - math.floor(math.log10(value)))
