"""Class labels and other targets: the shapes that a loss can compare with outputs."""

import keras
import numpy as np
import tensorflow as tf

from tfmeta.engine.losses import is_sparse

_SPARSE = "keras.losses.SparseCategoricalCrossentropy(from_logits=True)"
_ONE_HOT = "keras.losses.CategoricalCrossentropy(from_logits=True)"
_BINARY = "keras.losses.BinaryCrossentropy(from_logits=True)"

_OF_ONE_HOT = (
    *(keras.losses.categorical_crossentropy, keras.losses.categorical_focal_crossentropy),
    keras.losses.categorical_hinge,
)
_OF_EACH_OUTPUT = (
    *(keras.losses.mean_squared_error, keras.losses.mean_absolute_error, keras.losses.huber),
    *(keras.losses.mean_absolute_percentage_error, keras.losses.mean_squared_logarithmic_error),
    *(keras.losses.log_cosh, keras.losses.poisson, keras.losses.kl_divergence),
    *(keras.losses.binary_crossentropy, keras.losses.binary_focal_crossentropy),
    *(keras.losses.hinge, keras.losses.squared_hinge),
)


def one_a_row(learner, y, where="support.y"):
    """Targets of one task, where a learner wants labels `[rows]`: a column `[rows, 1]` as such."""
    if not (learner.integer_labels and learner.one_label_a_row):
        return y
    if y.shape.rank == 2 and y.shape[1] == 1:
        return tf.squeeze(y, 1)
    check_one_a_row(learner, y, where, 1)
    return y


def of_one_task(learner, episode):
    """An `Episode` of one task whose labels are as `one_a_row` has them."""
    return episode._replace(
        support=episode.support._replace(y=one_a_row(learner, episode.support.y)),
        query=episode.query._replace(y=one_a_row(learner, episode.query.y, "query.y")),
    )


def check_one_a_row(learner, y, where, leading):
    """A ValueError unless `y` is one label a row, `[rows]` or `[rows, 1]`, where they have to be.

    Args:
        learner: the learner.
        y: targets.
        where: what `y` is called in a message.
        leading: the number of its axes of tasks and rows.
    """
    applies = learner.integer_labels and learner.one_label_a_row
    if applies and tuple(y.shape[leading:]) not in ((), (1,)):
        raise ValueError(
            f"Expected one class label a row, an integer 0..ways-1, in {where}. Received: shape "
            f"{tuple(y.shape)}. Of one-hot labels pass y.argmax(axis=-1)."
        )


def advice_for_dtype(y):
    """What to do about class labels, a NumPy array, that are no integers."""
    one_hot = y.ndim > 1 and y.shape[-1] > 1 and np.isin(y, (0, 1)).all()
    if one_hot and (y.sum(axis=-1) == 1).all():
        return f"Of one-hot labels pass y.argmax(axis=-1), or compile with loss={_ONE_HOT}."
    return 'Use y.astype("int32"), or a loss for these targets.'


def check_class_loss(learner):
    """A ValueError if a learner of class labels has a loss of Keras's for other targets."""
    always = getattr(type(learner), "integer_labels", None) is True
    kind = getattr(learner.query_loss, "fn", None)
    if always and kind in (*_OF_ONE_HOT, *_OF_EACH_OUTPUT):
        raise ValueError(
            f"Expected a loss of class labels: {type(learner).__name__} learns from labels "
            f"0..ways-1, one a row. Received: {kind.__name__}. Compile with loss={_SPARSE}, and "
            "pass one-hot labels as y.argmax(axis=-1)."
        )


def check_targets(loss, y, outputs):
    """A ValueError unless a loss of Keras's can compare targets with outputs, by their shapes.

    Args:
        loss: the compiled loss.
        y: targets of one task, `[rows, ...]`: anything with a shape and a dtype.
        outputs: outputs of one task, `[rows, ...]`.
    """
    kind, shape, wanted = getattr(loss, "fn", None), y.shape, outputs.shape
    if shape.rank is None or not wanted.rank or wanted.rank < 2:
        return
    received = f"Received: y of shape {shape}, outputs of shape {wanted}."
    column = shape.rank == wanted.rank and shape[-1] == 1
    if is_sparse(loss):
        if wanted[-1] == 1:
            raise ValueError(
                f"Expected an output for each class. {received} Make the network with "
                f"outputs=ways, or, for two classes, compile with loss={_BINARY}."
            )
        if shape.rank != wanted.rank - 1 and not column:
            raise ValueError(
                f"Expected class labels of shape {wanted[:-1]}. {received} Of one-hot labels pass "
                f"y.argmax(axis=-1), or compile with loss={_ONE_HOT}."
            )
    elif kind in _OF_ONE_HOT and not shape.is_compatible_with(wanted):
        raise ValueError(
            f"Expected one-hot targets, of the shape of the outputs. {received} For class labels "
            f"compile with loss={_SPARSE}."
        )
    elif kind in _OF_EACH_OUTPUT and not _alike(shape, wanted):
        labels = y.dtype.is_integer and shape.rank == wanted.rank - 1
        hint = f"For class labels compile with loss={_SPARSE}." if labels else _as_wide(shape)
        raise ValueError(f"Expected targets of the shape of the outputs. {received} {hint}")


def _alike(shape, wanted):
    """True if Keras makes the two one shape: by a last axis of 1, or by broadcasting."""
    longer, shorter = (shape, wanted) if shape.rank > wanted.rank else (wanted, shape)
    if longer.rank == shorter.rank + 1 and longer[-1] == 1:
        longer = longer[:-1]
    pairs = zip(longer, shorter, strict=False)
    return longer.rank == shorter.rank and all(
        a == b or 1 in (a, b) or None in (a, b) for a, b in pairs
    )


def _as_wide(shape):
    width = shape[-1] if shape.rank > 1 else 1
    return f"Make the network with outputs={width}, or change the targets."
