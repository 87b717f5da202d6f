"""Classification episodes: a few classes of a data set, a few examples of each."""

import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_bounds, check_integer
from tfmeta.ops import random_numbers as rng
from tfmeta.reading import read_in_place, reader
from tfmeta.stream import check_stream, of_classes, stream
from tfmeta.types import ClassDataset, Episode, Examples, check_class_dataset

_PADDING = -1  # in place of a row number


def classification(
    dataset: ClassDataset,
    ways: int | tuple[int, int] = 5,
    shots: int | tuple[int, int] = 1,
    queries: int = 15,
    meta_batch_size: int = 4,
    seed: int = 0,
    count: int | None = None,
    *,
    start: int = 0,
    step: int = 1,
) -> tf.data.Dataset:
    """Endless or counted meta-batches of N-way K-shot classification episodes.

    Each episode draws classes without replacement, gives them the labels `0..ways-1` in
    random order, and draws the examples of each class without replacement: support and
    query never share one. Rows are grouped by label.

    Episode number i depends on the data set, `ways`, `shots`, `queries`, `seed` and i only:
    not on `meta_batch_size`, `start` or `step`, nor on the machine. Worker w of W passes
    `start=w, step=W` to share one stream without overlap; a run that resumes after i
    episodes passes `start=i`, which costs nothing.

    With `ways=(low, high)` the number of classes is drawn uniformly in `low..high` for each
    episode, with `shots=(low, high)` the number of support examples for each class.
    Shapes are then those of `high`; rows that are padding have mask, x and y 0. Every real
    class has `queries` query examples.

    Where the data set's x is a nest of arrays, so is the x of the episodes, of tensors.

    Args:
        dataset: `ClassDataset`, from `tfmeta.datasets`.
        ways: N, classes per episode, or a pair `(low, high)`.
        shots: K, support examples per class, or a pair `(low, high)`.
        queries: Q, query examples per class.
        meta_batch_size: B, episodes per element.
        seed: int.
        count: number of episodes, the same on every pass; `None` for an endless stream.
            When it is no multiple of `meta_batch_size`, the last element is smaller.
        start: number of the first episode.
        step: distance between the numbers of neighbouring episodes.

    Returns:
        `tf.data.Dataset` of `Episode(support, query)`, each `Examples` of

        - x: `[B, N*K, ...]` and `[B, N*Q, ...]`; float32 in `0..1` for uint8 data, float32
          for floating data, otherwise (tokens, say) in the data set's own type; in a nest, each
          part by its own type;
        - y: int32 `[B, N*K]` and `[B, N*Q]`, `0..N-1`;
        - mask: float32 `[B, N*K]` and `[B, N*Q]`.

    Raises:
        ValueError: an argument is out of range, or the data set has too few classes or
            too few examples in a class.

    Example:

    ```python
    train, test = tfmeta.datasets.class_split(dataset, (0.8, 0.2), seed=0)
    learner.fit(tfmeta.episodes.classification(train, ways=5, shots=1), steps_per_epoch=1000)
    learner.evaluate(tfmeta.episodes.classification(test, ways=5, shots=1, count=600))
    ```
    """
    seed, numbering = check_stream(meta_batch_size, seed, count, start, step)
    ways, shots = check_bounds("ways", ways, 2), check_bounds("shots", shots, 1)
    queries = check_integer("queries", queries, 1)
    _check_dataset(dataset, ways, shots, queries)
    draw = _row_sampler(dataset, ways, shots, queries, seed)

    def classes_of(episodes):
        rows = draw(start + step * tf.range(episodes, dtype=tf.int64))[1].numpy()[:, ::queries]
        return np.where(rows == _PADDING, -1, dataset.class_ids[rows])

    episodes = stream(
        draw,
        _episode_builder(dataset, ways, shots, queries),
        **numbering,
    )
    return of_classes(read_in_place(episodes), dataset, classes_of)


def _row_sampler(dataset, ways, shots, queries, seed):
    """A function from episode numbers, `[E]`, to row numbers, `[E, N*K]` and `[E, N*Q]`."""
    (fewest_ways, most_ways), (fewest_shots, most_shots) = ways, shots
    per_class = most_shots + queries
    # Sizes last: whether ways and shots vary does not change which rows are drawn.
    sizes = [most_ways, most_ways * per_class, 1, most_ways]
    class_starts = tf.constant(dataset.starts, tf.int32)
    class_counts = tf.constant(dataset.counts, tf.int32)

    def sample(numbers):
        bits = tf.split(rng.random_bits(seed, numbers, sum(sizes)), sizes)
        class_ids = rng.distinct(bits[0], dataset.num_classes)  # [N, E]
        rows = rng.distinct(
            tf.reshape(bits[1], [per_class, most_ways, -1]), tf.gather(class_counts, class_ids)
        )
        rows += tf.gather(class_starts, class_ids)  # [K+Q, N, E]
        support, query = rows[:most_shots], rows[most_shots:]
        if fewest_ways < most_ways:
            real_ways = fewest_ways + rng.integers(bits[2], most_ways - fewest_ways + 1)
            real = tf.range(most_ways)[:, tf.newaxis] < real_ways
            support, query = tf.where(real, support, _PADDING), tf.where(real, query, _PADDING)
        if fewest_shots < most_shots:
            real_shots = fewest_shots + rng.integers(bits[3], most_shots - fewest_shots + 1)
            real = tf.reshape(tf.range(most_shots), [-1, 1, 1]) < real_shots
            support = tf.where(real, support, _PADDING)
        return (
            tf.reshape(tf.transpose(support, [2, 1, 0]), [-1, most_ways * most_shots]),
            tf.reshape(tf.transpose(query, [2, 1, 0]), [-1, most_ways * queries]),
        )

    return sample


def _episode_builder(dataset, ways, shots, queries):
    """A function from row numbers, `[B, N*K]` and `[B, N*Q]`, to an `Episode`."""
    padded = ways[0] < ways[1] or shots[0] < shots[1]
    read = reader(dataset, padded)

    def examples(x, rows, per_class):
        y = tf.broadcast_to(np.repeat(np.arange(ways[1], dtype="int32"), per_class), tf.shape(rows))
        if not padded:
            return Examples(x, y, tf.ones_like(rows, tf.float32))
        real = rows != _PADDING
        return Examples(x, tf.where(real, y, 0), tf.cast(real, tf.float32))

    def build(support, query):
        support_x, query_x = read(support, query)
        return Episode(examples(support_x, support, shots[1]), examples(query_x, query, queries))

    return build


def _check_dataset(dataset, ways, shots, queries):
    check_class_dataset(dataset)
    if dataset.num_classes < ways[1]:
        raise ValueError(
            f"Expected at least ways={ways[1]} classes. Received: a data set of "
            f"{dataset.num_classes} classes. Lower ways, or use a data set with more classes."
        )
    needed = shots[1] + queries
    small = np.flatnonzero(dataset.counts < needed)
    if len(small):
        named = ", ".join(f"{dataset.class_names[c]!r} ({dataset.counts[c]})" for c in small[:5])
        more = f" and {len(small) - 5} more classes" if len(small) > 5 else ""
        raise ValueError(
            f"Expected at least shots + queries = {shots[1]} + {queries} = {needed} examples in "
            f"each class. Received: {named}{more}. Lower shots or queries, or leave these "
            "classes out with dataset.subset(class_ids)."
        )
