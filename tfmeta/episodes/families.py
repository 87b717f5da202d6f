"""Regression episodes: each task is one function of a family."""

import math

import tensorflow as tf

from tfmeta.episodes import bits as rng
from tfmeta.episodes.stream import check_integer, check_stream, stream
from tfmeta.types import Episode, Examples

_SINUSOID = {"amplitude": (0.1, 5.0), "phase": (0.0, math.pi)}


def sinusoid(
    shots=10,
    queries=10,
    meta_batch_size=25,
    seed=0,
    count=None,
    *,
    start=0,
    step=1,
):
    """Meta-batches of sinusoid regression tasks, `y = amplitude * sin(x - phase)`.

    The amplitude is uniform in 0.1..5 and the phase in 0..pi, drawn for each task; x is
    uniform in -5..5. Episode number i depends on `shots`, `queries`, `seed` and i only, and
    its amplitude and phase on `seed` and i only: see `sinusoid_parameters`. Worker w of W
    passes `start=w, step=W`; a run that resumes after i episodes passes `start=i`.

    Args:
        shots: K, support points per task.
        queries: Q, query points per task.
        meta_batch_size: B, tasks per element.
        seed: int.
        count: number of tasks, the same on every pass; `None` for an endless stream. When
            it is no multiple of `meta_batch_size`, the last element is smaller.
        start: number of the first episode.
        step: distance between the numbers of neighbouring episodes.

    Returns:
        `tf.data.Dataset` of `Episode(support, query)`, each `Examples` of float32
        x `[B, K, 1]`, y `[B, K, 1]` and mask `[B, K]` (ones); the query has Q rows.

    Raises:
        ValueError: an argument is out of range.

    Reference:
        Finn, Abbeel and Levine, "Model-agnostic meta-learning for fast adaptation of deep
        networks" (2017), section 5.1. https://arxiv.org/abs/1703.03400
    """

    def value(x, amplitude, phase):
        return amplitude * tf.sin(x - phase)

    check_stream(meta_batch_size, seed, count, start, step)
    draw = _task_sampler(value, _SINUSOID, (-5.0, 5.0), shots, queries, seed)
    return stream(draw, meta_batch_size=meta_batch_size, count=count, start=start, step=step)


def sinusoid_parameters(numbers, seed=0):
    """Amplitude and phase of the tasks that `sinusoid` makes, for plots.

    Args:
        numbers: integers `[E]`, episode numbers.
        seed: the seed given to `sinusoid`.

    Returns:
        dict of float32 tensors `[E]`, "amplitude" and "phase".
    """
    numbers = tf.convert_to_tensor(numbers, tf.int64)
    seed = check_integer("seed", seed)
    return _parameters(rng.random_bits(seed, numbers, len(_SINUSOID)), _SINUSOID)


def _parameters(bits, ranges):
    """Each parameter of the family, `[E]`, from the first random numbers of each episode."""
    names = zip(ranges.items(), tf.unstack(bits[: len(ranges)]), strict=True)
    return {name: rng.uniform(row, low, high) for (name, (low, high)), row in names}


def _task_sampler(value, ranges, x_range, shots, queries, seed):
    """A function from episode numbers to episodes of one family of functions.

    Args:
        value: function `(x [E, rows, 1], **parameters [E, 1, 1])` to y `[E, rows, 1]`.
        ranges: dict from parameter to the range `(low, high)` it is drawn from.
        x_range: `(low, high)` of the inputs.
        shots: K.
        queries: Q.
        seed: int.

    Returns:
        function from int64 `[E]` to `Episode`.
    """
    shots, queries = check_integer("shots", shots, 1), check_integer("queries", queries, 1)

    def examples(bits, parameters):
        x = rng.uniform(tf.transpose(bits), *x_range)[:, :, tf.newaxis]
        return Examples(x, value(x, **parameters), tf.ones_like(x[:, :, 0]))

    def sample(numbers):
        bits = rng.random_bits(seed, numbers, len(ranges) + shots + queries)
        parameters = _parameters(bits, ranges)
        parameters = {name: p[:, tf.newaxis, tf.newaxis] for name, p in parameters.items()}
        _, support, query = tf.split(bits, [len(ranges), shots, queries])
        return Episode(examples(support, parameters), examples(query, parameters))

    return sample
