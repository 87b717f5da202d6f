"""What one task is given by hand: arrays or tensors, made into tensors once, at the door."""

import numpy as np
import tensorflow as tf

from tfmeta.engine import losses
from tfmeta.engine.checks import labels
from tfmeta.engine.input_ranges import check_ranges, scaled
from tfmeta.engine.kept import kept
from tfmeta.types import Episode, Examples

_OF_A_META_BATCH = (
    " One task of a meta-batch is tfmeta.Examples(*[t[0] for t in support]), where x is a tensor."
)


def network_dtype(learner):
    """The dtype of the network's weights, which is that of its inputs."""

    def look():
        variables = learner.inner_network().variables
        floats = [v.dtype for v in variables if "float" in str(v.dtype)]
        return floats[0] if floats else learner.variable_dtype

    return kept(learner, "dtype", look)


def map_nest(function, value):
    """Apply a function to each leaf of a nest of dicts and tuples; a list is an array."""
    if isinstance(value, dict):
        return type(value)((key, map_nest(function, part)) for key, part in value.items())
    if isinstance(value, tuple) and any(hasattr(part, "shape") for part in leaves(value)):
        parts = [map_nest(function, part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return function(value)


def leaves(value):
    """The leaves of such a nest, a list."""
    parts = value.values() if isinstance(value, dict) else value
    nest = isinstance(value, dict | tuple)
    return [leaf for part in parts for leaf in leaves(part)] if nest else [value]


def as_tensor(learner, value):
    """Inputs as tensors of the network's dtype: floats are cast, uint8 images scaled to 0..1."""
    dtype = network_dtype(learner)
    return scaled(learner.inner_network(), _as_tensors(value, dtype), dtype)


def _as_tensors(value, dtype):
    def convert(value):
        if isinstance(value, np.ndarray) or not tf.is_tensor(value):
            try:
                value = np.asarray(value)
            except ValueError:  # of a list
                raise ValueError(
                    "Expected an array of numbers, or a list of rows of one length; several arrays "
                    f"go into a dict or a tuple. Received: {type(value).__name__}, {value!r:.80}."
                ) from None
            if value.dtype == object:
                raise ValueError(
                    f"Expected an array of numbers. Received: dtype object, {value!r:.80}."
                )
        value = tf.convert_to_tensor(value)
        return tf.cast(value, dtype) if value.dtype.is_floating else value

    return map_nest(convert, value)


def as_examples(learner, support):
    """`Examples` of tensors of one task, from tensors or arrays, with or without a mask."""
    if isinstance(support, Episode) or not isinstance(support, Examples):
        hint = "episode.support" if isinstance(support, Episode) else "tfmeta.Examples(x, y)"
        raise ValueError(
            "Expected tfmeta.Examples, the support set of one task. "
            f"Received: {type(support).__name__}. Pass {hint}."
        )
    x, y = as_tensor(learner, support.x), as_targets(learner, support.y)
    y = labels.one_a_row(learner, y)
    if tf.executing_eagerly():
        check_ranges(learner, map_nest(lambda t: t.numpy(), x), "support.x")
    for part in tf.nest.flatten(x):
        ranks = part.shape.rank, y.shape.rank
        if 0 in ranks or part.shape[0] != y.shape[0] or part.shape[0] == 0:
            raise ValueError(
                "Expected support.x and support.y with the same number of rows, at least one "
                f"(shots > 0). Received: x of shape {part.shape}, y of shape {y.shape}."
            )
    return _without_ignored(learner, Examples(x, y, _as_mask(learner, y, support.mask)))


def _without_ignored(learner, support):
    """Rows that the compiled loss ignores as padding, for learners whose loss is another."""
    ignored = losses.ignored_class(learner.query_loss)
    if ignored is None or support.y.shape.rank != 1:
        return support
    counted = support.y != tf.cast(ignored, support.y.dtype)
    mask = support.mask * tf.cast(counted, support.mask.dtype)
    return Examples(support.x, tf.where(counted, support.y, 0), mask)


def _as_mask(learner, y, mask):
    given = mask is not None
    rows = y.shape[:1] if y.shape[:1].is_fully_defined() else tf.shape(y)[:1]
    mask = tf.cast(tf.convert_to_tensor(mask), tf.float32) if given else tf.ones(rows, tf.float32)
    if mask.shape.rank != 1 or not mask.shape.is_compatible_with(y.shape[:1]):
        raise ValueError(
            f"Expected a mask of shape [{y.shape[0]}], one number a row. Received: {mask.shape}."
            f"{_OF_A_META_BATCH if mask.shape.rank == 2 else ''}"
        )
    if given and tf.executing_eagerly() and not tf.reduce_any(mask > 0):
        what = "NaN in the mask" if tf.reduce_any(tf.math.is_nan(mask)) else "a mask of zeros"
        raise ValueError(f"Expected a real row in the support set. Received: {what}.")
    if tf.executing_eagerly() and learner.integer_labels:
        check_labels(y.numpy(), None, "support.y", learner.query_loss)
    return mask


def as_targets(learner, y):
    """Targets as tensors of the network's dtype; uint8 are labels, not pictures."""
    y = _as_tensors(y, network_dtype(learner))
    return tf.cast(y, tf.int32) if y.dtype == tf.uint8 else y


def check_labels(y, outputs, where, loss=None):
    """Class labels are integers `0..outputs-1`.

    Args:
        y: NumPy array of labels.
        outputs: number of classes, or None if it is not known.
        where: what `y` is called in a message.
        loss: the compiled loss, whose `ignore_class` may be any number, or None.
    """
    if not np.issubdtype(y.dtype, np.integer):
        raise ValueError(
            f"Expected integer class labels in {where}. Received: dtype {y.dtype}. "
            f"{labels.advice_for_dtype(y)}"
        )
    ignored = losses.ignored_class(loss)
    y = y if ignored is None else y[y != ignored]
    wanted = "0..ways-1" if outputs is None else f"0..{outputs - 1}, one for each output"
    if y.size and (y.min() < 0 or (outputs is not None and y.max() >= outputs)):
        received = y.min() if y.min() < 0 else y.max()
        raise ValueError(f"Expected class labels {wanted}. Received: {received} in {where}.")
