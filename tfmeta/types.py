"""The three values that every part of tfmeta exchanges."""

from typing import Any, NamedTuple

import numpy as np


class Examples(NamedTuple):
    """Examples of one task, or of a meta-batch of tasks.

    Shapes are those of one task; a meta-batch adds one leading axis `[B, ...]`.

    Attributes:
        x: inputs, `[rows, ...]`.
        y: targets, `[rows]` (class labels `0..ways-1`) or `[rows, ...]` (regression).
        mask: float32 `[rows]`, 1 for a real example, 0 for padding. `None`, in one
            task given by hand, means that every row is real.
    """

    x: Any
    y: Any
    mask: Any = None


class Episode(NamedTuple):
    """One task: examples to adapt on, and examples to score on.

    A pair on purpose: Keras unpacks a batch as `(x, y)`.

    Attributes:
        support: `Examples` that the learner adapts on.
        query: `Examples` that the adapted learner is scored on.
    """

    support: Examples
    query: Examples


class ClassDataset:
    """Examples in memory, grouped by class: what episodes are drawn from.

    Args:
        x: array `[examples, ...]`; uint8 images keep a quarter of the memory and are
            scaled to `0..1` when episodes are made.
        class_ids: integers `[examples]`, the class of each row, `0..classes-1`. Every class
            needs at least one row.
        class_names: one name a class; `str(class_id)` by default.

    Attributes:
        x: the rows sorted by class (the order inside a class is kept), `[examples, ...]`.
        class_ids: int64 `[examples]`, ascending.
        counts: int64 `[classes]`, the number of examples of each class.
        starts: int64 `[classes]`, the row where each class begins.
        class_names: tuple of str.

    Raises:
        ValueError: the lengths differ, the ids are no integers, or a class is empty.
    """

    def __init__(self, x, class_ids, class_names=None):
        x, class_ids = np.asarray(x), np.asarray(class_ids)
        if class_ids.ndim != 1 or len(class_ids) != len(x):
            raise ValueError(
                f"Expected one class id for each row of x, an array of shape ({len(x)},). "
                f"Received: shape {class_ids.shape}."
            )
        if not np.issubdtype(class_ids.dtype, np.integer):
            raise ValueError(
                f"Expected integer class ids. Received: dtype {class_ids.dtype}. "
                "tfmeta.datasets.from_arrays turns any labels into class ids."
            )
        if len(x) == 0:
            raise ValueError("Expected at least one example. Received: an empty array.")
        if class_ids.min() < 0:
            raise ValueError(f"Expected class ids from 0. Received: {class_ids.min()}.")
        counts = np.bincount(class_ids, minlength=0 if class_names is None else len(class_names))
        names = (
            [str(i) for i in range(len(counts))]
            if class_names is None
            else list(map(str, class_names))
        )
        if len(names) != len(counts):
            raise ValueError(
                f"Expected {len(counts)} class names, one a class id. Received: {len(names)}."
            )
        if (counts == 0).any():
            empty = [names[i] for i in np.flatnonzero(counts == 0)[:5]]
            raise ValueError(
                f"Expected at least one example in each class. Received: none in {empty}."
            )
        order = np.argsort(class_ids, kind="stable")
        self.x = x if (order == np.arange(len(order))).all() else x[order]
        self.class_ids = class_ids[order].astype(np.int64)
        self.counts = counts.astype(np.int64)
        self.starts = np.cumsum(self.counts) - self.counts
        self.class_names = tuple(names)

    @property
    def num_classes(self):
        """Number of classes."""
        return len(self.counts)

    @property
    def num_examples(self):
        """Number of examples over all classes."""
        return len(self.x)

    @property
    def example_shape(self):
        """Shape of one example, a tuple."""
        return tuple(self.x.shape[1:])

    def of_class(self, class_id):
        """The examples of one class, `[counts[class_id], ...]` (a view, not a copy)."""
        start = self.starts[class_id]
        return self.x[start : start + self.counts[class_id]]

    def subset(self, class_ids):
        """A `ClassDataset` of these classes, numbered from 0 in the order given."""
        class_ids = [int(c) for c in class_ids]
        return ClassDataset(
            np.concatenate([self.of_class(c) for c in class_ids]) if class_ids else self.x[:0],
            np.repeat(np.arange(len(class_ids)), self.counts[class_ids]),
            [self.class_names[c] for c in class_ids],
        )

    def __repr__(self):
        return (
            f"<ClassDataset: {self.num_classes} classes, {self.num_examples} examples "
            f"of shape {self.example_shape}, {self.x.dtype}>"
        )


def check_class_dataset(dataset):
    """Raises a ValueError unless `dataset` is a `ClassDataset`."""
    if not isinstance(dataset, ClassDataset):
        raise ValueError(
            f"Expected a ClassDataset. Received: {type(dataset).__name__}; make one with "
            "tfmeta.datasets.from_arrays(x, labels)."
        )
