"""Episodes as plain `tf.data.Dataset` pipelines."""

from tfmeta.episodes.classes import classification
from tfmeta.episodes.families import sinusoid, sinusoid_parameters

__all__ = ["classification", "sinusoid", "sinusoid_parameters"]
