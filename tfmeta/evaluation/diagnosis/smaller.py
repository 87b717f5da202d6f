"""Episodes with fewer shots, or with fewer ways, made of those that are there."""

import numpy as np
import tensorflow as tf

from tfmeta.types import Episode


def smaller(batch):
    """Of a meta-batch those with fewer shots and with fewer ways: the smallest, and the half.

    Args:
        batch: `Episode` of tensors `[B, rows, ...]`.

    Returns:
        dict from `("shots", number)` and `("ways", number)` to an `Episode`. Targets that are
        numbers have shots alone, which are support rows. Empty for episodes that are padded or of
        classes of different sizes.
    """
    support, query = (part.y.numpy() for part in batch)
    if not all(np.all(part.mask.numpy() > 0) for part in batch):
        return {}
    if not (np.issubdtype(support.dtype, np.integer) and support.ndim == 2):
        rows = support.shape[1]
        return {
            ("shots", n): batch._replace(support=_taken(batch.support, np.arange(n)[None]))
            for n in _sizes(rows, 1)
        }
    shots, ways = _per_class(support), int(support.max()) + 1
    if shots is None or _per_class(query) is None:
        return {}
    found = {}
    for number in _sizes(shots, 1):
        rows = _sorted_by_class(support).reshape(-1, ways, shots)[:, :, :number]
        part = _taken(batch.support, rows.reshape(len(support), -1))
        found["shots", number] = batch._replace(support=part)
    for number in _sizes(ways, 2):
        parts = [
            _taken(part, _sorted_by_class(y)[:, : y.shape[1] // ways * number])
            for part, y in zip(batch, (support, query), strict=True)
        ]
        found["ways", number] = Episode(*parts)
    return found


def _sizes(most, least):
    """The smallest number and the half of the largest, if they are less than that."""
    return sorted({n for n in (least, most // 2) if least <= n < most})


def _per_class(y):
    """How many rows each class of each task has, or None if that differs."""
    counts = np.stack([np.bincount(row, minlength=y.max() + 1) for row in y])
    return int(counts[0, 0]) if (counts == counts[0, 0]).all() else None


def _sorted_by_class(y):
    """The numbers of the rows, those of class 0 first, `[B, rows]`."""
    return np.argsort(y, axis=1, kind="stable")


def _taken(part, rows):
    """The rows of each task of a meta-batch, `[B, number]`, or the same of all, `[1, number]`."""
    rows = np.broadcast_to(rows, (part.mask.shape[0], rows.shape[1]))
    return tf.nest.map_structure(lambda t: tf.gather(t, rows, batch_dims=1), part)
