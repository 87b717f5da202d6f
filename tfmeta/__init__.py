"""Meta-learning for TensorFlow and Keras."""

from tfmeta import datasets, episodes, evaluation, learners, networks, ops, tuning
from tfmeta.learners import MetaModel
from tfmeta.types import ClassDataset, Episode, Examples
from tfmeta.version import __version__

__all__ = [
    "ClassDataset",
    "Episode",
    "Examples",
    "MetaModel",
    "__version__",
    "datasets",
    "episodes",
    "evaluation",
    "learners",
    "networks",
    "ops",
    "tuning",
]
