"""The inner loop: running a network on given weights, update rules, gradient steps."""

from tfmeta.backend.network_facts import has_batch_norm
from tfmeta.backend.task_layers import fused_batch_norm
from tfmeta.inner.call_network import call_network
from tfmeta.inner.gradient_steps import gradient_steps
from tfmeta.inner.meta_parameters import MetaParameters
from tfmeta.inner.rule import SGD, CurvedSGD, GeneratedSGD, LearnedSGD, ProximalSGD, StepwiseSGD

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
