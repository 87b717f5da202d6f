"""Sinusoids that differ in frequency, too: tasks on which all families of methods can be compared.

    y = a sin(f x - b) + e,    a in 0.1..5, b in 0..2 pi, f in 0.5..2, x in -5..5,
    e normal of deviation 0.01 a

There are 5,000 tasks: 56.25 % to train on, 18.75 % for validation and 25 % for the test. A training
task has so many points that support and query sets are drawn from, anew each time; how many they
have in the paper is not known. Its errors are in `benchmarks.accuracy_report`, beside those of the
best predictor that is linear in y, `best_linear`: of a method such as R2D2, whose features do not
see y, no error can be smaller on average.

Reference:
    Tossou et al., "Adaptive Deep Kernel Learning", 2019, arXiv:1905.12131.
"""

import functools
import math

import numpy as np
import tensorflow as tf

import tfmeta

TRAINING_TASKS, POINTS = 2812, 200


def _noise(amplitude, **_):
    return 0.01 * amplitude


FAMILY = {"frequency": (0.5, 2.0), "phase": (0.0, 2 * math.pi), "noise": _noise}


def episodes(case, split, seed, count):
    """Episodes of a case of `benchmarks.methods`: of the training tasks, or of others."""
    if split == "train":
        return training_episodes(case, seed)
    return tfmeta.episodes.sinusoid(
        shots=case.shots, queries=100, meta_batch_size=case.tasks, seed=seed, count=count, **FAMILY
    )


@functools.cache
def training_points():
    """x and y of all training tasks, `[tasks, points, 1]` each."""
    batch = tfmeta.episodes.sinusoid(
        shots=POINTS, queries=1, meta_batch_size=TRAINING_TASKS, seed=0, **FAMILY
    )
    support = next(iter(batch)).support
    return support.x, support.y


def training_episodes(case, seed):
    """Endless meta-batches of the training tasks, each with points of its own drawn anew."""
    x, y = training_points()

    def draw(number):
        of_tasks, of_points = tf.unstack(
            tf.random.experimental.stateless_split(
                tf.stack([tf.constant(seed, tf.int64), number]), 2
            )
        )
        tasks = tf.random.stateless_uniform(
            [case.tasks], of_tasks, maxval=TRAINING_TASKS, dtype=tf.int32
        )
        order = tf.argsort(tf.random.stateless_uniform([case.tasks, POINTS], of_points))
        points = order[:, : case.shots + case.queries]
        drawn = [tf.gather(tf.gather(part, tasks), points, batch_dims=1) for part in (x, y)]
        parts = zip(*(tf.split(d, [case.shots, case.queries], axis=1) for d in drawn), strict=True)
        return tfmeta.Episode(*(tfmeta.Examples(*p, tf.ones_like(p[0][..., 0])) for p in parts))

    numbers = tf.data.Dataset.counter()
    return numbers.map(draw, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(8)


def best_linear(shots, draws=1000, seed=0):
    """The expected squared error, noise included, of the best predictor that is linear in y.

    It is that of a Gaussian process whose covariance is the tasks' own, the mean of
    `E[a^2] / 2 * cos(f (x - x'))` over the frequencies.
    """
    (low, high), squares = FAMILY["frequency"], (5.0**3 - 0.1**3) / (3 * 4.9)
    random = np.random.default_rng(seed)

    def covariance(first, second):
        apart = first[:, None] - second[None]
        apart = np.where(np.abs(apart) < 1e-9, 1e-9, apart)
        means = (np.sin(high * apart) - np.sin(low * apart)) / ((high - low) * apart)
        return squares / 2 * means

    errors, noise = [], 1e-4 * squares
    for _ in range(draws):
        x, targets = random.uniform(-5, 5, shots), random.uniform(-5, 5, 50)
        across = covariance(targets, x)
        solved = np.linalg.solve(covariance(x, x) + noise * np.eye(shots), across.T)
        errors.append(np.mean(squares / 2 - np.einsum("ts,st->t", across, solved)))
    return float(np.mean(errors) + noise)
