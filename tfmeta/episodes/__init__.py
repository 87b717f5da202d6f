"""Episodes as plain `tf.data.Dataset` pipelines."""

from tfmeta.episodes.classification import classification
from tfmeta.episodes.families import family, harmonic, line, linear, mixture, polynomial, sinusoid

__all__ = [
    "classification",
    "family",
    "harmonic",
    "line",
    "linear",
    "mixture",
    "polynomial",
    "sinusoid",
]
