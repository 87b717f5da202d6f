"""The three values that every part of tfmeta exchanges."""

import difflib
import functools
from collections.abc import Iterable
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from tfmeta.hints import Nest
from tfmeta.rows import as_rows, map_parts


class Examples(NamedTuple):
    """Examples of one task, or of a meta-batch of tasks.

    Shapes are those of one task; a meta-batch adds one leading axis `[B, ...]`.

    Attributes:
        x: inputs, `[rows, ...]`: a tensor, or a nest of tensors (token ids and their mask, a
            picture and its numbers) that all have the same rows.
        y: targets, `[rows]` (class labels `0..ways-1`) or `[rows, ...]` (regression).
        mask: float32 `[rows]`, 1 for a real example, 0 for padding. `None`, in one
            task given by hand, means that every row is real.
    """

    x: Any
    y: Any
    mask: Any = None


class Episode(NamedTuple):
    """One task: examples to adapt on, and examples to score on.

    A pair on purpose: Keras unpacks a batch as `(x, y)`. `tf.data` does not unpack it: a function
    that is mapped over episodes takes one `Episode`, and returns one.

    ```python
    episodes.map(lambda episode: episode._replace(support=augment(episode.support)))
    ```

    Attributes:
        support: `Examples` that the learner adapts on.
        query: `Examples` that the adapted learner is scored on.
    """

    support: Examples
    query: Examples


class ClassDataset:
    """Examples grouped by class, in memory or on disk: what episodes are drawn from.

    However many data sets and pipelines are made of it, x is there once. Episodes are the same,
    bit for bit, wherever x lies.

    Args:
        x: array `[examples, ...]`, or a nest of such arrays: dicts and tuples, named or not,
            one in another; a list is an array. uint8 images keep a quarter of the memory and
            are scaled to `0..1` when episodes are made; give ids of an `Embedding` as int32.
            In the place of an array, a `numpy.memmap`, or any object with `len(x)` and `x[i]`, one
            row: an array or a nest of arrays, read when an episode needs it
            (`tfmeta.rows.Rows` says how). Arrays of more than 256 MiB are read where they lie, so
            leave them as they are.
        class_ids: integers `[examples]`, the class of each row, `0..classes-1`. Every class
            needs at least one row.
        class_names: one name a class, no two alike; `str(class_id)` by default.

    Attributes:
        x: the rows sorted by class (the order inside a class is kept), `[examples, ...]`, in
            the nest given; any mapping is a dict here. Arrays; but `tfmeta.rows.Rows`, which
            reads what is asked for, of an object, and of an array of more than 256 MiB whose rows
            do not lie together.
        rows: the same in the nest of `tfmeta.rows.Rows`, which copy nothing.
        class_ids: int64 `[examples]`, ascending.
        counts: int64 `[classes]`, the number of examples of each class.
        starts: int64 `[classes]`, the row where each class begins.
        class_names: tuple of str.

    Raises:
        ValueError: the lengths differ, the ids are no integers, a class is empty, or two classes
            have one name.
    """

    def __init__(self, x: Any, class_ids: Any, class_names: Any = None):
        rows = map_parts(as_rows, x)
        class_ids = _checked_class_ids(class_ids, count_rows(rows))
        counts = np.bincount(class_ids, minlength=0 if class_names is None else len(class_names))
        names = _checked_names(class_names, counts)
        if (counts == 0).any():
            empty = [names[i] for i in np.flatnonzero(counts == 0)[:5]]
            raise ValueError(
                f"Expected at least one example in each class. Received: none in {empty}."
            )
        order = np.argsort(class_ids, kind="stable")
        if not (order == np.arange(len(order))).all():
            rows = map_parts(lambda part: part.take(order), rows)
        self._hold(map_parts(lambda part: part.settled(), rows), counts, names)

    def _hold(self, rows, counts, names):
        self.rows = rows
        self.counts = counts.astype(np.int64)
        self.class_ids = np.repeat(np.arange(len(counts)), self.counts)
        self.starts = np.cumsum(self.counts) - self.counts
        self.class_names = tuple(names)

    @functools.cached_property
    def x(self):
        return map_parts(lambda part: part.plain(), self.rows)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.counts)

    @property
    def num_examples(self) -> int:
        """Number of examples over all classes."""
        return len(self.class_ids)

    @property
    def example_shape(self):
        """Shape of one example: a tuple, or a nest of tuples if x is a nest."""
        return map_parts(lambda part: part.example_shape, self.rows)

    def of_class(self, class_id: int | str) -> Nest:
        """The examples of one class, an id or a name, `[counts[class_id], ...]`, read now.

        They are views of x where it is an array in order.
        """
        class_id = _class_id(class_id, self.class_names)
        part = slice(self.starts[class_id], self.starts[class_id] + self.counts[class_id])
        return map_parts(lambda rows: rows[part], self.rows)

    def subset(self, class_ids: Any) -> "ClassDataset":
        """A `ClassDataset` of these classes, ids or names, numbered from 0 in the order given.

        It holds row numbers: x is not copied.
        """
        if not isinstance(class_ids, Iterable) or isinstance(class_ids, str):
            raise ValueError(f"Expected a list of class ids or names. Received: {class_ids!r}.")
        class_ids = [_class_id(c, self.class_names) for c in class_ids]
        if not class_ids:
            raise ValueError("Expected at least one example. Received: a list of no class.")
        names = _checked_names([self.class_names[c] for c in class_ids], class_ids)
        order = np.concatenate([self.starts[c] + np.arange(self.counts[c]) for c in class_ids])
        part = object.__new__(type(self))
        part._hold(map_parts(lambda r: r.take(order), self.rows), self.counts[class_ids], names)
        return part

    def __repr__(self):
        return (
            f"<ClassDataset: {self.num_classes} classes, {self.num_examples} examples "
            f"of shape {self.example_shape}, {map_parts(_dtype_names, self.rows)}>"
        )


def _dtype_names(rows):
    return map_parts(str, rows.dtype)


def _checked_names(names, counts):
    """One name for each of the counts, a list of str; numbers if `names` is None."""
    names = [str(i) for i in range(len(counts))] if names is None else list(map(str, names))
    if len(names) != len(counts):
        raise ValueError(
            f"Expected {len(counts)} class names, one a class id. Received: {len(names)}."
        )
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})[:5]
        raise ValueError(
            "Expected class names that differ, and each class once. "
            f"Received: {twice} more than once."
        )
    return names


def _class_id(given, names):
    """The number of a class that is given by its number or its name."""
    if isinstance(given, str):
        if given in names:
            return names.index(given)
        near = difflib.get_close_matches(given, names)
        meant = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ValueError(f"Expected the name of a class. Received: {given!r}.{meant}")
    whole = isinstance(given, Integral) and not isinstance(given, bool)
    if not whole or not 0 <= given < len(names):
        raise ValueError(
            f"Expected class ids 0..{len(names) - 1}, or names of classes. Received: {given!r}."
        )
    return int(given)


def _checked_class_ids(class_ids, rows):
    """Class ids as an array of integers `[rows]`, each from 0."""
    class_ids = np.asarray(class_ids)
    if class_ids.ndim != 1 or len(class_ids) != rows:
        raise ValueError(
            f"Expected one class id for each row of x, an array of shape ({rows},). "
            f"Received: shape {class_ids.shape}."
        )
    if not np.issubdtype(class_ids.dtype, np.integer):
        raise ValueError(
            f"Expected integer class ids. Received: dtype {class_ids.dtype}. "
            "tfmeta.datasets.from_arrays turns any labels into class ids."
        )
    if rows == 0:
        raise ValueError("Expected at least one example. Received: an empty array.")
    if class_ids.min() < 0:
        raise ValueError(f"Expected class ids from 0. Received: {class_ids.min()}.")
    return class_ids


def count_rows(x):
    """The number of rows that all parts of x, arrays, have; a ValueError unless they agree."""
    parts = list(_named_parts(x, "x"))
    lengths = {None if getattr(part, "ndim", 1) == 0 else len(part) for _, part in parts}
    if len(lengths) != 1 or None in lengths:
        shapes = ", ".join(f"{name} of shape {part.shape}" for name, part in parts)
        raise ValueError(
            "Expected x to be an array with rows, or a nest of arrays with the same number of "
            f"rows. Received: {shapes or f'no array in x, {x}'}."
        )
    return len(parts[0][1])


def _named_parts(x, name):
    """Pairs of a part's place in x, as Python writes it, and the part."""
    if isinstance(x, dict):
        inner = [(f"{name}[{key!r}]", part) for key, part in x.items()]
    elif hasattr(x, "_fields"):
        inner = [(f"{name}.{field}", getattr(x, field)) for field in x._fields]
    elif isinstance(x, tuple):
        inner = [(f"{name}[{i}]", part) for i, part in enumerate(x)]
    else:
        return [(name, x)]
    return [pair for place, part in inner for pair in _named_parts(part, place)]


def check_class_dataset(dataset):
    """Raises a ValueError unless `dataset` is a `ClassDataset`."""
    if not isinstance(dataset, ClassDataset):
        raise ValueError(
            f"Expected a ClassDataset. Received: {type(dataset).__name__}; make one with "
            "tfmeta.datasets.from_arrays(x, labels)."
        )
