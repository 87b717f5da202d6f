"""The inner loop: running a network on given weights, update rules, gradient steps."""

from tfmeta.inner.batch_norm import fused_batch_norm, has_batch_norm
from tfmeta.inner.loop import gradient_steps
from tfmeta.inner.meta_parameters import MetaParameters
from tfmeta.inner.network import call_network
from tfmeta.inner.rules import (
    SGD,
    CurvedSGD,
    GeneratedSGD,
    LearnedSGD,
    ProximalSGD,
    StepwiseSGD,
)

__all__ = [
    "SGD",
    "CurvedSGD",
    "GeneratedSGD",
    "LearnedSGD",
    "MetaParameters",
    "ProximalSGD",
    "StepwiseSGD",
    "call_network",
    "fused_batch_norm",
    "gradient_steps",
    "has_batch_norm",
]
