"""`adapt` and `predict_query` as graphs of named tensors, for any number of rows."""

import inspect
from typing import Any, NamedTuple

import tensorflow as tf

from tfmeta.engine import losses
from tfmeta.engine.checks import learner_checks
from tfmeta.engine.checks.episode_checks import masks_work
from tfmeta.engine.export.rows import specs_for, specs_of
from tfmeta.engine.serving import counted_ways
from tfmeta.types import Examples

_MASK = tf.TensorSpec([None], "float32")


class Signature(NamedTuple):
    """A function of tensors, each with a name.

    Attributes:
        function: a `tf.function` that was traced once, of tensors in the order of `inputs`, to a
            dict of tensors.
        inputs: name -> `tf.TensorSpec`.
        outputs: name -> `tf.TensorSpec`.
    """

    function: Any
    inputs: Any
    outputs: Any


def signatures(learner, like=None):
    """`{"adapt": Signature, "predict_query": Signature}` of a learner.

    Args:
        learner: a built learner; one of gradient steps is compiled, too.
        like: an `Episode` of one task, or its support set, `Examples`, whose rows show what goes
            in; None for what the learner was made for.

    Raises:
        ValueError: the learner is not built, or nothing says what its targets look like.
    """
    learner_checks.check_built(learner, "export")
    if learner.takes_inner_steps:
        learner_checks.check_compiled(learner, "export")
    support, query_x = specs_for(learner) if like is None else specs_of(learner, like)
    adapt, structure = _adapt(learner, support)
    return {"adapt": adapt, "predict_query": _predict_query(learner, query_x, adapt, structure)}


def _adapt(learner, examples):
    """The signature, and the structure of what `adapt` returned."""
    x = _named("x", examples.x)
    inputs = x | {"y": examples.y} | ({"mask": _MASK} if masks_work(learner) else {})
    has_labels = learner.integer_labels and examples.y.dtype.is_integer
    found = []

    def adapt(*tensors):
        y, mask = tensors[len(x)], tensors[-1] if "mask" in inputs else None
        support = Examples(tf.nest.pack_sequence_as(examples.x, tensors[: len(x)]), y, mask)
        with counted_ways(y if mask is None else y * tf.cast(mask, y.dtype), has_labels):
            adapted = learner.adapt(support)
        found.append(tf.nest.map_structure(lambda _: 0, adapted))
        return _named("adapted", adapted)

    return _traced(adapt, inputs), found[0]


def _predict_query(learner, x_spec, adapt, structure):
    x = _named("x", x_spec)
    takes_mask = "mask" in inspect.signature(type(learner).predict_query).parameters
    inputs = adapt.outputs | x | ({"mask": _MASK} if takes_mask else {})

    def predict_query(*tensors):
        named = dict(zip(inputs, tensors, strict=True))
        adapted = tf.nest.pack_sequence_as(structure, [named[name] for name in adapt.outputs])
        rows = tf.nest.pack_sequence_as(x_spec, [named[name] for name in x])
        outputs = learner.predict_query(adapted, rows, mask=named.get("mask"))
        return {"outputs": losses.one_output(outputs)}

    return _traced(predict_query, inputs)


def _traced(function, inputs):
    specs = [tf.TensorSpec(spec.shape, spec.dtype, name) for name, spec in inputs.items()]
    traced = tf.function(function, input_signature=specs, autograph=False)
    outputs = traced.get_concrete_function().structured_outputs
    outputs = {name: tf.TensorSpec(t.shape, t.dtype) for name, t in outputs.items()}
    return Signature(traced, inputs, outputs)


def _named(first, nest):
    """The leaves of a nest by name, in the order of `tf.nest`: "adapted_weights_0", say."""
    names = list(_names(first, nest))
    if len(set(names)) != len(names):  # {"a": {"b": ...}, "a_b": ...}
        names = [f"{first}_{i}" for i in range(len(names))]
    return dict(zip(names, tf.nest.flatten(nest), strict=True))


def _names(first, nest):
    if hasattr(nest, "_fields"):
        parts = zip(nest._fields, nest, strict=True)
    elif isinstance(nest, dict):
        parts = sorted(nest.items())
    elif isinstance(nest, list | tuple):
        parts = enumerate(nest)
    else:
        yield first
        return
    for name, part in parts:
        yield from _names(f"{first}_{name}", part)
