"""What every stream of episodes has in common: its numbering, its batches, its checks."""

import math
from typing import Any, NamedTuple

import tensorflow as tf

from tfmeta.arguments import check_integer

# Episodes drawn by one call. Drawing takes about a hundred tiny ops whatever the number of
# episodes; 256 of them cost about 4 us each, a single one 300 us. It changes no episode.
_BLOCK = 256
_LARGE = 2**22  # bytes of a meta-batch, of which two are always enough to be ahead


def stream(draw, build=None, *, meta_batch_size, count, start, step):
    """A `tf.data.Dataset` of meta-batches, from a function of episode numbers.

    Args:
        draw: function from episode numbers, int64 `[E]`, to a nest of tensors `[E, ...]`.
            Row e may depend on number e only: this makes an episode the same in every
            batch, after every restart and on every worker.
        build: function from that nest, `[B, ...]`, to the meta-batch: for what is too large
            to be cut out of a block, such as images. `None`: `draw` gives the `Episode`.
        meta_batch_size: B.
        count: number of episodes, or `None` for an endless stream.
        start: number of the first episode.
        step: distance between the numbers of neighbouring episodes.

    Returns:
        `tf.data.Dataset`. B is static, unless a smaller meta-batch comes last.
    """
    if count is None:
        limit, batches = tf.int64.max, tf.data.INFINITE_CARDINALITY
    else:
        limit, batches = start + step * count, -(-count // meta_batch_size)
    even = count is None or count % meta_batch_size == 0
    dataset = tf.data.Dataset.range(start, limit, step).batch(_BLOCK)
    dataset = _parallel_map(dataset, draw).rebatch(meta_batch_size, drop_remainder=even)
    if build is not None:
        dataset = _parallel_map(dataset, build)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(batches))
    return prefetched(dataset)


class Classes(NamedTuple):
    """Where the classes of episodes come from.

    Attributes:
        dataset: `ClassDataset`.
        drawn: function of a number of episodes to the class of each label of the first ones, an
            int array `[episodes, ways]`, -1 where there is no such label; None if it is not known.
    """

    dataset: Any
    drawn: Any = None


def of_classes(episodes, dataset, drawn=None):
    """`episodes`, a pipeline, with a note on it of the `Classes` that they are of."""
    episodes.tfmeta_classes = Classes(dataset, drawn)
    return episodes


def prefetched(dataset):
    """The data set, some meta-batches ahead: as many as help, but of large ones no more than two.

    On its own tf.data takes up to half of the machine's memory for them.
    """
    sizes = [
        spec.dtype.size * math.prod(axis or 1 for axis in spec.shape)
        for spec in tf.nest.flatten(dataset.element_spec)
    ]
    return dataset.prefetch(2 if sum(sizes) > _LARGE else tf.data.AUTOTUNE)


def _parallel_map(dataset, function):
    return dataset.map(function, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def check_stream(meta_batch_size, seed, count, start, step):
    """The arguments that every stream has, as Python ints: NumPy's overflow.

    Returns:
        `(seed, numbering)`, the latter a dict of keyword arguments of `stream`.

    Raises:
        ValueError: an argument is out of range.
    """
    numbering = {
        "meta_batch_size": check_integer("meta_batch_size", meta_batch_size, 1),
        "count": None if count is None else check_integer("count", count, 1),
        "start": check_integer("start", start, 0),
        "step": check_integer("step", step, 1),
    }
    return check_integer("seed", seed), numbering
