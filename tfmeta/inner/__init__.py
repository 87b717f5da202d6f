"""The inner loop: running a network on given weights, update rules, gradient steps."""

from tfmeta.backend.task_layers import in_task
from tfmeta.inner.call_network import call_network
from tfmeta.inner.gradient_steps import gradient_steps
from tfmeta.inner.optimizer import RuleOptimizer
from tfmeta.inner.rule import SGD, Rule

__all__ = ["SGD", "Rule", "RuleOptimizer", "call_network", "gradient_steps", "in_task"]
