"""Train one method of `benchmarks.methods` once, and score it: CASE METHOD SEED FILE.

A training that was stopped goes on after its last whole epoch, from a folder beside the file.
"""

import functools
import json
import os
import pathlib
import shutil
import sys
import time

import keras
import numpy as np
import tensorflow as tf

import tfmeta
from benchmarks import frequencies
from benchmarks.machine import memory
from benchmarks.methods import METHODS, job_text

POINTS = 10  # of the curve
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def episodes(case, split, seed, count=None):
    """Episodes of a split; other splits have other classes, or other seeds."""
    training = split == "train"
    if case.family == "frequency":
        return frequencies.episodes(case, split, seed, count)
    shared = {"shots": case.shots, "meta_batch_size": case.tasks, "seed": seed, "count": count}
    if case.is_regression:
        sinusoid, line = tfmeta.episodes.sinusoid, tfmeta.episodes.line
        family = sinusoid if case.family == "sinusoid" else tfmeta.episodes.mixture(sinusoid, line)
        return family(queries=case.queries if training else 100, **shared)
    queries = case.queries if training else 15
    return tfmeta.episodes.classification(
        classes(case.family, split), ways=case.ways, queries=queries, **shared
    )


def classes(family, split):
    """Labelled pictures; no class is in two splits."""
    if family == "described":
        printed = tfmeta.datasets.glyphs(split, variations=0)
        first = printed.x[printed.starts]  # of each class: in the first font
        return tfmeta.datasets.described(tfmeta.datasets.glyphs(split), first)
    return tfmeta.datasets.glyphs(split) if family == "glyphs" else omniglot()[split]


@functools.cache
def omniglot():
    """The evaluation alphabets for the test, a tenth of the other characters for validation."""
    background, evaluation = tfmeta.datasets.omniglot()
    train, validation = tfmeta.datasets.class_split(background, (0.9, 0.1))
    train = tfmeta.datasets.rotated_classes(train)
    return {"train": train, "validation": validation, "test": evaluation}


def network(case, outputs):
    if case.is_regression:
        hidden = (40, 40, 40) if case.family == "frequency" else (40, 40)
        return tfmeta.networks.mlp((1,), outputs, hidden)
    return tfmeta.networks.conv4(
        (28, 28, 1), outputs, filters=case.filters, norm="batch", downsample="stride"
    )


def learner_of(case, method, arguments, pretrained=None):
    """A learner that trains on episodes, before it is compiled; on a network that is there."""
    cls = getattr(tfmeta.learners, method.learner)
    if method.network == "none":
        return cls(**arguments)
    outputs = {"outputs": 1 if case.is_regression else case.ways, "linear embedding": 40}
    given = pretrained or network(case, outputs.get(method.network))
    if cls.needs_pretraining:
        given.trainable = False
    if method.network == "two embeddings":
        return cls(given, network(case, None), **arguments)
    return cls(given, **arguments)


class Watch(keras.callbacks.Callback):
    """Seconds of the first step and of each epoch; after it a score on validation, not counted."""

    def __init__(self, case, folder):
        super().__init__()
        self.file = folder / "watch.json"
        self.validation = episodes(case, "validation", 500, case.validation)
        self.learner = self.base_classes = self.first = None
        self.pretraining = 0.0  # seconds before the epochs
        self.epochs, self.curve = [], []

    def on_train_begin(self, logs=None):
        self.began = time.perf_counter()
        if self.file.exists():
            self.first, self.epochs, self.curve = json.loads(self.file.read_text())

    def on_train_batch_end(self, batch, logs=None):
        self.first = self.first or time.perf_counter() - self.began

    def on_epoch_begin(self, epoch, logs=None):
        del self.epochs[epoch:], self.curve[epoch:]  # of an epoch that was not kept
        self.began_epoch = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(time.perf_counter() - self.began_epoch)
        self.center()
        found = self.learner.evaluate(self.validation, verbose=0, return_dict=True)
        score = found["accuracy"] if "accuracy" in found else found["mse"]
        self.curve.append([self.pretraining + sum(self.epochs), score])
        self.file.write_text(json.dumps([self.first, self.epochs, self.curve]))

    def center(self):
        """Give SimpleShot the mean of the base classes, as the network sees them now."""
        if hasattr(self.learner, "center_on"):
            self.learner.center_on(self.base_classes)

    def callbacks(self, backup=tfmeta.callbacks.BackupAndRestore):
        """This one first: the epoch is kept when what was seen of it is written."""
        return [self, backup(self.file.parent / "backup", delete_checkpoint=False)]


def meta_train(case, method, arguments, seed, watch):
    """Train a learner on episodes."""
    body = pretrained_network(case, seed, watch) if method.pretrained else None
    watch.learner = learner_of(case, method, arguments, body)
    if method.outer is not None:
        kind, rate = method.outer
        optimizer = getattr(keras.optimizers, kind)(rate)
    elif case.family in ("sinusoid", "modes"):
        optimizer = keras.optimizers.Adam(case.outer_rate)
    else:
        rate = keras.optimizers.schedules.CosineDecay(case.outer_rate, case.steps)
        optimizer = keras.optimizers.Adam(rate)
    if case.is_regression:
        # A metric besides: the loss of a method that has its own is a likelihood.
        watch.learner.compile(optimizer, "mse", metrics=["mse"], steps_per_execution=50)
    else:
        watch.learner.compile(optimizer, LOSS, metrics=["accuracy"])
    data = episodes(case, "train", seed)
    steps = case.steps // POINTS
    watch.learner.fit(
        data, epochs=POINTS, steps_per_epoch=steps, callbacks=watch.callbacks(), verbose=2
    )
    return steps * case.tasks / float(np.median(watch.epochs[1:]))


def pretrained_network(case, seed, watch):
    """The network, trained to name the base classes; `watch.pretraining` are its seconds."""
    folder, body = watch.file.parent, network(case, None)
    weights, note = folder / "pretrained.weights.h5", folder / "pretraining.txt"
    if not note.exists():
        began, train = time.perf_counter(), classes(base_family(case), "train")
        classifier = tfmeta.learners.Baseline(body).classifier(train.num_classes)
        classifier.compile(keras.optimizers.Adam(1e-3), LOSS)
        backup = keras.callbacks.BackupAndRestore(folder / "pretraining", delete_checkpoint=False)
        data = tfmeta.datasets.labelled(train, seed=seed)
        classifier.fit(data, epochs=case.pretraining_epochs, callbacks=[backup], verbose=2)
        body.save_weights(weights)
        note.write_text(repr(time.perf_counter() - began))
    body.load_weights(weights)
    watch.pretraining = float(note.read_text())
    return body


def base_family(case):
    """The family whose classes a classifier is trained on, without descriptions."""
    return "glyphs" if case.family == "described" else case.family


def pretrain(case, method, arguments, seed, watch):
    """Train a network to name the base classes, and put a learner on it."""
    cls = getattr(tfmeta.learners, method.learner)
    train, body = classes(case.family, "train"), network(case, None)
    if method.learner == "Finetune":
        head = keras.layers.Dense(case.ways, kernel_initializer="zeros")
        watch.learner = cls(keras.Sequential([body, head]), **arguments)
        classifier = tfmeta.learners.Baseline(body).classifier(train.num_classes)
    else:
        watch.learner, watch.base_classes = cls(body, **arguments), train
        classifier = watch.learner.classifier(train.num_classes)
    watch.learner.compile(loss=LOSS, metrics=["accuracy"])
    classifier.compile(keras.optimizers.Adam(1e-3), LOSS)
    data = tfmeta.datasets.labelled(train, seed=seed)
    epochs = case.pretraining_epochs
    callbacks = watch.callbacks(keras.callbacks.BackupAndRestore)  # of a plain Keras model
    classifier.fit(data, epochs=epochs, callbacks=callbacks, verbose=2)
    watch.center()  # also where a run that goes on had no epoch left


def unfinished(file, settings):
    """A folder for what a stopped training goes on from, empty if that had other settings."""
    folder = pathlib.Path(file).with_suffix("")
    note = folder / "settings.txt"
    if not note.exists() or note.read_text() != settings:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        note.write_text(settings)
    return folder


def main(name, method, seed, file):
    settings, method = job_text(name, method), METHODS[method]
    case, arguments = method.case(name), method.arguments(name)
    keras.utils.set_random_seed(seed)
    folder = unfinished(file, settings)
    watch = Watch(case, folder)
    before = memory(reset=True)["now"]
    train = pretrain if method.pretrained and not method.meta_trained else meta_train
    tasks_per_s = train(case, method, arguments, seed, watch)
    peak = memory()["peak"] - before
    test = episodes(case, "test", 1000, case.test)
    report = tfmeta.evaluation.evaluate_episodes(watch.learner, test, case.test, verbose=0)
    facts = {
        "curve": watch.curve,
        "first_step_s": watch.first,
        "tasks_per_s": tasks_per_s,
        "peak_mib": peak / 2**20,
        "train_s": watch.pretraining + sum(watch.epochs),
        "cores": len(os.sched_getaffinity(0)),
        "versions": {"tensorflow": tf.__version__, "keras": keras.__version__},
    }
    np.savez(file, scores=report.scores, facts=json.dumps(facts), job=settings)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
