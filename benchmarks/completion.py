"""Completing pictures from some of their pixels: neural processes on glyphs of unseen scripts.

    python -m benchmarks.completion [--methods CNP AttentiveNP] [--minutes 30] [--count 600]

A task is a picture, its examples are pixels: x are places, `[rows, 2]` in -1..1, y is the ink,
`[rows, 1]` in 0..1. A learner is trained, for so many minutes of CPU, on the training script with
10 to 100 pixels as the context, and scored on pictures of the test scripts with 10, 30 and 100 of
them: squared error and log-likelihood of all other pixels. Beside it: the mean of the pixels seen,
and the ink of the nearest of them. Writes benchmarks/results/completion.json, and a picture beside
it.
"""

import argparse
import json
import pathlib

import keras
import numpy as np
import tensorflow as tf

import tfmeta
from benchmarks.machine import machine
from benchmarks.processes import MinutesOfCPU
from benchmarks.workers import with_tfmeta
from tools.write_tables import markdown

RESULTS = pathlib.Path(__file__).parent / "results" / "completion.json"
CONTEXTS, SIDE = (10, 30, 100), 28
# Name -> (arguments of the learner, rate of Adam, which falls to zero along a cosine).
METHODS = {
    "CNP": ({"minimum_scale": 0.05}, 1e-3),
    "AttentiveNP": ({}, 5e-4),
    "TNP": ({}, 5e-4),
}


def places():
    """Of all pixels, row by row: `[pixels, 2]`."""
    line = np.linspace(-1, 1, SIDE, dtype=np.float32)
    return np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)


def episodes(split, shots, queries, seed, count=None, tasks=16):
    """Meta-batches of pictures of a split.

    Args:
        split: of `tfmeta.datasets.glyphs`.
        shots: context pixels, or `(low, high)`: each task draws how many, the rest is padding.
        queries: target pixels, none of them in the context; None for all others.
        seed: of pictures and pixels.
        count: number of tasks; None for an endless stream.
        tasks: of a meta-batch.

    Returns:
        A `tf.data.Dataset` of `tfmeta.Episode`.
    """
    pictures = tfmeta.datasets.glyphs(split).x.reshape(-1, SIDE * SIDE)
    fewest, most = shots if isinstance(shots, tuple) else (shots, shots)
    queries = SIDE * SIDE - most if queries is None else queries
    table, where = tf.constant(pictures), tf.constant(places())

    def draw(number):
        seeds = tf.random.experimental.stateless_split(
            tf.stack([tf.constant(seed, tf.int64), number]), 3
        )
        which = tf.random.stateless_uniform([], seeds[0], maxval=len(pictures), dtype=tf.int32)
        order = tf.argsort(tf.random.stateless_uniform([SIDE * SIDE], seeds[1]))
        real = tf.random.stateless_uniform([], seeds[2], fewest, most + 1, dtype=tf.int32)
        ink = tf.cast(table[which], tf.float32)[:, None] / 255.0
        mask = tf.cast(tf.range(most) < real, tf.float32)
        seen, others = order[:most], order[most : most + queries]
        support = tfmeta.Examples(
            tf.gather(where, seen) * mask[:, None], tf.gather(ink, seen) * mask[:, None], mask
        )
        query = tfmeta.Examples(tf.gather(where, others), tf.gather(ink, others), tf.ones(queries))
        return tfmeta.Episode(support, query)

    numbers = tf.data.Dataset.counter() if count is None else tf.data.Dataset.range(count)
    data = numbers.map(draw, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return data.batch(tasks, drop_remainder=count is None).prefetch(4)


def train(method, minutes, seed):
    """A trained learner, and the `MinutesOfCPU` of its training."""
    keras.utils.set_random_seed(seed)
    arguments, rate = METHODS[method]
    learner = getattr(tfmeta.learners, method)(**arguments)
    learner.compile(keras.optimizers.Adam(rate))
    data, watch = episodes("train", (10, 100), 200, seed), MinutesOfCPU(minutes)
    learner.fit(data, epochs=10**6, steps_per_epoch=200, callbacks=[watch], verbose=2)
    return learner, watch


def baselines(shots, count):
    """Name -> mean squared error of each test task, `[count]`."""
    errors = {"mean of the pixels seen": [], "nearest pixel": []}
    for batch in episodes("test", shots, None, 1000, count):
        (x, y, _), (targets, ink, _) = (tuple(t.numpy() for t in part) for part in batch)
        apart = np.square(targets[:, :, None] - x[:, None]).sum(-1)
        nearest = np.take_along_axis(y, apart.argmin(-1)[..., None], axis=1)
        for name, guess in zip(errors, (y.mean(1, keepdims=True), nearest), strict=True):
            errors[name] += list(np.square(guess - ink).mean((1, 2)))
    return errors


def figures(learners, count):
    """Method -> context pixels -> squared error and log-likelihood, each mean and interval."""
    found = {name: {} for name in learners}
    for shots in CONTEXTS:
        data = episodes("test", shots, None, 1000, count)
        for name, learner in learners.items():
            error = tfmeta.evaluation.evaluate_episodes(learner, data, count, verbose=0)
            likelihood = tfmeta.evaluation.score_likelihood(learner, data, count, verbose=0)
            found[name][shots] = {
                "squared error": [error.mean, error.interval],
                "log-likelihood": [likelihood.mean, likelihood.interval],
            }
        for name, errors in baselines(shots, count).items():
            report = tfmeta.evaluation.EvaluationReport(errors)
            error = {"squared error": [report.mean, report.interval]}
            found.setdefault(name, {})[shots] = error
    return found


def table(results):
    """Markdown: squared error and log-likelihood by the number of context pixels."""
    rows = []
    for name, by_pixels in results["figures"].items():
        cells = []
        for score, digits in (("squared error", 4), ("log-likelihood", 2)):
            for found in by_pixels.values():
                numbers = [f"{v:.{digits}f}" for v in found.get(score, ())]
                cells.append(" ± ".join(numbers) or "-")
        rows.append((name, *cells))
    scores = ("error", "log-likelihood")
    columns = [f"{score}, {shots} pixels" for score in scores for shots in CONTEXTS]
    return markdown(("method", *columns), rows)


def plot(learner, title, path, pictures=4):
    """Pixels seen and what the learner makes of them, for each number of them; the picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 1.3 * pictures), layout="constrained")
    panels = figure.subplots(pictures, 2 * len(CONTEXTS) + 1, squeeze=False)
    for i, shots in enumerate(CONTEXTS):
        batch = next(iter(episodes("test", shots, None, 7, pictures, tasks=pictures)))
        for row in range(pictures):
            support, query = (tfmeta.Examples(*(t[row] for t in part)) for part in batch)
            seen, guess = np.full((SIDE, SIDE), np.nan), np.zeros((SIDE, SIDE))
            _fill(seen, support.x, support.y)
            outputs = learner.predict_query(learner.adapt(support), places())
            _fill(guess, places(), outputs)
            whole = np.zeros((SIDE, SIDE))
            _fill(whole, support.x, support.y)
            _fill(whole, query.x, query.y)
            for axis, picture in zip(
                (*panels[row, 2 * i : 2 * i + 2], panels[row, -1]), (seen, guess, whole),
                strict=True,
            ):  # fmt: skip
                axis.set_facecolor("lightsteelblue")
                axis.imshow(picture, cmap="gray", vmin=0, vmax=1)
                axis.set(xticks=[], yticks=[])
        panels[0, 2 * i].set_title(f"{shots} pixels", fontsize=8)
    panels[0, -1].set_title("picture", fontsize=8)
    figure.suptitle(title, fontsize=9)
    figure.savefig(path, dpi=100)


def _fill(picture, x, y):
    rows, columns = np.rint((np.asarray(x).T + 1) / 2 * (SIDE - 1)).astype(int)
    picture[rows, columns] = np.asarray(y)[:, 0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=["CNP", "AttentiveNP"])
    parser.add_argument("--minutes", type=float, default=30.0, help="of CPU, for each training")
    parser.add_argument("--count", type=int, default=600, help="test tasks")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    trained = {name: train(name, options.minutes, options.seed) for name in options.methods}
    results = {"machine": machine(), "versions": with_tfmeta.VERSIONS, **vars(options)}
    results["trainings"] = {
        name: {"steps": watch.steps, "cpu_minutes": watch.minutes}
        for name, (_, watch) in trained.items()
    }
    learners = {name: learner for name, (learner, _) in trained.items()}
    results["figures"] = figures(learners, options.count)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    for name, learner in learners.items():
        picture = RESULTS.with_name(f"completion_{name}.png")
        plot(learner, f"{name}, scripts that it has not seen", picture)
    print(f"written: {RESULTS}")


if __name__ == "__main__":
    main()
