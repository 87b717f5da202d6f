"""Losses and gradients that are NaN or infinite: stop, say where, and lose no weight."""

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


class FirstBadLoss:
    """Under XLA, which drops assertions: the first loss of a run that was not finite."""

    NONE, QUERY, GRADIENT = -1, 1 << 30, 1 << 31  # or the number of an inner step

    def __init__(self):
        with tf.init_scope():
            self._where = tf.Variable(self.NONE, trainable=False, dtype=tf.int64)

    def record(self, results, gradients=()):
        """Look at the losses of one meta-batch, in the graph; True if all were finite so far."""
        where, losses = zip(*_in_order(results, gradients), strict=True)
        bad = tf.stack([~tf.reduce_all(tf.math.is_finite(values)) for values in losses])
        first = tf.gather(tf.constant(where, tf.int64), tf.argmax(tf.cast(bad, tf.int32)))
        now = tf.logical_and(self._where < 0, tf.reduce_any(bad))
        return self._where.assign(tf.where(now, first, self._where)) < 0

    def raise_it(self, learner):
        """Raise a FloatingPointError that tells where, if there was one, and forget it."""
        where = int(self._where)
        if where != self.NONE:
            self._where.assign(self.NONE)
            raise FloatingPointError(_message(learner, where))


def _in_order(results, gradients):
    """`[(where, values)]`: losses of each inner step, by its number, of the query; gradients."""
    inner = tf.unstack(results.inner_losses, axis=1) if tf.is_tensor(results.inner_losses) else []
    found = [*enumerate(inner), (FirstBadLoss.QUERY, results.loss)]
    if gradients:
        sums = tf.stack([tf.cast(tf.reduce_sum(g), tf.float32) for g in gradients])
        found.append((FirstBadLoss.GRADIENT, sums))
    return found


def _message(learner, where):
    if where == FirstBadLoss.GRADIENT:
        return (
            "Expected finite outer gradients. Received: NaN or infinity, from finite losses of "
            f"{describe(learner)}. Lower inner_learning_rate, or compile with an optimizer that "
            "clips (global_clipnorm=10.0)."
        )
    if where != FirstBadLoss.QUERY:
        return _inner_message(learner, where, "NaN or infinity")
    return (
        "Expected a finite query loss. Received: NaN or infinity after the adaptation of "
        f"{describe(learner)}. Lower the learning rates, or look for NaN in the episodes."
    )


@contextlib.contextmanager
def only_if_finite(learner, results, gradients):
    """What the block does to weights happens only if losses and outer gradients are finite.

    A compiled step stops with an assertion, which `readable_errors` translates. Under XLA the
    weights are put back, in this step and in all that follow, and `StopAtNaN` stops the run.
    """
    if not learner.jit_compile:
        with tf.control_dependencies(assertions(learner, results, gradients)):
            yield
        return
    ok = learner.first_bad_loss.record(results, gradients)
    variables = [*learner.variables, *learner.optimizer.variables]
    before = [tf.identity(v.value) for v in variables]
    yield
    for variable, value in zip(variables, before, strict=True):
        variable.assign(tf.where(ok, variable.value, value))


def assertions(learner, results, gradients=()):
    """Ops that fail at what is not finite, or record it under XLA; eagerly they have run."""
    if learner.jit_compile:
        return [learner.first_bad_loss.record(results, gradients)]
    previous = []
    for where, values in _in_order(results, gradients):
        # One after the other, so that the first bad step is the one that is named.
        with tf.control_dependencies(previous):
            ok = tf.reduce_all(tf.math.is_finite(values))
            done = tf.debugging.Assert(ok, [f"{MARK}: {_message(learner, where)}"])
        previous = [] if done is None else [done]
    return previous


class StopAtNaN(keras.callbacks.Callback):
    """Under XLA, raise after the first call of a step whose loss is not finite."""

    def on_train_batch_end(self, batch, logs=None):
        self.model.first_bad_loss.raise_it(self.model)

    on_test_batch_end = on_train_batch_end


def callbacks_with_stop(learner, callbacks):
    """The callbacks of `fit` or `evaluate`, with `StopAtNaN` where a step cannot stop itself."""
    if not learner.jit_compile or isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks
    return [StopAtNaN(), *callbacks]


@contextlib.contextmanager
def stops_at_nan(learner):
    """Raise a FloatingPointError if a loss of the one step in the block is not finite."""
    with readable_errors():
        yield
    if learner.jit_compile:
        learner.first_bad_loss.raise_it(learner)


@contextlib.contextmanager
def readable_errors():
    """Turn a failed assertion of a compiled step, or what XLA cannot compile, into plain words."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        unknown = re.search(r"unsupported operations[^:]*: (\w+)", str(error))
        if unknown:
            raise ValueError(
                f"Expected operations that XLA knows. Received: {unknown.group(1)} in the network, "
                "the loss, a metric or the step. Call compile(..., jit_compile=False)."
            ) from error
        found = re.search(MARK + r": ([^\]]*)", str(error))
        if not found:
            raise
        message = found.group(1).strip().strip("'\"")
        kind = FloatingPointError if "finite" in message else ValueError
        raise kind(message) from None
