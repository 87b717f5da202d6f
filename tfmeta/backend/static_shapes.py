"""Converters for operations whose shapes are known: what TensorFlow's write as twelve, as two.

TensorFlow's compute shapes with the tasks in front by operations of the graph, at each reshaping
and each sum. All of them are known where tasks are folded, and a graph of half as many operations
is traced, and made ready for the first step, in less time.
"""

import tensorflow as tf

from tfmeta.backend.conversion import FOLDED, VECTORIZED, converts, same_op
from tfmeta.backend.features import Features, constant, reshape, unfold
from tfmeta.backend.private import wrap

_BOTH = (VECTORIZED, FOLDED)


@converts("Shape", "ShapeN", modes=_BOTH)
def _shape(op, tasks):
    shapes = [t.shape for t in op.op.inputs]
    if not all(shape.is_fully_defined() for shape in shapes):
        return None
    dtype = op.op.outputs[0].dtype
    return [wrap(tf.constant(shape.as_list(), dtype), False) for shape in shapes]


@converts("Reshape", "Squeeze", "ExpandDims", modes=_BOTH)
def _reshape(op, tasks):
    value, shape = op.inputs[0], op.op.outputs[0].shape
    if not (value.is_stacked and shape.is_fully_defined()):
        return None
    shape, before = tuple(shape.as_list()), op.op.inputs[0].shape
    if isinstance(value, Features) and shape and shape[-1] == before[-1]:
        return unfold(reshape(value.place.folded, (*shape[:-1], shape[-1] * tasks)), tasks)
    return wrap(reshape(value.t, (tasks, *shape)), True)


@converts("Sum", "Mean", "Max", "Min", "Prod", modes=_BOTH)
def _reduce(op, tasks):
    axes = tf.get_static_value(op.op.inputs[1])
    rank = op.op.inputs[0].shape.rank
    if not op.inputs[0].is_stacked or axes is None or axes.dtype != "int32" or rank is None:
        return None
    axes = tuple(int(axis) % rank + 1 for axis in axes.reshape(-1))
    return [wrap(t, True) for t in same_op(op, [op.inputs[0].t, constant(axes)])]


@converts("AddN", modes=_BOTH)
def _add_n(op, tasks):
    """What all tasks share is added once, not tiled before."""
    own = [value.t for value in op.inputs if value.is_stacked]
    shared = [value.t for value in op.inputs if not value.is_stacked]
    if not own or not shared:
        return None
    total = tf.add_n(own) if len(own) > 1 else own[0]
    return wrap(total + tf.add_n(shared), True)


@converts("BiasAddGrad", modes=_BOTH)
def _bias_add_grad(op, tasks):
    rank = op.op.inputs[0].shape.rank
    if op.get_attr("data_format") != b"NHWC" or rank is None or not op.inputs[0].is_stacked:
        return None
    return wrap(tf.reduce_sum(op.inputs[0].t, constant(tuple(range(1, rank)))), True)


@converts("SparseSoftmaxCrossEntropyWithLogits", modes=_BOTH)
def _cross_entropy(op, tasks):
    logits, labels = op.inputs
    shape = op.op.inputs[0].shape
    if not (logits.is_stacked and labels.is_stacked and shape.is_fully_defined()):
        return None
    rows, classes = shape
    inputs = [reshape(logits.t, (tasks * rows, classes)), reshape(labels.t, (tasks * rows,))]
    loss, gradients = same_op(op, inputs)
    return [
        wrap(reshape(loss, (tasks, rows)), True),
        wrap(reshape(gradients, (tasks, rows, classes)), True),
    ]
