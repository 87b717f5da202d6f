"""Rows of a data set as tensors, for the pipelines: read by TensorFlow where they lie."""

import numpy as np

from tfmeta.inputs import as_inputs


def reader(dataset, padded=False):
    """A function that reads rows of a data set as inputs, for the map of a `tf.data.Dataset`.

    Arrays are gathered by TensorFlow from where they lie, in memory or in a file: no copy, no
    Python. Rows of objects, and of large arrays whose memory begins where TensorFlow cannot read,
    come from one Python function, called once for all that an episode needs.

    Args:
        dataset: `ClassDataset`.
        padded: whether row numbers may be -1, which gives zeros.

    Returns:
        function from tensors of row numbers, int `[B, R]` or `[R]`, to a list: for each tensor the
        nest of inputs `[B, R, ...]`, as `tfmeta.inputs.as_inputs` gives them.
    """
    import tensorflow as tf

    parts = tf.nest.flatten(dataset.rows)
    # On the CPU, where tf.data runs.
    with tf.device("CPU:0"):
        tables = {i: _table(part) for i, part in enumerate(parts) if _can_be_table(part)}
    others = {i: part for i, part in enumerate(parts) if i not in tables}

    def read(*rows):
        by_python = _read_by_python(list(others.values()), rows)
        results = []
        for numbers, found in zip(rows, by_python, strict=True):
            found = dict(zip(others, found, strict=True))
            found |= {i: _gather(*table, numbers, padded) for i, table in tables.items()}
            each = [found[i] for i in range(len(parts))]
            results.append(as_inputs(tf.nest.pack_sequence_as(dataset.rows, each)))
        return results

    return read


def read_in_place(dataset):
    """The `tf.data.Dataset`, in which iterators leave the tables of `reader` where they are.

    To rewrite a graph, as tf.data does by default, is to copy the tensors that its functions hold.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    return dataset.with_options(options)


def _can_be_table(part):
    return part.in_place() or _is_text(part)


def _is_text(part):
    return part.in_array and part.source.dtype.kind in "OUS"


def _table(part):
    """The source of `Rows` of an array as a tensor, and their order as one, or None."""
    import tensorflow as tf

    order = None if part.order is None else tf.constant(part.order)
    if _is_text(part):
        return tf.constant(part.source), order
    try:
        memory = np.asarray(_Writable(part.source))
        return tf.experimental.dlpack.from_dlpack(memory.__dlpack__()), order
    except (BufferError, RuntimeError):  # a type that DLPack does not know, bfloat16 say
        return tf.constant(part.source), order


class _Writable:
    """The memory of an array as one that may be written: NumPy lends no other by DLPack.

    TensorFlow does not write to a constant, and a file that is mapped to be read stays as it is.
    """

    def __init__(self, source):
        self.source = source  # lives as long as the array made of this, which holds `self`
        data = (source.ctypes.data, False)
        self.__array_interface__ = {**source.__array_interface__, "data": data}


def _gather(table, order, numbers, padded):
    """Rows `[...]` of a table `[examples, ...]`; zeros in the place of -1 if `padded`."""
    import tensorflow as tf

    def gather(numbers):
        return tf.gather(table, numbers if order is None else tf.gather(order, numbers))

    if not padded:
        return gather(numbers)
    # The real rows and one of zeros, put in their places: this moves bytes twice, where a
    # `tf.where` over pixels takes six times as long as reading them.
    flat = tf.reshape(numbers, [-1])
    real = flat >= 0
    zero = tf.zeros([1, *table.shape[1:]], table.dtype)
    found = tf.concat([gather(tf.boolean_mask(flat, real)), zero], 0)
    place = tf.cumsum(tf.cast(real, tf.int32), exclusive=True)
    place = tf.where(real, place, tf.shape(found)[0] - 1)
    result = tf.gather(found, tf.reshape(place, tf.shape(numbers)))
    return tf.ensure_shape(result, (*numbers.shape, *table.shape[1:]))


def _read_by_python(parts, rows):
    """For each tensor of row numbers a list: its rows of each of the parts."""
    import tensorflow as tf

    if not parts:
        return [[] for _ in rows]
    examples = [part.example for part in parts]
    leaves = tf.nest.flatten(examples)

    def read(*rows):
        # All at once: what takes the place of a row must be none of the others.
        ends = np.cumsum([numbers.size for numbers in rows])[:-1]
        found = tf.nest.flatten([p.read(np.concatenate([*map(np.ravel, rows)])) for p in parts])
        split = zip(*(np.split(leaf, ends) for leaf in found), strict=True)
        return [np.ascontiguousarray(leaf) for each in split for leaf in each]

    flat = tf.numpy_function(read, rows, [tf.as_dtype(leaf.dtype) for leaf in leaves] * len(rows))
    flat, results = iter(flat), []
    for numbers in rows:
        found = [_shaped(next(flat), numbers, leaf.shape[1:]) for leaf in leaves]
        results.append(tf.nest.pack_sequence_as(examples, found))
    return results


def _shaped(found, numbers, shape):
    """Rows one after the other in the shape of their numbers, `[..., *shape]`."""
    import tensorflow as tf

    found = tf.reshape(found, tf.concat([tf.shape(numbers), tf.constant(shape, tf.int32)], 0))
    return tf.ensure_shape(found, (*numbers.shape, *shape))
