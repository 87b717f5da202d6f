"""Callbacks for `fit` that know learners."""

from tfmeta.callbacks.backup import BackupAndRestore
from tfmeta.callbacks.episode_evaluation import EpisodeEvaluation

__all__ = ["BackupAndRestore", "EpisodeEvaluation"]
