"""The loss of one task, from whatever `compile(loss=...)` takes."""

import keras
import tensorflow as tf


class FunctionLoss(keras.losses.Loss):
    """A Keras loss from a plain function `(y_true, y_pred) -> values`."""

    def __init__(self, fn):
        super().__init__(name=getattr(fn, "__name__", "loss"))
        self.fn = fn

    def call(self, y_true, y_pred):
        return self.fn(y_true, y_pred)


def as_loss(loss):
    """The `keras.losses.Loss` that `compile(loss=...)` names, or None."""
    if isinstance(loss, (list, tuple)) or (isinstance(loss, dict) and "class_name" not in loss):
        raise ValueError(
            "Expected one loss, for a network with one output. "
            f"Received: a {type(loss).__name__} of losses. Pass one, such as loss="
            "keras.losses.MeanSquaredError(), or a function that adds them up."
        )
    loss = keras.losses.get(loss)
    return loss if loss is None or isinstance(loss, keras.losses.Loss) else FunctionLoss(loss)


def is_sparse(loss):
    """True if a loss takes class labels, not one-hot rows."""
    fn = getattr(loss, "fn", None)
    return fn is keras.losses.sparse_categorical_crossentropy


def expects_probabilities(loss):
    """True for a cross-entropy of probabilities."""
    functions = (
        keras.losses.sparse_categorical_crossentropy,
        keras.losses.categorical_crossentropy,
        keras.losses.binary_crossentropy,
    )
    fn_kwargs = getattr(loss, "_fn_kwargs", {})
    return getattr(loss, "fn", None) in functions and not fn_kwargs.get("from_logits", False)


def task_loss(loss, examples, outputs):
    """The mean of a loss over the real rows of one task (their sum with `reduction="sum"`).

    Keras's own reduction is passed by: it divides by the padded rows as well, and by the
    number of replicas, which would change the inner learning rate with the hardware.

    Args:
        loss: a `keras.losses.Loss`.
        examples: `Examples` of one task; y `[rows, ...]`, mask `[rows]`.
        outputs: `[rows, ...]`.

    Returns:
        A scalar tensor of the dtype of `outputs`, float32 if that is one of 16 bits.

    Raises:
        ValueError: the loss does not give one value a row.
    """
    if not tf.is_tensor(outputs):
        raise ValueError(
            f"Expected one output, a tensor. Received: a {type(outputs).__name__}. Give the "
            "learner a network with one output."
        )
    y = examples.y
    if outputs.dtype in (tf.float16, tf.bfloat16):  # as Keras does: half precision is for layers
        outputs = tf.cast(outputs, tf.float32)
    if outputs.dtype.is_floating and y.dtype.is_floating:
        y = tf.cast(y, outputs.dtype)
    # Keras takes the mean over the last axis, which must not be the rows.
    outputs = outputs[:, None] if outputs.shape.rank == 1 else outputs
    y = y[:, None] if y.shape.rank == 1 and outputs.shape[1:] == (1,) else y
    values = tf.convert_to_tensor(loss.call(y, outputs))
    if values.shape.rank == 0:
        raise ValueError(
            f"Expected one loss value a row. Received: a single number from {loss.name}. Take the "
            "mean over the last axis only, so that padded rows can be left out."
        )
    if values.shape.rank > 1:
        values = tf.reduce_mean(values, axis=list(range(1, values.shape.rank)))
    mask = tf.cast(examples.mask, values.dtype)
    total = tf.reduce_sum(values * mask)
    if loss.reduction == "sum":
        return total
    return tf.math.divide_no_nan(total, tf.reduce_sum(mask))  # a minibatch of padding alone: 0
