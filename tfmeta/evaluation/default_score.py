"""The score of one task where none is given: what the compiled loss is of."""

import keras
import numpy as np
import tensorflow as tf

from tfmeta.engine import losses


def default_score(loss, y, outputs):
    """The score that fits a loss, targets and outputs.

    Args:
        loss: the compiled `keras.losses.Loss`, or None.
        y: targets of one task, `[rows, ...]`.
        outputs: outputs of one task, `[rows, ...]`.

    Returns:
        `(function, name)`, a function `(y, outputs, mask) -> scalar tensor`, where rows whose mask
        is 0 do not count, and what it is called: "accuracy" where the loss is of classes, or where
        it is unknown and y holds integers beside outputs `[rows, ..., classes]`; "mean squared
        error" otherwise.
    """
    kind = getattr(loss, "fn", None)
    if kind in _ONE_HOT:
        return _one_hot_accuracy, "accuracy"
    if kind in _YES_OR_NO:
        return _accuracy_at(_threshold(loss, kind)), "accuracy"
    one_more = outputs.shape.rank == y.shape.rank + 1 and outputs.shape[-1] != 1
    if losses.is_sparse(loss) or (y.dtype.is_integer and one_more):
        return _sparse_accuracy(losses.ignored_class(loss)), "accuracy"
    return _mean_squared_error, "mean squared error"


_ONE_HOT = (
    keras.losses.categorical_crossentropy,
    keras.losses.categorical_focal_crossentropy,
    keras.losses.categorical_hinge,
)
_YES_OR_NO = (
    keras.losses.binary_crossentropy,
    keras.losses.binary_focal_crossentropy,
    keras.losses.hinge,
    keras.losses.squared_hinge,
)


def _threshold(loss, kind):
    """What an output is compared with: 1/2 if it is a probability, 0 if it is a number."""
    numbers = kind in (keras.losses.hinge, keras.losses.squared_hinge)
    return 0.0 if numbers or losses.takes_logits(loss) else 0.5


def _sparse_accuracy(ignored):
    def accuracy(y, outputs, mask):
        y = tf.cast(y, tf.int64)
        if y.shape.rank == outputs.shape.rank and y.shape[-1] == 1:
            y = tf.squeeze(y, -1)
        right = _right(outputs, y)
        return _masked_mean(right, mask, None if ignored is None else y != ignored)

    return accuracy


def _one_hot_accuracy(y, outputs, mask):
    _check_shapes(y, outputs)
    return _masked_mean(_right(outputs, tf.argmax(y, axis=-1)), mask)


def _right(outputs, labels):
    right = tf.argmax(outputs, axis=-1) == labels
    # The argmax of NaN is class 0: without this, a diverged learner would score 1 / ways.
    known = ~tf.reduce_any(tf.math.is_nan(outputs), axis=-1)
    return tf.where(known, tf.cast(right, tf.float32), np.nan)


def _accuracy_at(threshold):
    """Of answers yes or no, one or several a row: an output above the threshold says yes."""

    def accuracy(y, outputs, mask):
        outputs = _without_last_axis_of_one(y, outputs)
        _check_shapes(y, outputs)
        yes = tf.cast(y, tf.float32) > 0.5  # hinge losses take -1 for no, too
        right = tf.cast((outputs > threshold) == yes, tf.float32)
        return _masked_mean(tf.where(tf.math.is_nan(outputs), np.nan, right), mask)

    return accuracy


def _mean_squared_error(y, outputs, mask):
    outputs = _without_last_axis_of_one(y, outputs)
    _check_shapes(y, outputs)
    squares = tf.square(tf.cast(outputs, tf.float32) - tf.cast(y, tf.float32))
    return _masked_mean(squares, mask)


def _without_last_axis_of_one(y, outputs):
    # Left alone, [rows] - [rows, 1] broadcasts to a matrix and gives a wrong mean.
    one_more = outputs.shape.rank == y.shape.rank + 1 and outputs.shape[-1] == 1
    return tf.squeeze(outputs, -1) if one_more else outputs


def _check_shapes(y, outputs):
    if not outputs.shape.is_compatible_with(y.shape):
        raise ValueError(
            f"Expected outputs of the shape of the query y, {y.shape}. Received: {outputs.shape}. "
            "Change the network's outputs, or pass a score."
        )


def _masked_mean(values, mask, counted=None):
    """Mean over the real rows; nan without any, which is then reported as not finite.

    Args:
        values: `[rows, ...]`.
        mask: `[rows]`.
        counted: bool like `values`, False for what the loss ignores; None if that is nothing.
    """
    # Selecting instead of multiplying: padding may hold nan, and 0 * nan is nan.
    real = tf.reshape(mask > 0, [-1] + [1] * (values.shape.rank - 1))
    real = tf.broadcast_to(real, tf.shape(values))
    real = real if counted is None else real & counted
    return tf.reduce_sum(tf.where(real, values, 0.0)) / tf.reduce_sum(tf.cast(real, tf.float32))
