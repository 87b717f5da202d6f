"""Episodes as plain `tf.data.Dataset` pipelines."""

from tfmeta.episodes.augmented import augmented
from tfmeta.episodes.classification import classification
from tfmeta.episodes.families import family, harmonic, line, linear, mixture, polynomial, sinusoid
from tfmeta.episodes.gaussian_processes import gaussian_process
from tfmeta.episodes.linear_regression import linear_regression
from tfmeta.episodes.quadratics import quadratic
from tfmeta.episodes.sequence import sequence

__all__ = [
    "augmented",
    "classification",
    "family",
    "gaussian_process",
    "harmonic",
    "line",
    "linear",
    "linear_regression",
    "mixture",
    "polynomial",
    "quadratic",
    "sequence",
    "sinusoid",
]
