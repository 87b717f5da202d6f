"""Arrays in memory as a `ClassDataset`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfmeta.rows import as_rows, map_parts
from tfmeta.types import ClassDataset, count_rows


def from_arrays(x: Any, labels: Any, class_names: Any = None) -> ClassDataset:
    """Groups the rows of an array, or of a nest of arrays, by label.

    Args:
        x: array `[examples, ...]`; or dicts and tuples of such arrays, say
            `{"ids": [examples, length], "mask": [examples, length]}`. A list is an array. Also a
            `numpy.memmap`, or an object that is read by row, as `ClassDataset` says.
        labels: integers or strings `[examples]`, or a column `[examples, 1]` as Keras's data
            sets have, any values; the class ids are their positions among the sorted distinct
            labels.
        class_names: one name for each distinct label, in sorted order, no two alike, or a dict
            from label to name; `str(label)` by default.

    Returns:
        `ClassDataset`.

    Raises:
        ValueError: the lengths differ, labels are not one integer or string a row, or
            there is not one name for each distinct label.
    """
    x, labels = map_parts(_as_array, x), checked_labels(labels)
    is_scalar = getattr(x, "ndim", 1) == 0
    if is_scalar or count_rows(x) != len(labels):
        raise ValueError(
            "Expected one label for each row of x. "
            f"Received: x of shape {map_parts(np.shape, x)} and {len(labels)} labels."
        )
    distinct, class_ids = np.unique(labels, return_inverse=True)
    names = _names_of(distinct, class_names)
    if len(names) != len(distinct):
        raise ValueError(
            f"Expected {len(distinct)} class names, one for each distinct label in sorted order. "
            f"Received: {len(names)}."
        )
    return ClassDataset(x, class_ids, names)


def _as_array(x):
    if hasattr(x, "element_spec"):
        raise ValueError(
            "Expected arrays. Received: a tf.data.Dataset. Collect it: x, labels = zip(*dataset."
            "unbatch().as_numpy_iterator()) of one in batches."
        )
    try:
        return as_rows(x)
    except ValueError as error:
        if not isinstance(x, list):
            raise
        raise ValueError(
            f"Expected rows of x of one shape. Received: rows that differ ({error}). Pad them."
        ) from None


def _names_of(distinct, class_names):
    """The names of distinct labels, a list."""
    if class_names is None:
        return [str(label) for label in distinct]
    if isinstance(class_names, Mapping):
        lacking = [label for label in distinct.tolist() if label not in class_names]
        if lacking:
            raise ValueError(f"Expected a name for each label. Received: none for {lacking[:5]}.")
        return [class_names[label] for label in distinct.tolist()]
    if isinstance(class_names, str):
        raise ValueError(f"Expected a list of class names. Received: {class_names!r}.")
    return list(class_names)


def checked_labels(labels):
    """Labels as a 1-D array of integers or str."""
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        hint = " One-hot labels: pass labels.argmax(axis=-1)." if labels.ndim == 2 else ""
        raise ValueError(
            "Expected labels of shape (examples,), one integer or string a row. "
            f"Received: shape {labels.shape}.{hint}"
        )
    if labels.dtype == object:  # pandas columns
        kinds = {str if isinstance(v, str) else type(v) for v in labels.tolist()}
        if kinds == {str}:
            return labels.astype(str)
        if kinds == {bytes}:  # strings of TensorFlow
            return np.array([label.decode() for label in labels.tolist()])
        if kinds <= {int, bool}:
            return labels.astype(np.int64)
        raise ValueError(
            "Expected labels that are all integers or all strings. "
            f"Received: {sorted(kind.__name__ for kind in kinds)}."
        )
    if labels.dtype.kind == "S":
        return np.char.decode(labels, "utf-8")
    if labels.dtype.kind not in "biuU":
        raise ValueError(
            f"Expected integer or string labels. Received: labels that are not integers, dtype "
            f"{labels.dtype}. Convert whole numbers with labels.astype(int)."
        )
    return labels
