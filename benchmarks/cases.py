"""What `python -m benchmarks.speed` measures: networks, episodes and first weights.

NumPy alone, so that the workers of every library can read it. Weights have Keras's layouts
(dense `[in, out]`, convolution `[height, width, in, out]`) and images are `[rows, height, width,
channels]`; each worker turns them into its own.
"""

import dataclasses
import itertools
import math

import numpy as np

from benchmarks import cases_context

# Keras's default, which tfmeta's conv4 takes; PyTorch's and Flax's is 1e-5.
EPSILON = 1e-3


@dataclasses.dataclass(frozen=True)
class Case:
    """One outer step: a network, a meta-batch, an inner loop.

    `width` is the number of hidden units or filters, `outputs` 0 leaves the head out,
    `downsample` is "pool" or "stride". In a sinusoid there is one "class", and in a sequence, whose
    rows are of `outputs` classes.
    """

    network: str
    input_shape: tuple
    outputs: int
    width: int
    tasks: int
    ways: int
    shots: int
    queries: int
    downsample: str = "pool"
    learner: str = "maml"
    inner_steps: int = 1
    inner_learning_rate: float = 0.01
    # What the last normalisation is multiplied by: squared distances of wide features, with 1,
    # decide the softmax, and there is no gradient to compare.
    last_scale: float = 1.0
    steps_per_execution: int = 1  # of Keras; small steps are run many at a time
    # How far outer gradients may be apart, relative. Rounding in float32 turns over a few ReLUs and
    # max-pools out of millions, and inner steps amplify that; anything computed differently shows
    # as more. The tests compare tfmeta with the plain loop where rounding does not matter: on small
    # cases to 1e-4, and in float64 to 1e-7 (tests/benchmarks, tests/inner/test_batch_norm.py).
    largest_error: float = 5e-3

    @property
    def classifies(self):
        return self.network in ("conv4", "sequence")


SINUSOID = Case("mlp", (1,), 1, 40, tasks=25, ways=1, shots=10, queries=10, steps_per_execution=50)
OMNIGLOT = Case(
    "conv4", (28, 28, 1), 5, 64, tasks=8, ways=5, shots=1, queries=5, inner_learning_rate=0.4
)
STRIDE = dataclasses.replace(OMNIGLOT, downsample="stride")
PROTONET = Case(
    "conv4", (28, 28, 1), 0, 64, tasks=1, ways=60, shots=1, queries=5, learner="protonet"
)
COLOR = dataclasses.replace(PROTONET, input_shape=(32, 32, 3), ways=20, shots=5)
LARGE = dataclasses.replace(COLOR, input_shape=(84, 84, 3), last_scale=0.02)
# 50 rows of 5 classes, pictures of 20x20 (Santoro et al.); 50 points of a curve for 50 others.
SEQUENCE = Case("sequence", (400,), 5, 200, tasks=16, ways=1, shots=49, queries=1, learner="lstm")
CURVES = Case("curves", (1,), 1, 128, tasks=16, ways=1, shots=50, queries=50, learner="cnp")

CASES = {
    "sinusoid-1": SINUSOID,
    "sinusoid-5": dataclasses.replace(SINUSOID, inner_steps=5),
    "sinusoid-1-1000": dataclasses.replace(SINUSOID, tasks=1000),
    "omniglot-1": OMNIGLOT,
    # The float64 gradient moves by up to 1.4e-2 if all numbers are changed by 3e-7.
    "omniglot-5": dataclasses.replace(OMNIGLOT, inner_steps=5, largest_error=0.05),
    "omniglot-10": dataclasses.replace(OMNIGLOT, inner_steps=10),
    # Large support sets: activations, not the graph, are most of the memory.
    "omniglot-20shot-1": dataclasses.replace(OMNIGLOT, shots=20, tasks=2),
    "omniglot-20shot-10": dataclasses.replace(OMNIGLOT, shots=20, tasks=2, inner_steps=10),
    "omniglot-stride-1": STRIDE,
    "omniglot-stride-5": dataclasses.replace(STRIDE, inner_steps=5),
    # The plain float32 loop is 6e-2 from float64.
    "miniimagenet-5": Case(
        "conv4",
        (84, 84, 3),
        5,
        32,
        tasks=4,
        ways=5,
        shots=5,
        queries=15,
        inner_steps=5,
        largest_error=0.15,
    ),
    "protonet": PROTONET,
    "protonet-color": COLOR,
    "protonet-84": LARGE,
    "r2d2": dataclasses.replace(PROTONET, learner="r2d2"),
    "r2d2-color": dataclasses.replace(COLOR, learner="r2d2"),
    "r2d2-84": dataclasses.replace(LARGE, learner="r2d2", last_scale=1.0),
    "lstm": SEQUENCE,
    "cnp": dataclasses.replace(CURVES, steps_per_execution=50),
    "tnp": dataclasses.replace(CURVES, width=64, learner="tnp"),
    **{name: dataclasses.replace(SEQUENCE, learner=name) for name in cases_context.WITHOUT_PEERS},
    # The rule of an inner step is learned, by the mean of the losses after 20 of its steps.
    "optimizer-20": dataclasses.replace(
        SINUSOID, tasks=8, learner="optimizer", inner_steps=20, steps_per_execution=1
    ),
}


# Measured by `--memory` only, unless `--cases` names it.
MEMORY_ONLY = (
    *("omniglot-10", "omniglot-20shot-1", "omniglot-20shot-10"),
    *cases_context.WITHOUT_PEERS,
)


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer with a kernel. `height` and `width` are those of its output, 1 if it is dense."""

    name: str
    kernel: tuple
    height: int = 1
    width: int = 1
    stride: int = 1

    @property
    def macs(self):
        """Multiplications with additions for one example."""
        return math.prod(self.kernel) * self.height * self.width


def layers(case):
    """The layers of the case's network, first to last."""
    if case.network == "mlp":
        widths = (*case.input_shape, case.width, case.width, case.outputs)
        names = ("dense1", "dense2", "head")
        return [Layer(n, (widths[i], widths[i + 1])) for i, n in enumerate(names)]
    found, (height, width, channels) = [], case.input_shape
    pool = case.downsample == "pool"
    for i in range(1, 5):
        if not pool:
            height, width = -(-height // 2), -(-width // 2)
        kernel = (3, 3, channels, case.width)
        found.append(Layer(f"conv{i}", kernel, height, width, 1 if pool else 2))
        channels = case.width
        if pool:
            height, width = height // 2, width // 2
    if case.outputs:
        features = channels * height * width if pool else channels
        found.append(Layer("head", (features, case.outputs)))
    return found


def first_weights(case, seed=0):
    """Name -> array, in the order of the Keras network's trainable variables."""
    if case.learner in cases_context.LEARNERS:
        return cases_context.first_weights(case, seed)
    random = np.random.default_rng(seed)
    weights = {}

    def near(value, size):
        return (value + 0.1 * random.normal(size=size)).astype("float32")

    for layer in layers(case):
        *field, inputs, outputs = layer.kernel
        limit = math.sqrt(6 / (math.prod(field) * (inputs + outputs)))
        kernel = random.uniform(-limit, limit, layer.kernel)
        weights[f"{layer.name}/kernel"] = kernel.astype("float32")
        # Not exactly 0 and 1, so that the check of the gradients sees these weights, too.
        weights[f"{layer.name}/bias"] = near(0, outputs)
        if layer.name.startswith("conv"):
            scale = np.float32(case.last_scale if layer.name == "conv4" else 1)
            weights[f"norm{layer.name[4:]}/gamma"] = scale * near(1, outputs)
            weights[f"norm{layer.name[4:]}/beta"] = scale * near(0, outputs)
    return weights


def rule_weights(seed=0):
    """Name -> array, of the MLP rule: 19 features, two layers of 32, two outputs."""
    random, widths = np.random.default_rng(seed), (19, 32, 32, 2)
    weights = {}
    for i, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        limit = math.sqrt(6 / (inputs + outputs))
        kernel = random.uniform(-limit, limit, (inputs, outputs))
        weights[f"rule/kernel_{i}"] = kernel.astype("float32")
        weights[f"rule/bias_{i}"] = (0.1 * random.normal(size=outputs)).astype("float32")
    return weights


def outer_weights(case):
    """Name -> array: what the outer step descends along."""
    if case.learner == "optimizer":
        return rule_weights()
    head = {"log_regularization": 0.0, "output_scale": 10.0} if case.learner == "r2d2" else {}
    return first_weights(case) | {f"r2d2/{k}": np.float32(v) for k, v in head.items()}


def all_arrays(case):
    """What a worker is given: weights of the network and of a rule, and a meta-batch."""
    return {**first_weights(case), **outer_weights(case), **meta_batch(case)}


def meta_batch(case, seed=0):
    """`support_x`, `support_y`, `query_x`, `query_y`: arrays `[tasks, rows, ...]`."""
    random = np.random.default_rng(seed)
    draw = {"conv4": _images, "sequence": cases_context.sequences}.get(case.network, _curves)
    parts = {"support": case.shots, "query": case.queries}
    drawn = zip(parts, draw(case, parts.values(), random), strict=True)
    return {f"{part}_{axis}": array for part, xy in drawn for axis, array in zip("xy", xy)}  # noqa: B905


def _curves(case, sizes, random):
    amplitude = random.uniform(0.1, 5.0, (case.tasks, 1, 1))
    phase = random.uniform(0, np.pi, (case.tasks, 1, 1))
    for rows in sizes:
        x = random.uniform(-5, 5, (case.tasks, rows, 1))
        yield x.astype("float32"), (amplitude * np.sin(x - phase)).astype("float32")


def _images(case, sizes, random):
    """A random picture a class, with noise: 0..1."""
    classes = random.uniform(0, 1, (case.tasks, case.ways, *case.input_shape))
    for each in sizes:
        x = np.repeat(classes, each, axis=1)
        x = np.clip(x + 0.2 * random.normal(size=x.shape), 0, 1).astype("float32")
        y = np.repeat(np.arange(case.ways, dtype="int32"), each)
        yield x, np.tile(y, (case.tasks, 1))
