"""Scores over many episodes, with their intervals, and pictures of them."""

from tfmeta.evaluation.active import active_curve
from tfmeta.evaluation.calibration import Coverage, NegativeLogLikelihood
from tfmeta.evaluation.comparison import Comparison, compare
from tfmeta.evaluation.diagnosis.diagnose import diagnose
from tfmeta.evaluation.diagnosis.diagnosis import Diagnosis
from tfmeta.evaluation.exact_gp import ExactGP
from tfmeta.evaluation.likelihood import score_likelihood
from tfmeta.evaluation.parts import score_classes, score_shots
from tfmeta.evaluation.pictures.belief_plots import plot_belief
from tfmeta.evaluation.pictures.function_plots import plot_functions
from tfmeta.evaluation.pictures.gate_plots import plot_gates
from tfmeta.evaluation.pictures.plots import plot_curve, plot_episode
from tfmeta.evaluation.rejection import score_rejection
from tfmeta.evaluation.reliability import (
    ExpectedCalibrationError,
    plot_reliability,
    score_reliability,
)
from tfmeta.evaluation.report import EvaluationReport
from tfmeta.evaluation.returns import evaluate_returns
from tfmeta.evaluation.scoring import evaluate_episodes, score_curve
from tfmeta.evaluation.sequences import score_sequence
from tfmeta.evaluation.zero_shot import score_zero_shot

__all__ = [
    "Comparison",
    "Coverage",
    "Diagnosis",
    "EvaluationReport",
    "ExactGP",
    "ExpectedCalibrationError",
    "NegativeLogLikelihood",
    "active_curve",
    "compare",
    "diagnose",
    "evaluate_episodes",
    "evaluate_returns",
    "plot_belief",
    "plot_curve",
    "plot_episode",
    "plot_functions",
    "plot_gates",
    "plot_reliability",
    "score_classes",
    "score_curve",
    "score_likelihood",
    "score_rejection",
    "score_reliability",
    "score_sequence",
    "score_shots",
    "score_zero_shot",
]
