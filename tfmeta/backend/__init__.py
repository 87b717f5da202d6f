"""Workarounds for TensorFlow and Keras, and how tasks are batched: nothing about meta-learning."""

# For what they register: converters, of which the last is asked first, and what layers do inside a
# task.
from tfmeta.backend import static_shapes, calls, normalization  # isort: skip

__all__ = ["calls", "normalization", "static_shapes"]
