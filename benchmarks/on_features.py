"""LEO beside MAML on the same features of a pretrained network: glyphs, 5-way 1-shot.

    python -m benchmarks.on_features [--seed 0]

A Conv4 of 32 filters learns the names of the training letters; what its last block gives, 128
numbers a picture, centred on the training letters and of length sqrt(128), is then all that every
learner sees. LEO starts from no classifier at all; MAML
and Meta-SGD adapt a linear one. Rates were chosen on the validation script with seed 0. All are
scored on the same 600 test episodes; CPU time is that of the process. Writes
benchmarks/results/on_features.json.
"""

import argparse
import json
import pathlib
import time

import keras
import numpy as np

import tfmeta
from benchmarks.machine import machine
from benchmarks.workers.with_tfmeta import VERSIONS

RESULTS = pathlib.Path(__file__).parent / "results" / "on_features.json"
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
WAYS, TASKS = 5, 8


def features(seed, epochs):
    """Split -> `ClassDataset` of features, of a network that knows the training letters."""
    pictures = {s: tfmeta.datasets.glyphs(s) for s in ("train", "validation", "test")}
    conv4 = tfmeta.networks.conv4((28, 28, 1), None, filters=32, downsample="stride")
    last = keras.layers.Flatten()(conv4.get_layer("relu4").output)
    body = keras.Model(conv4.input, last)
    classifier = tfmeta.learners.Baseline(body).classifier(pictures["train"].num_classes)
    classifier.compile(keras.optimizers.Adam(1e-3), LOSS)
    classifier.fit(tfmeta.datasets.labelled(pictures["train"], seed=seed), epochs=epochs, verbose=0)

    def of(split):
        return body.predict(split.x.astype("float32") / 255, batch_size=256, verbose=0)

    center = of(pictures["train"]).mean(axis=0)

    def scaled(split):
        found = of(split) - center
        found *= np.sqrt(len(center)) / np.linalg.norm(found, axis=1, keepdims=True)
        return tfmeta.datasets.from_arrays(found, split.class_ids)

    return {name: scaled(split) for name, split in pictures.items()}


def linear(width):
    """A linear classifier that starts at zero, so that no class is preferred."""
    head = keras.layers.Dense(WAYS, kernel_initializer="zeros")
    return keras.Sequential([keras.Input((width,)), head])


def same(width):
    """The features themselves."""
    return keras.Sequential([keras.Input((width,)), keras.layers.Flatten()])


LEARNERS = {
    "MAML": lambda w: tfmeta.learners.MAML(linear(w), inner_learning_rate=0.1, inner_steps=5),
    "MetaSGD": lambda w: tfmeta.learners.MetaSGD(linear(w), inner_learning_rate=0.1, inner_steps=5),
    "LEO": lambda w: tfmeta.learners.LEO(same(w)),
}


def episodes(data, split, seed, count=None):
    return tfmeta.episodes.classification(
        data[split], ways=WAYS, shots=1, queries=3 if split == "train" else 15,
        meta_batch_size=TASKS, seed=seed, count=count,
    )  # fmt: skip


def train(make, data, options):
    """`(learner, CPU seconds)`."""
    keras.utils.set_random_seed(options.seed)
    learner, began = make(data["train"].x.shape[1]), time.process_time()
    rate = keras.optimizers.schedules.CosineDecay(options.rate, options.steps)
    optimizer = keras.optimizers.Adam(rate, global_clipnorm=options.clip)
    learner.compile(optimizer, LOSS, metrics=["accuracy"])
    train = episodes(data, "train", options.seed)
    learner.fit(train, steps_per_epoch=options.steps, verbose=0)
    return learner, time.process_time() - began


def score(learner, data, split, count):
    seed = {"validation": 500, "test": 1000}[split]
    data = episodes(data, split, seed, count)
    return tfmeta.evaluation.evaluate_episodes(learner, data, count, verbose=0)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=12, help="of pretraining")
    parser.add_argument("--steps", type=int, default=2000, help="outer steps")
    parser.add_argument("--rate", type=float, default=2e-3, help="of Adam, to zero along a cosine")
    parser.add_argument("--clip", type=float, default=0.1, help="the norm of outer gradients")
    parser.add_argument("--test-episodes", type=int, default=600)
    return parser.parse_args()


def main():
    options, began = parse(), time.process_time()
    keras.utils.set_random_seed(options.seed)
    data = features(options.seed, options.epochs)
    rows = {"pretraining": {"cpu_s": time.process_time() - began}}
    reports = {}
    nearest = tfmeta.learners.SimpleShot(same(data["train"].x.shape[1]))
    nearest.compile(loss=LOSS)
    nearest.center_on(data["train"])
    for name, make in (*LEARNERS.items(), ("SimpleShot, untrained", None)):
        learner, seconds = train(make, data, options) if make else (nearest, 0.0)
        validation = score(learner, data, "validation", 100)
        report = reports[name] = score(learner, data, "test", options.test_episodes)
        difference = report.difference(reports["MAML"])
        rows[name] = {
            "validation": validation.mean,
            "accuracy": [report.mean, report.interval],
            "minus_MAML": [difference.mean, difference.interval],
            "cpu_s": seconds,
        }
        print(f"{name}: validation {validation.mean:.4f}, {report}; minus MAML: {difference}; "
              f"{seconds:.0f} s of CPU", flush=True)  # fmt: skip
    results = {"machine": machine(), "versions": VERSIONS, **vars(options), "rows": rows}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
