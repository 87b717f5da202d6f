"""Sequences: examples of a few classes in random order."""

import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.ops import random_numbers as rng
from tfmeta.reading import read_in_place, reader
from tfmeta.stream import check_stream, of_classes, stream
from tfmeta.types import ClassDataset, Episode, Examples, check_class_dataset


def sequence(
    dataset: ClassDataset,
    ways: int = 5,
    length: int = 50,
    meta_batch_size: int = 16,
    seed: int = 0,
    count: int | None = None,
    *,
    start: int = 0,
    step: int = 1,
) -> tf.data.Dataset:
    """Endless or counted meta-batches of sequences of classes in random order.

    Each sequence draws classes without replacement, and gives them the labels `0..ways-1` in random
    order. The class of each row is drawn anew, all with the same chance: were each seen equally
    often, counting labels would tell the last ones without a look at x. The rows of a class are
    different examples; the first of them come again where a class has no more.

    A sequence is an `Episode` whose support set is its first `length - 1` rows, in order, and whose
    query set is the last one. So every learner can adapt on it, in the usual way. Learners that
    read sequences (`LSTMLearner`, `MANN`, `SNAIL`, `InContextTransformer`) predict each row from
    those before it and their labels; they learn from all of these predictions, and
    `tfmeta.evaluation.score_sequence` scores them by the k-th time that a class is seen.

    Episode number i depends on the data set, `ways`, `length`, `seed` and i only, as in
    `tfmeta.episodes.classification`, which also says what `start` and `step` are for.

    Args:
        dataset: `ClassDataset`, from `tfmeta.datasets`.
        ways: N, classes per sequence.
        length: L, rows per sequence, at least `ways`.
        meta_batch_size: B, sequences per element.
        seed: int.
        count: number of sequences, the same on every pass; None for an endless stream.
        start: number of the first sequence.
        step: distance between the numbers of neighbouring sequences.

    Returns:
        `tf.data.Dataset` of `Episode(support, query)`, each `Examples` of x `[B, L - 1, ...]` and
        `[B, 1, ...]`, as in `tfmeta.episodes.classification`; y int32 `[B, L - 1]` and `[B, 1]`;
        mask float32, ones.

    Raises:
        ValueError: an argument is out of range, or the data set has too few classes or too few
            examples in a class.

    Reference:
        Santoro et al., "Meta-Learning with Memory-Augmented Neural Networks", ICML 2016, section 2.
    """
    seed, numbering = check_stream(meta_batch_size, seed, count, start, step)
    ways, length = check_integer("ways", ways, 2), check_integer("length", length, 2)
    _check_dataset(dataset, ways, length)
    draw, build = _row_sampler(dataset, ways, length, seed), _episode_builder(dataset)
    return of_classes(read_in_place(stream(draw, build, **numbering)), dataset)


def _row_sampler(dataset, ways, length, seed):
    """A function from sequence numbers, `[E]`, to row numbers and labels, `[E, L]` each."""
    per_class = min(length, int(dataset.counts.min()))
    sizes = [ways, length, ways * per_class]
    class_starts = tf.constant(dataset.starts, tf.int32)
    class_counts = tf.constant(dataset.counts, tf.int32)

    def sample(numbers):
        bits = tf.split(rng.random_bits(seed, numbers, sum(sizes)), sizes)
        class_ids = rng.distinct(bits[0], dataset.num_classes)  # [N, E]
        labels = tf.transpose(rng.integers(bits[1], ways))  # [E, L]
        rows = rng.distinct(
            tf.reshape(bits[2], [per_class, ways, -1]), tf.gather(class_counts, class_ids)
        )
        rows += tf.gather(class_starts, class_ids)  # [K, N, E]
        rows = tf.transpose(tf.reshape(rows, [per_class * ways, -1]))
        place = _times_before(labels) % per_class * ways + labels
        return tf.gather(rows, place, batch_dims=1), labels

    return sample


def _times_before(labels):
    """How often the label of a row `[E, L]` was there before, int32 `[E, L]`."""
    same = tf.cast(labels[:, :, tf.newaxis] == labels[:, tf.newaxis], tf.int32)
    return tf.reduce_sum(tf.linalg.band_part(same, -1, 0), axis=2) - 1


def _episode_builder(dataset):
    """A function from row numbers and labels, `[B, L]`, to an `Episode`."""
    read = reader(dataset)

    def build(rows, labels):
        (x,) = read(rows)
        examples = Examples(x, labels, tf.ones_like(labels, tf.float32))
        return first_and_last(examples)

    return build


def first_and_last(examples):
    """`Episode` of a meta-batch of sequences `[B, L, ...]`: all rows but the last, and that."""
    parts = (slice(None, -1), slice(-1, None))
    return Episode(*(tf.nest.map_structure(lambda t: t[:, part], examples) for part in parts))  # noqa: B023


def _check_dataset(dataset, ways, length):
    check_class_dataset(dataset)
    if length < ways:
        raise ValueError(
            f"Expected sequences at least as long as ways={ways}, so that all may be seen. "
            f"Received: length={length}. Lower ways, or raise length."
        )
    if dataset.num_classes < ways:
        raise ValueError(
            f"Expected at least ways={ways} classes. Received: a data set of "
            f"{dataset.num_classes} classes. Lower ways, or use a data set with more classes."
        )
    needed = -(-length // ways)
    small = np.flatnonzero(dataset.counts < needed)
    if len(small):
        named = ", ".join(f"{dataset.class_names[c]!r} ({dataset.counts[c]})" for c in small[:5])
        more = f" and {len(small) - 5} more classes" if len(small) > 5 else ""
        raise ValueError(
            f"Expected at least length / ways = {length} / {ways}, {needed} examples in each "
            f"class. Received: {named}{more}. Lower length, raise ways, or leave these classes out "
            "with dataset.subset(class_ids)."
        )
