"""The loss of one task, from whatever `compile(loss=...)` takes."""

import keras
import tensorflow as tf

from tfmeta.backend.private_keras import loss_arguments, mask_of


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


def ignored_class(loss):
    """The label whose rows a sparse cross-entropy leaves out (`ignore_class`), or None."""
    return loss_arguments(loss).get("ignore_class") if is_sparse(loss) else None


def takes_logits(loss):
    """True for a loss that was made with from_logits=True."""
    return bool(loss_arguments(loss).get("from_logits", False))


def expects_probabilities(loss):
    """True for a cross-entropy of probabilities."""
    functions = (
        keras.losses.sparse_categorical_crossentropy,
        keras.losses.categorical_crossentropy,
        keras.losses.categorical_focal_crossentropy,
        keras.losses.binary_crossentropy,
        keras.losses.binary_focal_crossentropy,
    )
    return getattr(loss, "fn", None) in functions and not takes_logits(loss)


def counted_rows(loss, y, mask):
    """`mask` `[rows]` without what the loss ignores: `[rows]`, or like the labels `y`.

    Args:
        loss: a `keras.losses.Loss`, or None.
        y: targets, `[rows, ...]`.
        mask: `[rows]`.
    """
    ignored = ignored_class(loss)
    if ignored is None:
        return mask
    y = tf.squeeze(y, -1) if y.shape.rank > 1 and y.shape[-1] == 1 else y
    counted = tf.cast(y != tf.cast(ignored, y.dtype), mask.dtype)
    return counted * _with_rank(mask, y.shape.rank)


def task_loss(loss, examples, outputs):
    """The mean of a loss over the real rows of one task (their sum with `reduction="sum"`).

    What Keras leaves out of the mean is left out here: rows of the `ignore_class` of a sparse
    cross-entropy, and steps of a sequence that a layer has masked.

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
    y, seen = examples.y, mask_of(outputs)
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
    weights = _with_rank(tf.cast(examples.mask, values.dtype), values.shape.rank)
    for counted in (seen, mask_of(values)):
        if counted is not None:
            weights *= _with_rank(tf.cast(counted, values.dtype), values.shape.rank)
    if values.shape.rank > 1:
        weights = tf.broadcast_to(weights, tf.shape(values))
    total = tf.reduce_sum(values * weights)
    if loss.reduction == "sum":
        return total
    return tf.math.divide_no_nan(total, tf.reduce_sum(weights))  # a minibatch of padding alone: 0


def one_output(outputs):
    """What a network returns, once it is known to be one tensor, symbolic or not."""
    if not tf.is_tensor(outputs) and not isinstance(outputs, keras.KerasTensor):
        raise ValueError(
            f"Expected one output, a tensor. Received: a {type(outputs).__name__}. Give the "
            "learner a network with one output."
        )
    return outputs


def _with_rank(values, rank):
    """`values` with axes of size 1 behind, up to a rank."""
    more = rank - values.shape.rank
    return tf.reshape(values, tf.concat([tf.shape(values), [1] * more], 0)) if more > 0 else values
