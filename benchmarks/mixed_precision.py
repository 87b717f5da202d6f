"""Accuracy on the glyphs under each `keras.mixed_precision` policy, on the same episodes.

    python -m benchmarks.mixed_precision [--steps 500] [--seeds 0 1 2]

MAML, Conv4 with 16 filters, 5-way 1-shot, 2 inner steps. All policies start from the same weights
and see the same episodes; the differences from float32 are paired by test episode and pooled over
the seeds. Writes benchmarks/results/mixed_precision.json. On a CPU float16 is slow: this is about
accuracy. About 15 minutes on 2 cores.
"""

import argparse
import json
import pathlib

import keras
import numpy as np

import tfmeta
from benchmarks.machine import machine
from tfmeta.evaluation import EvaluationReport

RESULTS = pathlib.Path(__file__).parent / "results" / "mixed_precision.json"
POLICIES = ("float32", "mixed_bfloat16", "mixed_float16")


def episodes(split, **arguments):
    data = tfmeta.datasets.glyphs(split)
    return tfmeta.episodes.classification(data, ways=5, shots=1, meta_batch_size=4, **arguments)


def scores(policy, seed, options):
    """Accuracy on each test episode after training under a policy."""
    keras.mixed_precision.set_global_policy(policy)
    try:
        keras.utils.set_random_seed(seed)
        network = tfmeta.networks.conv4((28, 28, 1), 5, filters=16)
        learner = tfmeta.learners.MAML(network, inner_learning_rate=0.1, inner_steps=2)
        learner.compile(
            keras.optimizers.Adam(1e-3),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        learner.fit(episodes("train", queries=5, seed=seed), steps_per_epoch=options.steps)
        test = episodes("test", queries=15, seed=1000)
        return tfmeta.evaluation.evaluate_episodes(learner, test, options.episodes).scores
    finally:
        keras.mixed_precision.set_global_policy("float32")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--episodes", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    found = {policy: [] for policy in POLICIES}
    for seed in options.seeds:
        for policy in POLICIES:
            found[policy].append(scores(policy, seed, options))
            print(f"seed {seed}, {policy}: {found[policy][-1].mean():.2%}", flush=True)
    results = {"machine": machine(), **vars(options), "policies": {}}
    base = np.concatenate(found["float32"])
    for policy, of_seeds in found.items():
        report = EvaluationReport(np.concatenate(of_seeds), "accuracy")
        difference = EvaluationReport(np.concatenate(of_seeds) - base, "accuracy")
        results["policies"][policy] = {
            "accuracy": report.mean,
            "interval": report.interval,
            "of_seeds": [float(s.mean()) for s in of_seeds],
            "minus_float32": difference.mean,
            "minus_float32_interval": difference.interval,
        }
        print(f"{policy:15} {report}; minus float32: {difference}", flush=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
