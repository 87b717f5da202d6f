"""How the tasks of a meta-batch are batched: the choice, by the network and the step.

Two modes, both inside one compiled graph:

- `"vectorize"`: all tasks in one kernel. Right for dense networks and for learners whose tasks
  share their weights (a convolution then takes the tasks into its batch axis). Convolutions with
  weights of each task's own are grouped (`tfmeta.backend.folding`): right for small features, where
  the kernels of one task are too short for several cores.
- `"loop"`: one task after another, a few at the same time. Right for recurrent networks, and for
  large features, which a task at a time keeps in the cache; also where weights are shared, if they
  are normalised by batches, which only a task at a time does in one fused operation.

Figures of both: the table in benchmarks/README.md. The loop unrolled is not a mode: it is as fast,
and takes five times as long to trace.
"""

import functools
import warnings

import keras
import tensorflow as tf

from tfmeta.backend import private
from tfmeta.backend.folding import has_grouped_kernels
from tfmeta.backend.private_keras import is_called
from tfmeta.backend.task_layers import kernel_layers

MODES = ("auto", "vectorize", "loop")
# Features of a task's support set, in numbers, up to which all tasks share a kernel: 1 MB.
_SMALL = 2**18
# Features of a task, likewise, where the tasks share their weights: 4 MB.
_SMALL_SHARED = 2**20
# Convolutions of such a network up to which it is traced for all tasks: each of its operations is
# converted, and takes longer than to trace it for one (MobileNetV2: 42 s in the place of 17).
_FEW_LAYERS = 20


def batching_mode(own_layers, layers, asked, elements, in_xla):
    """Choose the mode for a learner.

    Args:
        own_layers: the layers that each task runs on weights of its own.
        layers: all layers of the network.
        asked: one of `MODES`.
        elements: nest of tensors `[B, ...]`, the first of them the support inputs `[B, S, ...]`.
        in_xla: True if the step is compiled by XLA.

    Returns:
        `"vectorize"`, `"loop"`, or `"fold"`: vectorised, with grouped convolutions, which takes
        known shapes; without them the loop.
    """
    if tf.config.functions_run_eagerly():
        return "loop"
    if private.missing():
        _say_once(tuple(private.missing()))
        return "loop"
    kernels = kernel_layers(own_layers)
    if not kernels:
        large = asked == "auto" and not in_xla and _is_large(layers, elements)
        return "loop" if large else "vectorize" if asked == "auto" else asked
    known = all(t.shape.is_fully_defined() for t in tf.nest.flatten(elements))
    if asked == "vectorize" and known:
        return "fold"
    plain = all(type(layer) is keras.layers.Conv2D for layer in kernels)
    if asked != "auto" or not (known and plain) or in_xla or tf.config.list_logical_devices("GPU"):
        return "loop"
    rows = tf.nest.flatten(elements)[0].shape[1]
    return "fold" if rows * _largest_features(kernels) <= _SMALL else "loop"


def _largest_features(kernels):
    """How many numbers a convolution gives for an example; infinity if that is not known."""
    fast = all(has_grouped_kernels(tf.as_dtype(layer.compute_dtype)) for layer in kernels)
    sizes = _sizes(kernels)
    return max(sizes) if fast and None not in sizes else float("inf")


def _sizes(layers):
    """How many numbers each of some layers gives for an example, None where that is not known."""
    shapes = [x.output.shape[1:] if is_called(x) else (None,) for x in layers]
    return [tf.TensorShape(shape).num_elements() for shape in shapes]


def _is_large(layers, elements):
    """True if batch normalisation of shared features is better off a task at a time.

    Where features are large, or layers are many.
    """
    normalizations = [x for x in layers if isinstance(x, keras.layers.BatchNormalization)]
    sizes = [size for size in _sizes(normalizations) if size is not None]
    rows = [t.shape[1] for t in tf.nest.flatten(elements) if t.shape.rank > 1 and t.shape[1]]
    kernels = kernel_layers(layers)
    if not (sizes and rows and kernels) or tf.config.list_logical_devices("GPU"):
        return False
    return len(kernels) > _FEW_LAYERS or max(rows) * max(sizes) > _SMALL_SHARED


@functools.cache
def _say_once(names):
    warnings.warn(
        f"TensorFlow {tf.__version__} lacks {', '.join(names)}, which tfmeta.backend.private looks "
        "for: the tasks of a meta-batch run one after another, with the same results.",
        stacklevel=2,
    )
