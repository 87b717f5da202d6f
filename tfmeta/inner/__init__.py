"""The inner loop: running a network on given weights, update rules, gradient steps."""

from tfmeta.inner.loop import gradient_steps
from tfmeta.inner.network import call_network, has_batch_norm
from tfmeta.inner.rules import SGD

__all__ = ["SGD", "call_network", "gradient_steps", "has_batch_norm"]
