"""Calls of functions by all tasks at once, each function converted once.

An inner step is traced once and called at each step, and so is its gradient. TensorFlow converts
the operations of a function at each call anew; here they become a function, too, which the next
call of the same kind calls again. Features that are folded into the channels stay so.
"""

import inspect

import tensorflow as tf

from tfmeta.backend import features, folding, private
from tfmeta.backend.conversion import (
    FOLDED,
    VECTORIZED,
    constants,
    converts,
    is_converting,
    is_folding,
)
from tfmeta.backend.task_layers import is_in_xla


def traced_once(function, *arguments):
    """A function that is called several times, as a function of the graph: traced once for all.

    Not where there is no graph, nor under XLA, which inlines all calls, and under which an
    optimizer that accumulates gradients (`tf.cond`) never stepped after a call inside of the step
    (TensorFlow 2.21): there it is the function itself.

    Args:
        function: function of nests of tensors.
        *arguments: nests of tensors like those that it will be called with.
    """
    if tf.executing_eagerly() or is_in_xla():
        return function
    specs = tf.nest.map_structure(tf.TensorSpec.from_tensor, arguments)
    return tf.function(function, autograph=False).get_concrete_function(*specs)


@converts("PartitionedCall", "StatefulPartitionedCall", modes=(VECTORIZED, FOLDED))
def _call(op, tasks):
    name = op.get_attr("f").name
    if folding.kernel_of(name) is not None:
        return folding.convert_kernel(op, tasks) if is_folding() else None
    function = private.function_of_graph(op.op.graph, name)
    handles = any(t.dtype in (tf.resource, tf.variant) for t in op.op.inputs)
    if (
        handles
        or getattr(function, "graph", None) is None
        or not any(value.is_stacked for value in op.inputs)
    ):
        return None
    tensors, kinds = zip(*(_as_argument(value, tasks) for value in op.inputs), strict=True)
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
        converter = features.Conversion(
            loop_var=op.pfor.loop_var,
            loop_len=tf.constant(tasks),
            pfor_ops=function.graph.get_operations(),
            fallback_to_while_loop=op.pfor.fallback_to_while_loop,
        )
        for placeholder, value in zip(function.graph.inputs, values, strict=True):
            converter.note(placeholder, value)
        results = [converter.of_all(t) for t in function.graph.outputs[: len(op.outputs)]]
        results, kinds_of_results[:] = zip(*map(_as_result, results), strict=True)
        return list(results)

    specs = map(tf.TensorSpec.from_tensor, tensors)
    concrete = tf.function(all_tasks, autograph=False).get_concrete_function(*specs)
    return concrete, kinds_of_results


# Numbers of a task up to which zeros for all tasks become some of each task.
_FEW = 4096


def _as_argument(value, tasks):
    """As `_as_result`; small zeros are of each task, as the gradients are that other calls have.

    A gradient of the last call of a function has zeros where what it gave is not used; without
    this the function is converted a second time for the calls before it.
    """
    if not value.is_stacked and value.t.shape.rank and value.t.dtype.is_floating:
        zeros = tf.get_static_value(value.t)
        if zeros is not None and zeros.size <= _FEW and not zeros.any():
            return features.zeros((tasks, *zeros.shape), value.t.dtype), "stacked"
    return _as_result(value)


def _as_result(value):
    """A value of the conversion as `(tensor, kind)`: folded if it is, else as it is."""
    if is_folding() and features.is_folded(value):
        return features.folded(value), "folded"
    return value.t, "stacked" if value.is_stacked else "one for all"


def _as_value(tensor, kind, tasks):
    if kind == "folded":
        return features.unfold(tensor, tasks)
    return private.wrap(tensor, kind == "stacked")


_OWN = "of_each_task"


def of_each_task(values, like):
    """Values as they are; in a map over tasks, one of each task's own, as `like` is.

    A loop that gives each task values of its own must begin with such: TensorFlow would find that
    out by converting its body up to four times.

    Args:
        values: nest of tensors.
        like: a tensor of the task.
    """
    if tf.executing_eagerly():
        return values
    *leaves, _ = tf.identity_n([*tf.nest.flatten(values), like], name=_OWN)
    return tf.nest.pack_sequence_as(values, leaves)


def with_batch_axis(function, *tensors):
    """Call a function that has a batch axis of its own; in a map over tasks, once for all tasks.

    For loops over time: converted to all tasks, TensorFlow's has no gradient.

    Args:
        function: function of tensors `[batch, ...]` to a nest of tensors `[batch, ...]`, whose
            rows know nothing of each other. It reads variables that are the same in all tasks,
            assigns none and draws no random numbers.
        *tensors: of one task, `[...]`, without that axis.

    Returns:
        The nest of one task, each `[...]`.
    """

    def one(*tensors):
        return tf.nest.map_structure(lambda t: t[0], function(*[t[None] for t in tensors]))

    if tf.executing_eagerly() or not is_converting():
        return one(*tensors)
    specs = map(tf.TensorSpec.from_tensor, tensors)
    results = tf.function(one, autograph=False).get_concrete_function(*specs).structured_outputs
    # What is here for one task is in the place of the results of all, and never computed.
    leaves = [_in_the_place_of(spec) for spec in tf.nest.flatten(results)]
    leaves = tf.identity_n([*leaves, *tensors], name=_BATCHED)[: len(leaves)]
    constants()[_place(leaves[0].op)] = function
    return tf.nest.pack_sequence_as(results, leaves)


_BATCHED = "with_batch_axis"


def _in_the_place_of(spec):
    zeros = tf.zeros([size or 1 for size in spec.shape], spec.dtype)
    return tf.compat.v1.placeholder_with_default(zeros, spec.shape)


def _place(op):
    return _BATCHED, op.graph, op.name


def _for_all_tasks(op, tasks):
    """What `with_batch_axis` stands for, as values of the conversion."""
    function = constants()[_place(op.op)]

    def stacked(value):
        if value.is_stacked:
            return value.t
        return tf.tile(value.t[None], [tasks] + [1] * len(value.t.shape))

    arguments = op.inputs[-len(inspect.signature(function).parameters) :]
    results = [private.wrap(t, True) for t in tf.nest.flatten(function(*map(stacked, arguments)))]
    return [*results, *arguments]


@converts("IdentityN", modes=(VECTORIZED, FOLDED))
def _identities(op, tasks):
    if _BATCHED in op.op.name:
        return _for_all_tasks(op, tasks)
    if _OWN not in op.op.name:
        return None

    def own(value):
        if value.is_stacked:
            return features.again(value)
        if is_folding() and value.t.shape.rank == 4:  # a kernel: as the steps will leave it
            return features.unfold(features.fold(value, tasks), tasks)
        one = tf.expand_dims(value.t, 0)
        return private.wrap(tf.tile(one, [tasks] + [1] * (len(one.shape) - 1)), True)

    return [own(value) for value in op.inputs]
