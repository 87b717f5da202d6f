"""Workarounds for TensorFlow and Keras, and how tasks are batched: nothing about meta-learning."""
