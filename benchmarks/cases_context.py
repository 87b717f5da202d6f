"""The cases of `benchmarks.cases` whose learners make all of their layers: first weights, rows.

NumPy alone. Weights are named and ordered as those of the learner, "layer/weight".
"""

import itertools
import math

import numpy as np

# Learners that `benchmarks.speed` measures the memory of, and nothing else: their own weights.
WITHOUT_PEERS = ("mann", "snail", "transformer")
LEARNERS = ("lstm", "cnp", "tnp", *WITHOUT_PEERS)
BLOCKS, FEEDFORWARD = 6, 128  # of TNP


def shapes(case):
    """Name -> shape of each weight, in the order of the learner's trainable variables."""
    if case.learner == "lstm":
        read, width = math.prod(case.input_shape) + case.outputs, case.width
        found = {"lstm/kernel": (read, 4 * width), "lstm/recurrent": (width, 4 * width)}
        return _dense("head", width, case.outputs) | found | {"lstm/bias": (4 * width,)}
    if case.learner == "cnp":
        given, width, hidden = case.input_shape[0], case.width, (case.width,) * 2
        encoder = _layers("encode", (given + case.outputs, *hidden, width))
        return encoder | _layers("decode", (width + given, *hidden, 2 * case.outputs))
    if case.learner == "tnp":
        width = case.width
        found = _layers("embed", (case.input_shape[0] + case.outputs, *(width,) * 4))
        for i in range(BLOCKS):
            found |= _block(f"block{i}", width)
        return found | _layers("decode", (width, FEEDFORWARD, 2 * case.outputs))
    return {}


def _dense(name, inputs, outputs):
    return {f"{name}/kernel": (inputs, outputs), f"{name}/bias": (outputs,)}


def _layers(name, widths):
    found = {}
    for i, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        found |= _dense(f"{name}{i}", inputs, outputs)
    return found


def _block(name, width):
    found = {}
    for part in ("query", "key", "value", "output"):
        found |= _dense(f"{name}.{part}", width, width)
    found |= _dense(f"{name}.widen", width, FEEDFORWARD)
    found |= _dense(f"{name}.narrow", FEEDFORWARD, width)
    for i in range(2):
        found |= {f"{name}.norm{i}/{weight}": (width,) for weight in ("gamma", "beta")}
    return found


def first_weights(case, seed=0):
    """Name -> array."""
    random, weights = np.random.default_rng(seed), {}
    for name, shape in shapes(case).items():
        if len(shape) == 2:
            limit = math.sqrt(6 / sum(shape))
            weights[name] = random.uniform(-limit, limit, shape).astype("float32")
        else:
            near = float(name.endswith("gamma"))
            weights[name] = (near + 0.1 * random.normal(size=shape)).astype("float32")
    return weights


def sequences(case, sizes, random):
    """Rows of each task in turn, of `case.outputs` classes in random order: inputs and labels."""
    classes = random.uniform(0, 1, (case.tasks, case.outputs, *case.input_shape))
    for rows in sizes:
        y = random.integers(case.outputs, size=(case.tasks, rows), dtype="int32")
        x = np.take_along_axis(classes, y[..., None], axis=1)
        x = np.clip(x + 0.2 * random.normal(size=x.shape), 0, 1).astype("float32")
        yield x, y
