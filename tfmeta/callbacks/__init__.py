"""Callbacks for `fit` that know learners."""

from tfmeta.callbacks.backup import BackupAndRestore

__all__ = ["BackupAndRestore"]
