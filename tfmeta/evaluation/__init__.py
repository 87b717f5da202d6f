"""Scores over many episodes, with their intervals, and pictures of them."""

from tfmeta.evaluation.plots import plot_curve, plot_episode
from tfmeta.evaluation.report import EvaluationReport
from tfmeta.evaluation.scoring import evaluate_episodes, score_curve

__all__ = [
    "EvaluationReport",
    "evaluate_episodes",
    "plot_curve",
    "plot_episode",
    "score_curve",
]
