"""Scores of many episodes, summed up."""

import math
import pathlib
from typing import Any

import numpy as np

from tfmeta.arguments import check_integer
from tfmeta.evaluation import report_pages
from tfmeta.evaluation.score_words import is_higher_better, shown
from tfmeta.hints import Path


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
        calibration: what `score_reliability` returns, set by you for the pages; None.
        by_shots, by_class: dicts to an `EvaluationReport` from a number of shots, or from the name
            of a class, which `score_shots` and `score_classes` return; set by you; empty.

    Raises:
        ValueError: `scores` is empty or has another number of axes.
    """

    def __init__(self, scores: Any, score_name: str = "score", transductive: bool = False):
        self.scores = _checked(scores, 1, "(episodes,)")
        self.score_name, self.transductive = score_name, bool(transductive)
        mean, interval = _mean_and_interval(self.scores)
        self.mean, self.interval = float(mean), float(interval)
        self.calibration: Any = None
        self.by_shots: dict[int, EvaluationReport] = {}
        self.by_class: dict[str, EvaluationReport] = {}

    def difference(self, other: "EvaluationReport") -> "EvaluationReport":
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

    def bootstrap(self, draws: int = 10_000, seed: int = 0) -> tuple[float, float]:
        """The 95 % interval by the bootstrap: no normal distribution is assumed.

        Args:
            draws: how many times as many episodes are drawn, with replacement.
            seed: int.

        Returns:
            `(low, high)`: the 2.5 % and 97.5 % quantile of the means of the draws.

        Reference:
            Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7
            (1979): the percentile interval.
        """
        draws, rng = check_integer("draws", draws, 1), np.random.default_rng(seed)
        number = len(self.scores)
        # How often each episode is drawn is what counts of a draw.
        means = [
            rng.multinomial(number, np.full(number, 1 / number), size) @ self.scores / number
            for size in np.diff([*range(0, draws, 500), draws])
        ]
        low, high = np.quantile(np.concatenate(means), (0.025, 0.975))
        return float(low), float(high)

    def hardest(self, count: int = 5) -> list[int]:
        """Numbers of the episodes with the worst scores, the worst first: a list."""
        order = np.argsort(self.scores, kind="stable")
        order = order if is_higher_better(self.score_name) else order[::-1]
        return order[: check_integer("count", count, 1)].tolist()

    def to_json(self, path: Path | None = None) -> str:
        """JSON text: mean, both intervals, the score of every episode, and what was set besides.

        Args:
            path: file to write as well.
        """
        return _written(report_pages.to_json(self), path)

    def to_markdown(self, path: Path | None = None) -> str:
        """Tables in Markdown: mean, both intervals, the hardest episodes, what was set besides."""
        return _written(report_pages.to_markdown(self), path)

    def to_html(self, path: Path | None = None, title: str = "Evaluation") -> str:
        """One self-contained page: what `to_markdown` says, and pictures of the same, inside.

        Args:
            path: file to write as well.
            title: title of the page.

        Raises:
            ImportError: matplotlib is missing.
        """
        return _written(report_pages.to_html(self, title), path)

    def __str__(self):
        more = ", transductive" if self.transductive else ""
        score = f"{self.score_name} {shown(self.mean, self.interval, self.score_name)}"
        if math.isnan(self.interval):
            return f"{score} (1 episode, no interval{more})"
        return f"{score} (95 % interval, {len(self.scores)} episodes{more})"

    def __repr__(self):
        return f"<EvaluationReport: {self}>"


class ScoreCurve:
    """The score of each episode after 0, 1, ..., T inner steps, or other steps of a task.

    Args:
        scores: `[episodes, T + 1]`.
        score_name: name of the score.
        transductive: as in `EvaluationReport`.
        step_name: what a step is called.
        first: the number of the first step.

    Attributes:
        scores: float64 array `[episodes, T + 1]`.
        score_name: str.
        mean: array `[T + 1]`, mean over the episodes.
        interval: array `[T + 1]`, half width of the 95 % interval.

    Raises:
        ValueError: `scores` is empty or has another number of axes.
    """

    def __init__(
        self, scores, score_name="score", transductive=False, *, step_name="inner step", first=0
    ):
        self.scores = _checked(scores, 2, "(episodes, inner steps + 1)")
        self.step_name, self.first = step_name, first
        self.score_name, self.transductive = score_name, bool(transductive)
        self.mean, self.interval = _mean_and_interval(self.scores)

    def at(self, inner_steps):
        """The `EvaluationReport` after this many inner steps."""
        scores = self.scores[:, inner_steps - self.first]
        return EvaluationReport(scores, self.score_name, self.transductive)

    def __repr__(self):
        last = self.first + self.scores.shape[1] - 1
        steps = f"{self.first} to {last} {self.step_name}s"
        return f"<ScoreCurve: {steps}; after {last}: {self.at(last)}>"


def _written(text, path):
    if path is not None:
        pathlib.Path(path).write_text(text, encoding="utf-8")
    return text


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
