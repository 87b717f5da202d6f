"""Meta-learning for TensorFlow and Keras."""

from tfmeta import (
    callbacks,
    datasets,
    distribution,
    environments,
    episodes,
    evaluation,
    inner,
    learners,
    networks,
    ops,
    serving,
    tuning,
)
from tfmeta.engine.meta_model import MetaModel
from tfmeta.engine.task import StateUpdate, TaskResult
from tfmeta.types import ClassDataset, Episode, Examples
from tfmeta.version import __version__

__all__ = [
    "ClassDataset",
    "Episode",
    "Examples",
    "MetaModel",
    "StateUpdate",
    "TaskResult",
    "__version__",
    "callbacks",
    "datasets",
    "distribution",
    "environments",
    "episodes",
    "evaluation",
    "inner",
    "learners",
    "networks",
    "ops",
    "serving",
    "tuning",
]
