"""Workarounds for TensorFlow and Keras, and how tasks are batched: nothing about meta-learning."""

# For what they register: converters of calls, and what layers do inside a task.
from tfmeta.backend import calls, normalization

__all__ = ["calls", "normalization"]
