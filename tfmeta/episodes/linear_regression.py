"""Linear functions of several numbers, as sequences of points."""

import tensorflow as tf

from tfmeta.arguments import check_integer, check_number
from tfmeta.episodes.sequence import first_and_last
from tfmeta.ops import random_numbers as rng
from tfmeta.stream import check_stream, stream
from tfmeta.types import Examples


def linear_regression(
    dimensions: int = 5,
    length: int = 11,
    meta_batch_size: int = 64,
    seed: int = 0,
    count: int | None = None,
    *,
    noise: float = 0.0,
    start: int = 0,
    step: int = 1,
) -> tf.data.Dataset:
    """Endless or counted meta-batches of linear functions, `y = w . x + noise e`.

    `w`, of each task, and `x`, of each point, are standard normal in `dimensions` dimensions; `e`
    is standard normal. An episode's support set is its first `length - 1` points, and its query set
    the last one; learners that read sequences predict each point from those before it, which
    `tfmeta.evaluation.score_sequence` scores.

    Without noise, least squares (of the smallest norm) is the best predictor; with noise it is
    ridge regression with the weight `noise^2`.

    Episode number i depends on `dimensions`, `length`, `seed` and i only; `noise` scales what is
    added.

    Args:
        dimensions: D, of x.
        length: L, points per task, at least 2.
        meta_batch_size: B, tasks per element.
        seed: int.
        count: number of tasks, the same on every pass; None for an endless stream.
        noise: standard deviation of the noise of y, at least 0.
        start: number of the first episode.
        step: distance between the numbers of neighbouring episodes.

    Returns:
        `tf.data.Dataset` of `Episode(support, query)`, each `Examples` of float32 x
        `[B, L - 1, D]` and `[B, 1, D]`, y `[B, L - 1, 1]` and `[B, 1, 1]`, and mask, ones.

    Raises:
        ValueError: an argument is out of range.

    Reference:
        Garg, Tsipras, Liang and Valiant, "What Can Transformers Learn In-Context?", NeurIPS 2022,
        arXiv:2208.01066, section 3.
    """
    seed, numbering = check_stream(meta_batch_size, seed, count, start, step)
    dimensions, length = (
        check_integer("dimensions", dimensions, 1),
        check_integer("length", length, 2),
    )
    noise = check_number("noise", noise, zero=True)
    sizes = [dimensions, length * dimensions, length]

    def sample(numbers):
        bits = tf.split(rng.random_bits(seed, numbers, sum(sizes)), sizes)
        w, x, e = (tf.transpose(rng.normal(part)) for part in bits)
        x = tf.reshape(x, [-1, length, dimensions])
        y = tf.matmul(x, w[:, :, tf.newaxis]) + noise * e[:, :, tf.newaxis]
        return first_and_last(Examples(x, y, tf.ones_like(e)))

    return stream(sample, **numbering)
