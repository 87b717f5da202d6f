"""Episodes per second of `tfmeta.episodes` against a plain NumPy sampler, in one run.

    python -m benchmarks.episodes [--data-dir DIR]

Two ways of taking them: "python", a loop over the iterator, and "graph", a loop inside one
`tf.function`, as Keras's `fit` does it. In a graph the NumPy sampler needs
`tf.data.Dataset.from_generator`. "python_floor" is the same loop over a constant meta-batch:
no pipeline can be faster there. Figures are medians over alternating repeats.
"""

import argparse
import functools
import json
import os
import pathlib
import platform
import time

import numpy as np
import tensorflow as tf

from tfmeta import episodes
from tfmeta.types import ClassDataset

WAYS, SHOTS, META_BATCH_SIZE, SEED = 5, 1, 4, 0
COMPARISONS = (
    ("tfmeta_python", "numpy_python"),
    ("tfmeta_graph", "numpy_graph"),
    ("tfmeta_graph", "numpy_python"),
)
RESULTS = pathlib.Path(__file__).parent / "results" / "episodes.json"


def load(data_dir):
    """All 1,623 classes of Omniglot, or random images of the same size."""
    if data_dir is not None:
        from tfmeta import datasets

        train, test = datasets.omniglot(data_dir)
        class_ids = np.concatenate([train.class_ids, test.class_ids + train.num_classes])
        return ClassDataset(np.concatenate([train.x, test.x]), class_ids)
    images = np.random.default_rng(SEED).integers(0, 256, (32460, 28, 28, 1), dtype=np.uint8)
    return ClassDataset(images, np.repeat(np.arange(1623), 20))


def numpy_episodes(dataset, queries):
    """The straightforward sampler: endless meta-batches from a Python loop."""
    rng = np.random.default_rng(SEED)
    rows = [start + np.arange(n) for start, n in zip(dataset.starts, dataset.counts, strict=True)]
    support_y = np.tile(np.repeat(np.arange(WAYS, dtype="int32"), SHOTS), (META_BATCH_SIZE, 1))
    query_y = np.tile(np.repeat(np.arange(WAYS, dtype="int32"), queries), (META_BATCH_SIZE, 1))
    while True:
        support, query = [], []
        for _ in range(META_BATCH_SIZE):
            classes = rng.choice(dataset.num_classes, WAYS, replace=False)
            drawn = [rng.choice(rows[c], SHOTS + queries, replace=False) for c in classes]
            drawn = np.stack(drawn)
            support.append(dataset.x[drawn[:, :SHOTS].ravel()].astype(np.float32) / 255)
            query.append(dataset.x[drawn[:, SHOTS:].ravel()].astype(np.float32) / 255)
        yield np.stack(support), support_y, np.stack(query), query_y


def python_rate(batches, seconds):
    """Meta-batches per second of a Python loop."""
    iterator = iter(batches)
    for _ in range(50):
        next(iterator)
    taken, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        for _ in range(20):
            next(iterator)
        taken += 20
    return taken / (time.perf_counter() - began)


def graph_rate(dataset, seconds):
    """Meta-batches per second of a loop inside one `tf.function`."""

    @tf.function
    def consume(iterator, number):
        total = tf.constant(0.0)
        for _ in tf.range(number):
            total += tf.reshape(tf.nest.flatten(next(iterator))[0], [-1])[0]
        return total

    iterator, number = iter(dataset), tf.constant(200)
    consume(iterator, number)
    taken, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        consume(iterator, number).numpy()
        taken += 200
    return taken / (time.perf_counter() - began)


def classification_cases(dataset, queries):
    """What to time with this number of queries: name -> function of seconds."""
    ours = episodes.classification(
        dataset, WAYS, SHOTS, queries, meta_batch_size=META_BATCH_SIZE, seed=SEED
    )
    generate = functools.partial(numpy_episodes, dataset, queries)
    spec = tuple(tf.TensorSpec(a.shape, a.dtype) for a in next(generate()))
    generator = tf.data.Dataset.from_generator(generate, output_signature=spec)
    constant = tf.data.Dataset.from_tensors(next(iter(ours))).repeat()
    return {
        "numpy_python": lambda seconds: python_rate(generate(), seconds),
        "tfmeta_python": lambda seconds: python_rate(ours, seconds),
        "python_floor": lambda seconds: python_rate(constant, seconds),
        "numpy_graph": lambda seconds: graph_rate(generator.prefetch(2), seconds),
        "tfmeta_graph": lambda seconds: graph_rate(ours, seconds),
    }


def measure(cases, repeats, seconds, episodes_each):
    """Median, lowest and highest rate of each case; repeats alternate between the cases."""
    rates = {name: [] for name in cases}
    for _ in range(repeats):
        for name, run in cases.items():
            rates[name].append(run(seconds) * episodes_each)
    return {
        name: {"median": float(np.median(r)), "lowest": min(r), "highest": max(r)}
        for name, r in rates.items()
    }


def report(name, found, ratios):
    print(f"{name}, episodes per second: median (lowest to highest)")
    for case, r in found.items():
        print(f"  {case:15} {r['median']:9,.0f}  ({r['lowest']:,.0f} to {r['highest']:,.0f})")
    for case, ratio in ratios.items():
        print(f"  ratio, {case}: {ratio:.2f}", flush=True)


def options_of_the_command():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", help="folder of Omniglot; synthetic data without it")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--output", type=pathlib.Path, default=RESULTS)
    return parser.parse_args()


def suites_of(dataset):
    """What is compared: name -> (cases, episodes in a meta-batch)."""
    suites = {
        f"queries={queries}": (classification_cases(dataset, queries), META_BATCH_SIZE)
        for queries in (15, 5)
    }
    curves = episodes.sinusoid(seed=SEED)
    cases = {
        "tfmeta_python": functools.partial(python_rate, curves),
        "tfmeta_graph": functools.partial(graph_rate, curves),
    }
    return suites | {"sinusoid, 25 tasks": (cases, 25)}


def main():
    options = options_of_the_command()
    dataset = load(options.data_dir)
    result = {
        "data": repr(dataset) if options.data_dir else f"synthetic, {dataset!r}",
        "protocol": {"ways": WAYS, "shots": SHOTS, "meta_batch_size": META_BATCH_SIZE},
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "tensorflow": tf.__version__,
        },
        "cores": os.cpu_count(),
        "seed": SEED,
        "repeats": options.repeats,
        "seconds": options.seconds,
        "episodes_per_second": {},
        "ratios": {},
    }
    for name, (cases, each) in suites_of(dataset).items():
        found = measure(cases, options.repeats, options.seconds, each)
        ratios = {
            f"{ours} / {theirs}": found[ours]["median"] / found[theirs]["median"]
            for ours, theirs in COMPARISONS
            if theirs in found
        }
        report(name, found, ratios)
        result["episodes_per_second"][name], result["ratios"][name] = found, ratios
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
