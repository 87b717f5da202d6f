"""Quadratic functions, as linear regression without a bias: what optimizers are first tried on."""

import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.ops import random_numbers as rng
from tfmeta.stream import check_stream, stream
from tfmeta.types import Episode, Examples

_KINDS = {"normal": rng.normal, "uniform": lambda bits: rng.uniform(bits, 0.0, 1.0)}


def quadratic(
    dimensions: int = 10,
    meta_batch_size: int = 16,
    seed: int = 0,
    count: int | None = None,
    *,
    entries: str = "normal",
    start: int = 0,
    step: int = 1,
) -> tf.data.Dataset:
    """Endless or counted meta-batches of quadratic functions, `f(w) = |A w - b|^2`.

    `A`, a square matrix, and `b` are of independent numbers. An episode has the rows of A as x and
    those of b as y, so that f is the sum of squared errors of a linear layer without bias, whose
    kernel is w:

    ```python
    network = keras.Sequential([keras.Input((10,)), keras.layers.Dense(1, use_bias=False)])
    learner = tfmeta.learners.LearnedOptimizer(network, rule=tfmeta.learners.LearnedSGD())
    learner.compile("adam", keras.losses.MeanSquaredError(reduction="sum"))
    learner.fit(tfmeta.episodes.quadratic(meta_batch_size=8), steps_per_epoch=100)
    ```

    Support and query set are the same: there is nothing in f to generalise to.

    Episode number i depends on `dimensions`, `seed`, `entries` and i only.

    Args:
        dimensions: D, of w.
        meta_batch_size: B, functions per element.
        seed: int.
        count: number of functions, the same on every pass; None for an endless stream.
        entries: "normal", standard normal numbers, as in the paper's text, or "uniform", in 0..1,
            as in its authors' code.
        start: number of the first episode.
        step: distance between the numbers of neighbouring episodes.

    Returns:
        `tf.data.Dataset` of `Episode(support, query)`, each `Examples` of float32 x `[B, D, D]`,
        y `[B, D, 1]`, and mask, ones.

    Raises:
        ValueError: an argument is out of range.

    Reference:
        Andrychowicz et al., "Learning to learn by gradient descent by gradient descent", NeurIPS
        2016, arXiv:1606.04474, section 3.1.
    """
    seed, numbering = check_stream(meta_batch_size, seed, count, start, step)
    dimensions = check_integer("dimensions", dimensions, 1)
    if entries not in _KINDS:
        raise ValueError(f"Expected entries in {sorted(_KINDS)}. Received: {entries!r}.")

    def sample(numbers):
        bits = rng.random_bits(seed, numbers, dimensions * (dimensions + 1))
        drawn = tf.transpose(_KINDS[entries](bits))
        drawn = tf.reshape(drawn, [-1, dimensions, dimensions + 1])
        x, y = drawn[..., :-1], drawn[..., -1:]
        examples = Examples(x, y, tf.ones_like(y[..., 0]))
        return Episode(examples, examples)

    return stream(sample, **numbering)
