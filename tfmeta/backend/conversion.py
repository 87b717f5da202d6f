"""Converters from one task to all tasks of a meta-batch: registered once, at rest outside.

TensorFlow keeps one registry of converters for the process. Each of ours stands in front of
TensorFlow's, and asks a context variable whether this thread is inside a map of tfmeta's that wants
it. If not, as in a user's own `tf.vectorized_map`, TensorFlow's converts as ever.
"""

import contextlib
import contextvars
import functools

import tensorflow as tf

from tfmeta.backend import private

VECTORIZED, FOLDED = "vectorized", "folded"
_mode = contextvars.ContextVar("mode", default=None)
_constants: contextvars.ContextVar = contextvars.ContextVar("constants")


@contextlib.contextmanager
def conversion(mode):
    """A scope, in this thread alone, in which the converters of a mode are awake.

    Args:
        mode: `VECTORIZED`, tasks in a leading axis, or `FOLDED`, features in the channels, too.
    """
    tokens = _mode.set(mode), _constants.set({})
    try:
        yield
    finally:
        _mode.reset(tokens[0])
        _constants.reset(tokens[1])


def constants():
    """What a conversion remembers, a dict."""
    return _constants.get()


def is_converting():
    """True inside of a map that takes all tasks in one kernel."""
    return _mode.get() is not None


def is_folding():
    """True while features are folded into the channels."""
    return _mode.get() == FOLDED


def is_vectorized():
    """True while operations are converted with the tasks in a leading axis alone."""
    return _mode.get() == VECTORIZED


def converts(*op_types, modes=(FOLDED,)):
    """Register a converter of operations.

    Args:
        *op_types: names of operations.
        modes: those in which it is asked.

    Returns:
        A decorator of a function `(op, tasks)`, with the number of tasks, to the converted outputs,
        or None where TensorFlow's own converter is right.
    """

    def register(converter):
        if private.converters is not None:
            for name in op_types:
                otherwise = private.converters[name]
                private.converters[name] = _awake(converter, otherwise, modes)
        return converter

    return register


def same_op(op, inputs):
    """The outputs of an operation like `op` of a conversion, of other inputs."""
    dtypes = [t.dtype for t in op.outputs]
    return private.create_op(op.op_type, inputs, dtypes, op.op.node_def.attr).outputs


def _awake(converter, otherwise, modes):
    @functools.wraps(otherwise)
    @tf.autograph.experimental.do_not_convert
    def convert(op):
        outputs = None
        if _mode.get() in modes:
            tasks = tf.get_static_value(op.pfor.loop_len_vector)
            # In the branches of a condition the number of tasks is not known.
            outputs = None if tasks is None else converter(op, int(tasks[0]))
        if outputs is None:
            return otherwise(op)
        return outputs if hasattr(op.pfor, "settles_late") else _settled(outputs)

    return convert


def _settled(outputs):
    """For a conversion that is TensorFlow's own, as in the branches of a condition."""
    if hasattr(outputs, "settled"):
        return outputs.settled()
    if isinstance(outputs, private.WrappedTensor):
        return outputs
    return [value.settled() if hasattr(value, "settled") else value for value in outputs]
