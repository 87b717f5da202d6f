"""Learners on a pretrained network: accuracy on unseen scripts of the glyphs.

    python -m benchmarks.pretrained [--epochs 12] [--seeds 0] [--episodes 600]

Conv4-32 with strides learns the names of the training letters, once under a linear head and once
under a cosine head; then all learners meet the same 5-way test episodes. Writes
benchmarks/results/pretrained.json. About 3 minutes a seed on 2 cores.
"""

import argparse
import json
import pathlib
import time

import keras
import numpy as np
import tensorflow as tf

import tfmeta
from benchmarks.machine import machine
from tfmeta.evaluation import EvaluationReport
from tfmeta.learners import Baseline, BaselinePlusPlus, Finetune, SimpleShot

RESULTS = pathlib.Path(__file__).parent / "results" / "pretrained.json"
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def pretrained(cls, train, epochs):
    """A learner whose network has learned the base classes."""
    network = tfmeta.networks.conv4((28, 28, 1), None, filters=32, downsample="stride")
    learner = cls(network)
    classifier = learner.classifier(train.num_classes)
    classifier.compile("adam", LOSS, metrics=["accuracy"])
    classifier.fit(tfmeta.datasets.labelled(train), epochs=epochs, verbose=2)
    return learner


def learners(train, epochs):
    """Name -> learner."""
    linear = pretrained(Baseline, train, epochs)
    found = {"Baseline": linear, "BaselinePlusPlus": pretrained(BaselinePlusPlus, train, epochs)}
    for transform in ("CL2N", "L2N", "UN"):
        found[f"SimpleShot {transform}"] = SimpleShot(linear.network, transform=transform)
        found[f"SimpleShot {transform}"].center_on(train)
    head = keras.layers.Dense(5, kernel_initializer="zeros")
    # The rate and steps of the quick start.
    found["Finetune"] = Finetune(
        keras.Sequential([linear.network, head]), inner_learning_rate=0.03, evaluation_steps=10
    )
    found["Finetune"].compile(loss=LOSS)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    train, test = map(tfmeta.datasets.glyphs, ("train", "test"))
    scores, cpu = {}, time.process_time()
    for seed in options.seeds:
        keras.utils.set_random_seed(seed)
        found = learners(train, options.epochs)
        for shots in (1, 5):
            episodes = tfmeta.episodes.classification(test, shots=shots, meta_batch_size=8, seed=1)
            for name, learner in found.items():
                report = tfmeta.evaluation.evaluate_episodes(
                    learner, episodes, options.episodes, verbose=0
                )
                scores.setdefault(f"{name}, {shots}-shot", []).append(report.scores)
                print(f"seed {seed}, {shots}-shot, {name}: {report}", flush=True)
    results = {
        "machine": machine(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        **vars(options),
        "cpu_minutes": round((time.process_time() - cpu) / 60, 1),
        "accuracy": {},
    }
    for name, of_seeds in scores.items():
        report = EvaluationReport(np.concatenate(of_seeds), "accuracy")
        results["accuracy"][name] = {"mean": report.mean, "interval": report.interval}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
