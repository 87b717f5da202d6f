"""MLPRule: one step against NumPy."""

import numpy as np
import tasks
from learners.optimizers.steps import drawn_gradients, stepped

from tfmeta.learners import MLPRule


def test_mlp_rule_has_nineteen_features():
    """One step, against NumPy, with all features in one matrix."""
    network = tasks.dense(dtype="float64")
    rule, gradients = MLPRule((7, 6), step_size=0.1, exponent=0.2), drawn_gradients(network)
    found = stepped(rule, network, gradients, 1)
    decays = np.array([0.1, 0.5, 0.9, 0.99, 0.999, 0.9999])
    times = np.array([1, 3, 10, 30, 100, 300, 1000, 3000, 1e4, 3e4, 1e5])
    kernels, biases = ([np.array(v) for v in part] for part in (rule.kernels, rule.biases))
    for new, v, g in zip(found, network.trainable_variables, gradients, strict=True):
        w, g = np.array(v).ravel(), np.ravel(g)
        x = np.stack([g, w, *[(1 - b) * g for b in decays]], axis=1)
        x = x / np.sqrt((x**2).mean(0) + 1e-5)
        x = np.concatenate([x, np.tile(np.tanh(0 / times - 1), (len(x), 1))], axis=1)
        assert x.shape[1] == 19
        for kernel, bias in zip(kernels[:-1], biases[:-1], strict=True):
            x = np.maximum(x @ kernel + bias, 0)
        direction, magnitude = (x @ kernels[-1] + biases[-1]).T
        expected = w - 0.1 * direction * np.exp(0.2 * magnitude)
        np.testing.assert_allclose(new.ravel(), expected, rtol=1e-9)
