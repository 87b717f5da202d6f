"""Losses that are NaN or infinite: stop, say where, and lose no weight."""

import contextlib
import re

import keras
import numpy as np
import tensorflow as tf

# What an assertion of tfmeta inside a compiled step begins with.
MARK = "tfmeta-check"


def describe(learner):
    """The learner and the arguments of its inner loop, for messages."""
    names = ("inner_learning_rate", "inner_steps")
    arguments = [f"{n}={getattr(learner, n)}" for n in names if hasattr(learner, n)]
    return f"{type(learner).__name__}({', '.join(arguments)})"


def check_inner_losses(learner, adapted):
    """Eagerly, stop at a support loss that is NaN or infinite."""
    losses = getattr(adapted, "inner_losses", ())
    if not tf.executing_eagerly() or not tf.is_tensor(losses):
        return
    bad = ~np.isfinite(losses.numpy())
    if bad.any():
        step = int(bad.argmax())
        raise FloatingPointError(_inner_message(learner, step, losses.numpy()[step]))


def _inner_message(learner, step, value):
    return (
        f"Expected a finite inner loss. Received: {value} at inner step {step} of "
        f"{describe(learner)}. Lower inner_learning_rate, or scale the inputs."
    )


@contextlib.contextmanager
def only_if_finite(learner, results):
    """What the block does to weights happens only if the inner and query losses are finite.

    A compiled step stops with an assertion, which `readable_errors` translates. XLA drops
    assertions: there the weights are put back, and `StopAtNaN` stops the run.
    """
    if not learner.jit_compile:
        with tf.control_dependencies(assertions(learner, results)):
            yield
        return
    ok = tf.reduce_all(tf.math.is_finite(results.loss))
    variables = [*learner.variables, *learner.optimizer.variables]
    before = [tf.identity(v.value) for v in variables]
    yield
    for variable, value in zip(variables, before, strict=True):
        variable.assign(tf.where(ok, variable.value, value))


def assertions(learner, results):
    """Ops that fail at a loss that is not finite; none under XLA, none eagerly: they have run."""
    checks = []
    if learner.jit_compile:
        return checks
    if tf.is_tensor(results.inner_losses):
        for step, losses in enumerate(tf.unstack(results.inner_losses, axis=1)):
            checks.append((losses, _inner_message(learner, step, "NaN or infinity")))
    query = (
        "Expected a finite query loss. Received: NaN or infinity after the adaptation of "
        f"{describe(learner)}. Lower the learning rates, or look for NaN in the episodes."
    )
    previous = []
    for values, message in [*checks, (results.loss, query)]:
        # One after the other, so that the first bad step is the one that is named.
        with tf.control_dependencies(previous):
            ok = tf.reduce_all(tf.math.is_finite(values))
            done = tf.debugging.Assert(ok, [f"{MARK}: {message}"])
        previous = [] if done is None else [done]
    return previous


class StopAtNaN(keras.callbacks.Callback):
    """Under XLA, raise after the first call of a step whose loss is not finite."""

    def on_train_batch_end(self, batch, logs=None):
        if not np.isfinite(float((logs or {}).get("loss", 0.0))):
            raise FloatingPointError(
                f"Expected a finite loss. Received: {float(logs['loss'])} in "
                f"{describe(self.model)}. No weight was "
                "changed by it. Lower inner_learning_rate; jit_compile=False tells "
                "the inner step."
            )

    on_test_batch_end = on_train_batch_end


def callbacks_with_stop(learner, callbacks):
    """The callbacks of `fit` or `evaluate`, with `StopAtNaN` where a step cannot stop itself."""
    if not learner.jit_compile or isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks
    return [StopAtNaN(), *callbacks]


@contextlib.contextmanager
def readable_errors():
    """Turn a failed assertion of a compiled step into a plain exception."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        found = re.search(MARK + r": ([^\]]*)", str(error))
        if not found:
            raise
        message = found.group(1).strip().strip("'\"")
        kind = FloatingPointError if "finite" in message else ValueError
        raise kind(message) from None
