"""Rows of anything with length and random access, in an order of their own: views, no copies."""

import threading
from collections.abc import Mapping

import numpy as np

# Bytes. An array up to this size is copied once where it is not in order, or not where TensorFlow
# can read it in place; a larger one is read where it lies, in memory or on disk.
LARGE = 2**28
_ALIGNMENT = 64  # bytes: TensorFlow aborts on a tensor whose memory begins elsewhere
_ARRAYS = (list, range, str, bytes, bytearray, memoryview, set, frozenset, dict)


class Rows(np.lib.mixins.NDArrayOperatorsMixin):
    """Rows of a source in a given order. Indexing reads them, NumPy's functions read them all.

    Args:
        source: an array, or an object with `len(source)` and `source[i]`, one row: an array, or a
            nest (dicts and tuples) of arrays, of the same shapes for each i. One thread at a time
            reads it. If it has a method `__getitems__(numbers)`, a list of rows, as
            PyTorch's and tfds's data sources have, rows are read by it, many at once.
        order: int64 `[rows]`, the number in the source of each row; None for all, as they are.

    Attributes:
        shape: `(rows, ...)`, dtype: as of an array; in the nest of a row, if rows are nests.
        example: an array `[0 or 1, ...]`, or a nest of them: the types and shapes of a row.
    """

    def __init__(self, source, order=None):
        self.source, self.order = source, order
        self.in_array = isinstance(source, np.ndarray)
        self._lock = threading.Lock()
        if self.in_array:
            self.example = source[:0]
        else:
            self.example = map_parts(_example_of, self._read([0])[0])

    @property
    def example_shape(self):
        """Shape of one row, a tuple or a nest of tuples."""
        return map_parts(lambda part: part.shape[1:], self.example)

    @property
    def shape(self):
        return map_parts(lambda part: (len(self), *part.shape[1:]), self.example)

    @property
    def dtype(self):
        return map_parts(lambda part: part.dtype, self.example)

    def __len__(self):
        return len(self.source) if self.order is None else len(self.order)

    def __reduce__(self):
        return Rows, (self.source, self.order)

    def __getitem__(self, index):
        if self.in_array and self.order is None:
            return self.source[index]
        if isinstance(index, tuple):
            return self[:][index] if isinstance(index[0], slice) else self[index[0]][index[1:]]
        rows = np.arange(len(self))[index]
        return map_parts(lambda part: part.reshape(rows.shape + part.shape[1:]), self.read(rows))

    def __array__(self, dtype=None, copy=None):
        array = self.source if self.in_array and self.order is None else self[:]
        if not isinstance(array, np.ndarray):
            raise TypeError("Rows that are nests are no array. Read some: rows[:10].")
        return np.asarray(array, dtype)

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        inputs = [np.asarray(part) if isinstance(part, Rows) else part for part in inputs]
        return getattr(ufunc, method)(*inputs, **options)

    def take(self, rows):
        """`Rows` of these rows, int64 `[rows]`, of the same source."""
        part = object.__new__(Rows)
        vars(part).update(vars(self), order=rows if self.order is None else self.order[rows])
        return part

    def read(self, rows):
        """The rows of these numbers, any shape, one after the other; zeros in the place of -1."""
        flat = np.ravel(rows)
        real = flat >= 0
        numbers = flat[real] if self.order is None else self.order[flat[real]]
        if self.in_array:
            found = np.take(self.source, numbers, axis=0)
        elif len(numbers):
            found = _stacked(self._read(numbers.tolist()), self.example, numbers)
        else:
            found = map_parts(lambda part: part[:0], self.example)
        if real.all():
            return found

        def padded(part):
            zero = b"" if part.dtype == object else 0  # text
            result = np.full((len(flat), *part.shape[1:]), zero, part.dtype)
            result[real] = part
            return result

        return map_parts(padded, found)

    def _read(self, numbers):
        with self._lock:
            if hasattr(self.source, "__getitems__"):
                return self.source.__getitems__(numbers)
            return [_row(self.source, number) for number in numbers]

    def in_place(self):
        """Whether TensorFlow can read the source in place."""
        return self.in_array and self.source.flags.c_contiguous and _is_aligned(self.source)

    def settled(self):
        """The same rows: of a small array in order and in place, by a copy where it takes one."""
        if not self.in_array or self.source.nbytes > LARGE:
            return self
        if self.order is None and (self.in_place() or self.source.dtype.kind in "OUS"):
            return self
        return Rows(_aligned_copy(self.source, self.order))

    def plain(self):
        """As an array: views where the rows lie together, a copy of a small array, or `self`."""
        if not self.in_array or self.order is None:
            return self.source if self.in_array else self
        first = self.order[0]
        if np.array_equal(self.order, np.arange(first, first + len(self.order))):
            return self.source[first : first + len(self.order)]
        return self if self.source.nbytes > LARGE else self.source[self.order]


def as_rows(x):
    """`Rows` of an array, of what NumPy makes an array of, or of an object that is read by row."""
    if isinstance(x, Rows):
        return x
    by_row = hasattr(x, "__getitem__") and hasattr(x, "__len__") and not hasattr(x, "__array__")
    if not by_row or type(x) in _ARRAYS:
        x = np.asarray(x)
        return Rows(x) if x.ndim else x  # a number has no rows, which count_rows says
    if len(x) == 0:
        raise ValueError(f"Expected at least one example. Received: {type(x).__name__} without.")
    return Rows(x)


def empty_rows(rows, shape, dtype):
    """An array `[rows, *shape]`, not filled, in memory where TensorFlow can read it in place."""
    size = rows * int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    skip = -memory.ctypes.data % _ALIGNMENT
    return memory[skip : skip + size].view(dtype).reshape(rows, *shape)


# The nests are walked here, not by tf.nest or keras.tree: to those a list is a nest, to a data
# set an array; and this file loads neither.
def map_parts(function, x):
    """`function` of each part of x, in the nest of x; of x itself if it is no nest."""
    if isinstance(x, Mapping):
        return {key: map_parts(function, part) for key, part in x.items()}
    if isinstance(x, tuple):
        parts = [map_parts(function, part) for part in x]
        return type(x)(*parts) if hasattr(x, "_fields") else tuple(parts)
    return function(x)


def _is_aligned(array):
    return array.ctypes.data % _ALIGNMENT == 0


def _aligned_copy(source, order):
    """The rows `order` of an array, in memory where TensorFlow can read them."""
    if source.dtype.kind in "OUS":
        return source[order]
    rows = len(source) if order is None else len(order)
    result = empty_rows(rows, source.shape[1:], source.dtype)
    if order is None:
        result[...] = source
    else:
        np.take(source, order, axis=0, out=result, mode="clip")  # "raise" would buffer it all
    return result


def _row(source, number):
    try:
        return source[number]
    except Exception as error:  # of a user's own object: any
        raise ValueError(
            f"Expected rows that can be read. Received: {type(error).__name__} from row {number} "
            f"of {type(source).__name__}: {error}"
        ) from error


def _example_of(part):
    part = np.asarray(part)[np.newaxis]
    return part.astype(object) if part.dtype.kind in "SU" else part  # text of any length


def _stacked(rows, example, numbers):
    """Rows read one by one as arrays `[rows, ...]`, in the nest and the types of `example`."""
    if isinstance(example, Mapping):
        return {
            key: _stacked([row[key] for row in rows], part, numbers)
            for key, part in example.items()
        }
    if isinstance(example, tuple):
        parts = [_stacked([row[i] for row in rows], p, numbers) for i, p in enumerate(example)]
        return type(example)(*parts) if hasattr(example, "_fields") else tuple(parts)
    result = np.empty((len(rows), *example.shape[1:]), example.dtype)
    for place, row in enumerate(rows):
        row = _example_of(row)
        if row.shape[1:] != example.shape[1:] or row.dtype != example.dtype:
            raise ValueError(
                f"Expected rows of one shape and type, {example.shape[1:]} of {example.dtype} as "
                f"row 0 has. Received: row {numbers[place]} of shape {row.shape[1:]} of "
                f"{row.dtype}."
            )
        result[place] = row[0]
    return result
