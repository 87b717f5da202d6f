"""Calls of functions by all tasks at once, each function converted once.

An inner step is traced once and called at each step, and so is its gradient. TensorFlow converts
the operations of a function at each call anew; here they become a function, too, which the next
call of the same kind calls again. Features that are folded into the channels stay so.
"""

import tensorflow as tf

from tfmeta.backend import folding, private
from tfmeta.backend.conversion import FOLDED, VECTORIZED, constants, converts, is_folding


@converts("PartitionedCall", "StatefulPartitionedCall", modes=(VECTORIZED, FOLDED))
def _call(op, tasks):
    name = op.get_attr("f").name
    if folding.kernel_of(name) is not None:
        return folding.convert_kernel(op, tasks) if is_folding() else None
    function = op.op.graph._get_function(name)
    handles = any(v.t.dtype in (tf.resource, tf.variant) for v in op.inputs)
    if (
        handles
        or getattr(function, "graph", None) is None
        or not any(value.is_stacked for value in op.inputs)
    ):
        return None
    tensors, kinds = zip(*map(_as_argument, op.inputs), strict=True)
    key = (name, kinds, tasks)
    known = constants()
    if key not in known:
        known[key] = _converted(op, function, tensors, kinds, tasks)
    converted, kinds = known[key]
    return [_as_value(t, kind, tasks) for t, kind in zip(converted(*tensors), kinds, strict=True)]


def _converted(op, function, tensors, kinds, tasks):
    """The function of all tasks, and the kinds of its results."""
    kinds_of_results = []

    def all_tasks(*tensors):
        values = [_as_value(t, kind, tasks) for t, kind in zip(tensors, kinds, strict=True)]
        converter = private.PFor(
            loop_var=op.pfor.loop_var,
            loop_len=tf.constant(tasks),
            pfor_ops=function.graph.get_operations(),
            fallback_to_while_loop=op.pfor.fallback_to_while_loop,
        )
        for placeholder, value in zip(function.graph.inputs, values, strict=True):
            converter._add_conversion(placeholder, value)
        results = [converter._convert_helper(t) for t in function.graph.outputs[: len(op.outputs)]]
        results, kinds_of_results[:] = zip(*map(_as_argument, results), strict=True)
        return list(results)

    specs = map(tf.TensorSpec.from_tensor, tensors)
    concrete = tf.function(all_tasks, autograph=False).get_concrete_function(*specs)
    return concrete, kinds_of_results


def _as_argument(value):
    """A value of the conversion as `(tensor, kind)`: folded if it is, else as it is."""
    if is_folding() and folding.is_folded(value):
        return folding.folded(value), "folded"
    return value.t, "stacked" if value.is_stacked else "one for all"


def _as_value(tensor, kind, tasks):
    if kind == "folded":
        return folding.unfold(tensor, tasks)
    return private.wrap(tensor, kind == "stacked")
