"""Callbacks for `fit` that know learners."""

from tfmeta.callbacks.backup import BackupAndRestore
from tfmeta.callbacks.csv_logger import CSVLogger
from tfmeta.callbacks.episode_evaluation import EpisodeEvaluation
from tfmeta.callbacks.tensorboard import TensorBoard

__all__ = ["BackupAndRestore", "CSVLogger", "EpisodeEvaluation", "TensorBoard"]
