"""Losses and gradients that are NaN or infinite: stop, say where, and lose no weight."""

import contextlib
import re

import keras
import numpy as np
import tensorflow as tf

from tfmeta.engine.checks.causes import GRADIENT, NONE, QUERY, bad_data, bad_parts, explain

# What an assertion of tfmeta inside a compiled step begins with.
MARK = "tfmeta-check"


def check_inner_losses(learner, adapted, support):
    """Eagerly, stop at a support loss that is NaN or infinite."""
    losses = getattr(adapted, "inner_losses", ())
    if not tf.executing_eagerly() or not tf.is_tensor(losses):
        return
    bad = ~np.isfinite(losses.numpy())
    if bad.any():
        step = int(bad.argmax())
        raise explain(learner, step, bad_data(support.x, support.y), losses.numpy()[step])


class FirstBadLoss:
    """Under XLA, which drops assertions: the first loss of a run that was not finite."""

    def __init__(self):
        with tf.init_scope():
            self._where = tf.Variable(NONE, trainable=False, dtype=tf.int64)
            self._data = tf.Variable(0, trainable=False, dtype=tf.int64)

    def record(self, episodes, results, gradients=()):
        """Look at the losses of one meta-batch, in the graph; True if all were finite so far."""
        bad, first = _first_bad(results, gradients)
        now = tf.logical_and(self._where < 0, bad)
        self._data.assign(tf.where(now, bad_parts(episodes), self._data))
        return self._where.assign(tf.where(now, first, self._where)) < 0

    def raise_it(self, learner):
        """Raise a FloatingPointError that tells where, if there was one, and forget it."""
        # By a tensor: a variable of a distribution strategy is no int, on one device either.
        where, data = (int(tf.convert_to_tensor(v)) for v in (self._where, self._data))
        if where != NONE:
            self._where.assign(NONE)
            raise explain(learner, where, data)


def _first_bad(results, gradients):
    """Whether a value is not finite, and the place of the first: an inner step, or as in `causes`.

    In order: the losses of each inner step, of the query set, the outer gradients.
    """
    inner = tf.unstack(results.inner_losses, axis=1) if tf.is_tensor(results.inner_losses) else []
    found = [*enumerate(inner), (QUERY, results.loss)]
    if gradients:
        sums = tf.stack([tf.cast(tf.reduce_sum(g), tf.float32) for g in gradients])
        found.append((GRADIENT, sums))
    where, values = zip(*found, strict=True)
    bad = tf.stack([~tf.reduce_all(tf.math.is_finite(v)) for v in values])
    first = tf.gather(tf.constant(where, tf.int64), tf.argmax(tf.cast(bad, tf.int32)))
    return tf.reduce_any(bad), first


@contextlib.contextmanager
def only_if_finite(learner, episodes, results, gradients):
    """What the block does to weights happens only if losses and outer gradients are finite.

    A compiled step stops with an assertion, which `readable_errors` translates. Under XLA the
    weights are put back, in this step and in all that follow, and `StopAtNaN` stops the run.
    """
    if not learner.jit_compile:
        with tf.control_dependencies(assertions(learner, episodes, results, gradients)):
            yield
        return
    ok = learner.first_bad_loss.record(episodes, results, gradients)
    variables = [*learner.variables, *learner.optimizer.variables]
    before = [tf.identity(v.value) for v in variables]
    yield
    for variable, value in zip(variables, before, strict=True):
        variable.assign(tf.where(ok, variable.value, value))


def assertions(learner, episodes, results, gradients=()):
    """Ops that fail at what is not finite, or record it under XLA; eagerly they have run."""
    if learner.jit_compile:
        return [learner.first_bad_loss.record(episodes, results, gradients)]
    bad, where = _first_bad(results, gradients)
    if tf.executing_eagerly():
        if bad:
            raise explain(learner, int(where), bad_parts(episodes))
        return []

    def fail():
        # Here, so that the data are looked at only where there is something to explain.
        data = [f"{MARK}-finite", where, bad_parts(episodes)]
        with tf.control_dependencies([tf.raw_ops.Assert(condition=False, data=data)]):
            return tf.constant(False)

    return [tf.cond(bad, fail, lambda: tf.constant(True))]


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
    with readable_errors(learner):
        yield
    if learner.jit_compile:
        learner.first_bad_loss.raise_it(learner)


@contextlib.contextmanager
def readable_errors(learner):
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
        found = re.search(MARK + r"-finite\] \[(-?\d+)\] \[(\d+)\]", str(error))
        if found:
            raise explain(learner, *map(int, found.groups())) from None
        found = re.search(MARK + r": ([^\]]*)", str(error))
        if not found:
            raise
        raise ValueError(found.group(1).strip().strip("'\"")) from None
