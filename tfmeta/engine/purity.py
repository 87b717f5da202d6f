"""Make `adapt` and `predict_query` pure, and convenient with NumPy arrays."""

import contextlib
import contextvars
import functools
import inspect

import keras
import tensorflow as tf

from tfmeta.backend.network_facts import check_no_added_losses, check_runs_on_given_weights
from tfmeta.engine import serving
from tfmeta.engine.checks import finite
from tfmeta.engine.checks import learner_checks as checks
from tfmeta.engine.inputs import as_examples, as_tensor
from tfmeta.engine.kept import kept

_in_task = contextvars.ContextVar("in_task", default=False)


@contextlib.contextmanager
def task_scope(learner, mapping=()):
    """A scope in which no variable changes: assignments stay in the scope that is yielded.

    Args:
        learner: the learner that runs in it, whose layers may add no loss of their own.
        mapping: pairs `(variable, tensor)` that are read in the place of the variables.
    """
    token = _in_task.set(True)
    try:
        with keras.StatelessScope(list(mapping), collect_losses=True) as scope:
            yield scope
        check_no_added_losses(scope, learner)
    finally:
        _in_task.reset(token)


def pure(method):
    """Wrap a learner's own `adapt` or `predict_query`.

    NumPy inputs become tensors of the network's dtype (uint8 images are scaled to 0..1, as in
    the episode pipelines), a missing mask becomes ones, no variable can be assigned, and a
    method without a `training` or `mask` argument may be called with one.
    """
    signature = inspect.signature(method)
    is_adapt = method.__name__ == "adapt"
    optional = {"training", "mask"} - set(signature.parameters)
    examples_argument = list(signature.parameters)[1 if is_adapt else 2]

    @functools.wraps(method)
    def wrapped(self, *args, **kwargs):
        checks.check_built(self, method.__name__)
        if is_adapt:
            network = self.inner_network()
            kept(self, "runs on given weights", lambda: check_runs_on_given_weights(network))
        kwargs = {name: value for name, value in kwargs.items() if name not in optional}
        arguments = signature.bind(self, *args, **kwargs).arguments
        convert = as_examples if is_adapt else as_tensor
        arguments[examples_argument] = convert(self, arguments[examples_argument])
        del arguments[next(iter(signature.parameters))]
        arguments |= arguments.pop("kwargs", {})
        result = run(self, **arguments) if _in_task.get() else served(self, arguments)
        if is_adapt:
            finite.check_inner_losses(self, result, arguments[examples_argument])
        return result

    def run(self, **arguments):
        with contextlib.nullcontext() if _in_task.get() else task_scope(self):
            return method(self, **arguments)

    def served(self, arguments):
        # How many classes there are shows in shapes that users see.
        counted = is_adapt and self.integer_labels and tf.executing_eagerly()
        y = arguments[examples_argument].y if counted else None
        return serving.serve(self, run, arguments, int(tf.reduce_max(y)) + 1 if counted else None)

    return wrapped
