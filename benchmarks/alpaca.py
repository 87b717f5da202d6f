"""ALPaCA as its authors train it: how likely new sinusoids are, with and without meta-training.

    python -m benchmarks.alpaca [--steps 3000] [--count 600] [--seed 0]

The protocol of the authors' notebook: amplitude 0.1..5, phase 0..pi, noise 0.02 of the targets and
in the model, features of a network 128-128-32 with tanh, Adam at 0.001, 10 tasks an outer step. A
task has 1 to 20 support points in training; the score, a mean over targets, is after 5 and after 10
points. The notebook's own outputs: a negative log-likelihood of about -1.1 (-1.8 to 0.4) after
3,000 outer steps, of about 2.0 without meta-training. Writes benchmarks/results/alpaca.json.
"""

import argparse
import json
import pathlib
import time

import keras
import tensorflow as tf

import tfmeta
from benchmarks.machine import machine
from benchmarks.workers.with_tfmeta import VERSIONS
from tools.write_tables import markdown

RESULTS = pathlib.Path(__file__).parent / "results" / "alpaca.json"
NOISE = 0.02
# Name -> arguments of `ALPaCA`.
METHODS = {"precision 0.01": {}, "precision 1, the authors'": {"precision": 1.0}}
POINTS = (5, 10)


def some_points(episodes):
    """Leave a random number of each task's support points, at least one."""
    mask = episodes.support.mask
    kept = tf.random.uniform(tf.shape(mask)[:1], 1, tf.shape(mask)[1] + 1, tf.int32)
    mask *= tf.sequence_mask(kept, tf.shape(mask)[1], mask.dtype)
    return episodes._replace(support=episodes.support._replace(mask=mask))


def scores(learner, count):
    """Support points -> the negative log-likelihood of new targets, and half its interval."""
    found = {}
    for points in POINTS:
        test = tfmeta.episodes.sinusoid(points, 50, 20, seed=1000, count=count, noise=NOISE)
        report = tfmeta.evaluation.score_likelihood(learner, test, count, verbose=0)
        found[str(points)] = [-report.mean, report.interval]
    return found


def measure(arguments, options):
    """Scores before and after training, and the CPU time of the training."""
    keras.utils.set_random_seed(options.seed)
    network = tfmeta.networks.mlp((1,), None, hidden=(128, 128, 32), activation="tanh")
    learner = tfmeta.learners.ALPaCA(network, noise=NOISE, **arguments)
    learner.compile(keras.optimizers.Adam(1e-3))
    train = tfmeta.episodes.sinusoid(20, 20, 10, seed=options.seed, noise=NOISE).map(some_points)
    learner.prepare(train)
    result, began = {"untrained": scores(learner, options.count)}, time.process_time()
    learner.fit(train, steps_per_epoch=options.steps, verbose=0)
    result["cpu_s"] = time.process_time() - began
    return result | {"trained": scores(learner, options.count)}


def table(results):
    """Markdown: the negative log-likelihood of a target, lower is better."""
    columns = ("prior", *(f"{when}, {points} points" for when in ("untrained", "trained")
               for points in POINTS), "CPU")  # fmt: skip
    rows = []
    for name, found in results["methods"].items():
        pairs = (found[when][str(points)] for when in ("untrained", "trained") for points in POINTS)
        cells = (f"{mean:,.2f} ± {interval:,.2f}" for mean, interval in pairs)
        rows.append((name, *cells, f"{found['cpu_s']:.0f} s"))
    return markdown(columns, rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3000, help="outer steps")
    parser.add_argument("--count", type=int, default=600, help="test episodes")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = {name: measure(arguments, options) for name, arguments in METHODS.items()}
    results = {"machine": machine(), "versions": VERSIONS, **vars(options), "methods": found}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
