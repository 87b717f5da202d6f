"""Run a function of one task for every task of a meta-batch."""

import os
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from tfmeta.backend import private
from tfmeta.backend.conversion import FOLDED, VECTORIZED, conversion, converts
from tfmeta.backend.features import Conversion
from tfmeta.hints import Nest
from tfmeta.loops import map_fn


def map_tasks(fn: Callable, elements: Nest, mode: str) -> Nest:
    """Apply `fn` to each task.

    Args:
        fn: function of the elements of one task, returns a nest of tensors.
        elements: nest of tensors `[B, ...]`.
        mode: as `tfmeta.backend.batching` chooses it.

    Returns:
        The nest of results, each `[B, ...]`.
    """
    if tf.executing_eagerly():
        # Plain Python, so that a debugger and print work with `run_eagerly=True`.
        def task(i):
            return tf.nest.map_structure(lambda t: t[i], elements)

        results = [fn(task(i)) for i in range(number_of_tasks(elements))]
        return tf.nest.map_structure(lambda *r: tf.stack(r), *results)
    if tf.nest.flatten(elements)[0].shape[0] == 1:  # nothing to batch, nothing to convert
        one = tf.nest.map_structure(lambda t: tf.squeeze(t, 0), elements)
        return tf.nest.map_structure(lambda t: tf.expand_dims(t, 0), fn(one))
    if mode != "loop" and not private.missing():
        return _vectorized_map(fn, elements, FOLDED if mode == "fold" else VECTORIZED)
    # A function of its own is traced once and tells map_fn the shapes of its results.
    traced = tf.function(fn, autograph=False)
    one = tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape[1:], t.dtype), elements)
    signature = tf.nest.map_structure(
        tf.TensorSpec.from_tensor, traced.get_concrete_function(one).structured_outputs
    )
    if not tf.nest.flatten(signature):
        return signature
    # More tasks at a time than processors take memory and no less time.
    at_a_time = min(os.cpu_count() or 1, 10)
    return map_fn(traced, elements, fn_output_signature=signature, parallel_iterations=at_a_time)


def _vectorized_map(fn, elements, mode):
    """All tasks in one kernel, in the caller's graph."""
    tasks = number_of_tasks(elements)
    if mode == FOLDED:
        with conversion(mode):
            return _converted(fn, elements, tasks)

    def one(i):
        return fn(tf.nest.map_structure(lambda t: tf.gather(t, i), elements))

    with conversion(mode):
        # AutoGraph would read, and rewrite, all that a task calls.
        one = tf.autograph.experimental.do_not_convert(one)
        return private.vectorize(one, tasks, fallback_to_while_loop=True)


def _converted(fn, elements, tasks):
    """The task traced in a graph of its own, of which the caller's has what all tasks need alone.

    Else what was traced for one task would stay in it, unused, and be inlined, placed and pruned
    before the first step: two of three operations.
    """
    with private.FuncGraph("one_task").as_default() as graph:
        loop_var = tf.compat.v1.placeholder_with_default(0, shape=[])
        inputs = tf.nest.map_structure(
            lambda t: tf.compat.v1.placeholder(t.dtype, t.shape[1:]), elements
        )
        results = tf.nest.map_structure(tf.convert_to_tensor, fn(inputs))
    with tf.name_scope("all_tasks"):
        converter = Conversion(
            loop_var, tf.constant(tasks), graph.get_operations(), fallback_to_while_loop=True
        )
        for one, all_of_them in zip(*map(tf.nest.flatten, (inputs, elements)), strict=True):
            converter.note(one, private.wrap(all_of_them, True))
        for outside, inside in graph.captures:
            converter.note(inside, private.wrap(outside, False))
        return tf.nest.map_structure(converter.convert, results)


@converts("PadV2", modes=(VECTORIZED, FOLDED))
def _pad(op, tasks):
    """TensorFlow's pads with zeros, whatever `constant_values` says."""
    (x, _, _), (paddings, _, _), (value, _, _) = op.inputs
    if [i.is_stacked for i in op.inputs] != [True, False, False]:
        raise private.ConversionNotImplementedError("Padding that is not the same for all tasks.")
    return private.wrap(tf.raw_ops.PadV2(
        input=x, paddings=tf.concat([[[0, 0]], paddings], 0), constant_values=value
    ), True)  # fmt: skip


def map_gradients(
    fn: Callable, elements: Nest, variables: Sequence, mode: str
) -> tuple[Nest, list]:
    """Apply `fn` to each task, and differentiate the mean of its losses.

    Args:
        fn: function of the elements of one task, returns `(loss, results)`.
        elements: nest of tensors `[B, ...]`.
        variables: list of Keras variables.
        mode: as in `map_tasks`.

    Returns:
        `(results, gradients)`: the nest of results, each `[B, ...]`, and the gradient of
        `mean(loss)` with respect to each variable.

    Raises:
        ValueError: no gradient reaches a variable.
    """
    if mode == "vectorize" and not (tf.executing_eagerly() or private.missing()):
        # The tape outside: the backward pass of shared weights is then one kernel, too.
        with tf.GradientTape() as tape:
            # A variable that only a function reads, which a task calls, would have no gradient:
            # the tape learns here where it enters this graph.
            for variable in variables:
                tf.convert_to_tensor(variable)
            losses, results = map_tasks(fn, elements, mode)
            loss = tf.reduce_mean(losses)
        return results, _reached(tape.gradient(loss, variables), variables)

    def task(element):
        with tf.GradientTape() as tape:
            loss, results = fn(element)
        return results, _reached(tape.gradient(loss, variables), variables)

    # The tape inside: only one task's activations are alive at a time.
    results, gradients = map_tasks(task, elements, mode)
    return results, [tf.reduce_mean(g, axis=0) for g in gradients]


def _reached(gradients, variables):
    missing = [v.path for v, g in zip(variables, gradients, strict=True) if g is None]
    if missing:
        raise ValueError(
            "Expected the query loss to depend on every trainable weight. Received: no gradient "
            f"for {missing}. Remove these layers from the network, or set their "
            "`trainable = False`."
        )
    return [tf.convert_to_tensor(g) for g in gradients]


def number_of_tasks(value):
    """The number of tasks in a nest of tensors `[B, ...]`, static if it is known."""
    first = tf.nest.flatten(value)[0]
    return first.shape[0] if first.shape[0] is not None else keras.ops.shape(first)[0]
