"""Regression episodes whose functions are drawn from a Gaussian process."""

import functools

import tensorflow as tf

from tfmeta.arguments import check_bounds, check_number, is_number
from tfmeta.episodes.family_checks import check_range
from tfmeta.ops import random_numbers as rng
from tfmeta.ops.gaussian_process import JITTER, check_kernel, covariance
from tfmeta.stream import check_stream, stream
from tfmeta.types import Episode, Examples


def gaussian_process(
    kernel: str = "rbf",
    shots: int | tuple[int, int] = (1, 50),
    queries: int = 50,
    meta_batch_size: int = 16,
    seed: int = 0,
    count: int | None = None,
    *,
    length: float = 0.4,
    scale: float = 1.0,
    period: float = 1.0,
    noise: float = 0.02,
    inputs: tuple[float, float] = (-2.0, 2.0),
    start: int = 0,
    step: int = 1,
) -> tf.data.Dataset:
    """Meta-batches of curves that are drawn from a Gaussian process, with noise.

    The support points, the context, and the query points, the targets, are of one joint draw, at
    inputs uniform in a range. What a neural process is trained on; how well it could do at best is
    what `tfmeta.evaluation.ExactGP` with the same kernel does.

    Episode number i depends on `kernel`, its numbers, `shots`, `queries`, `seed` and i only, as in
    `tfmeta.episodes.classification`. Shapes are those of the largest numbers of points; rows that
    are padding have mask, x and y 0.

    Args:
        kernel: "rbf", "matern52" or "periodic" (`tfmeta.ops.covariance` has the formulas).
        shots: support points of a task, or a pair `(low, high)`, from which each task draws.
        queries: query points of a task, or such a pair.
        meta_batch_size: B, episodes per element.
        seed: int.
        count: number of episodes, the same on every pass; `None` for an endless stream.
        length, scale, period: of the kernel, > 0, or a pair `(low, high)` for each, from which
            each task draws its own. The period counts for "periodic" alone.
        noise: standard deviation of the noise of y, support and query alike, >= 0.
        inputs: `(low, high)`, the range of x.
        start: number of the first episode.
        step: distance between the numbers of neighbouring episodes.

    Returns:
        `tf.data.Dataset` of `Episode(support, query)`, each `Examples` of float32 x `[B, K, 1]`,
        y `[B, K, 1]` and mask `[B, K]`.

    Raises:
        ValueError: there is no such kernel, or an argument is out of range.
    """
    check_kernel(kernel)
    seed, numbering = check_stream(meta_batch_size, seed, count, start, step)
    shots, queries = check_bounds("shots", shots, 1), check_bounds("queries", queries, 1)
    numbers = {"length": length, "scale": scale, "period": period}
    ranges = {name: _positive_range(name, value) for name, value in numbers.items()}
    noise, inputs = check_number("noise", noise, zero=True), check_range("inputs", inputs)
    draw = functools.partial(_draw, functools.partial(covariance, kernel), ranges, noise, inputs)

    def sample(numbers):
        rows = shots[1] + queries[1]
        bits = rng.random_bits(seed, numbers, len(ranges) + 2 + 2 * rows)
        own, sizes, points = tf.split(bits, [len(ranges), 2, 2 * rows])
        x, y = draw(own, points)  # [E, rows, 1] each
        return Episode(
            _examples(x[:, : shots[1]], y[:, : shots[1]], sizes[0], *shots),
            _examples(x[:, shots[1] :], y[:, shots[1] :], sizes[1], *queries),
        )

    return stream(sample, **numbering)


def _draw(kernel, ranges, noise, inputs, own, points):
    """Inputs and one joint draw of values at them, float64 `[E, rows, 1]` each.

    Args:
        kernel: function of two sets of inputs and the kernel's numbers to covariances.
        ranges: name -> (low, high) of these numbers.
        noise, inputs: as in `gaussian_process`.
        own: bits `[len(ranges), E]` for these numbers.
        points: bits `[2 rows, E]`, for the inputs and the values.
    """
    numbers = {
        name: tf.cast(rng.uniform(row, *bounds), tf.float64)[:, None, None]
        for (name, bounds), row in zip(ranges.items(), tf.unstack(own), strict=True)
    }
    of_inputs, of_values = tf.split(tf.transpose(points)[:, :, None], 2, axis=1)
    # In float64: of many points that are close together, float32 finds no Cholesky factor.
    x = tf.cast(rng.uniform(of_inputs, *inputs), tf.float64)
    variances = kernel(x, x, **numbers)
    diagonal = tf.linalg.diag_part(variances) * (1 + JITTER) + noise**2
    factor = tf.linalg.cholesky(tf.linalg.set_diag(variances, diagonal))
    return x, tf.matmul(factor, tf.cast(rng.normal(of_values), tf.float64))


def _examples(x, y, bits, low, high):
    """`Examples` of the first few rows, as many as `bits` `[E]` say, from `low` to `high`."""
    real = tf.range(high)[None, :] < low + rng.integers(bits, high - low + 1)[:, None]
    mask = tf.cast(real, tf.float32)
    x, y = (tf.cast(t, tf.float32) * mask[:, :, None] for t in (x, y))
    return Examples(x, y, mask)


def _positive_range(name, value):
    """A number > 0 or a pair of such, as `(low, high)`."""
    if is_number(value):
        value = (value, value)
    low, high = check_range(name, value, "a number")
    return check_number(name, low), high
