"""One training of `benchmarks.reproduce`: by `fit`, watched on validation classes, tested once."""

import datetime
import functools
import json
import time

import keras
import tensorflow as tf

import tfmeta
from benchmarks.machine import machine
from benchmarks.run_folder import write_whole

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@functools.cache
def omniglot(data_dir, image_size=28):
    """The published split, each part with its rotations."""
    parts = tfmeta.datasets.omniglot(data_dir, "vinyals", image_size)
    return dict(zip(("train", "validation", "test"), parts, strict=True))


def episodes(training, split, data_dir, seed, test=None, count=None):
    """Episodes of a split: the training's, or those of a `Test`."""
    of = training if test is None else test
    shared = {"seed": seed, "count": count}
    shared["meta_batch_size"] = training.tasks if count is None else min(training.tasks, count)
    if training.family == "omniglot-sequence":
        classes, length = omniglot(data_dir, 20)[split], of.shots + of.queries
        return tfmeta.episodes.sequence(classes, of.ways, length, **shared)
    shared |= {"shots": of.shots, "queries": of.queries}
    if training.family == "sinusoid":
        return tfmeta.episodes.sinusoid(**shared)
    return tfmeta.episodes.classification(omniglot(data_dir)[split], ways=of.ways, **shared)


def network(training):
    """The network that the learner is given."""
    if training.family == "sinusoid":
        return tfmeta.networks.mlp((1,), 1)
    arguments = dict(training.network)
    part = arguments.pop("part")
    if part == "none":
        return None
    outputs = training.ways if part == "outputs" else None
    model = tfmeta.networks.conv4((28, 28, 1), outputs, **arguments)
    return keras.Model(model.input, model.get_layer("relu4").output) if part == "maps" else model


def compiled(training):
    """The learner, ready for `fit`."""
    learner = getattr(tfmeta.learners, training.learner)(network(training), **training.arguments)
    optimizer = _optimizer(*training.outer, training.steps)
    if training.family == "sinusoid":
        learner.compile(optimizer, "mse", steps_per_execution=training.at_once)
    else:
        learner.compile(optimizer, LOSS, metrics=["accuracy"])
    return learner


def _optimizer(name, rate, how, steps):
    schedules = keras.optimizers.schedules
    if how == "cosine":
        rate = schedules.CosineDecay(rate, steps, alpha=0.01)
    elif how == "linear":
        rate = schedules.PolynomialDecay(rate, steps, 0.0)
    elif how != "constant":
        rate = schedules.ExponentialDecay(rate, how, 0.5, staircase=True)
    return getattr(keras.optimizers, name)(rate)


def ended(state, steps, hours):
    """Whether a training of so many outer steps, and of so much CPU time, is at its end."""
    return state["steps"] >= steps or state["cpu_s"] >= 3600 * hours


class Watch(keras.callbacks.Callback):
    """After each epoch: a score on validation, the best weights, time, and when it will end.

    Args:
        training: its settings.
        folder: its `RunFolder`.
        validation: episodes.
        title: what a line of progress begins with.
        hours: of CPU, after which it ends.

    Attributes:
        state: what watch.json says: "steps", "cpu_s", "wall_s" (validation included) and "curve",
            `[steps, cpu hours, score]` of each epoch.
    """

    def __init__(self, training, folder, validation, title, hours):
        super().__init__()
        self.hours = hours
        self.training, self.folder, self.title = training, folder, title
        self.validation = validation
        self.state = {"state": "running", "steps": 0, "of_steps": training.steps}
        self.state |= {"cpu_s": 0.0, "wall_s": 0.0, "curve": []}
        file = folder.now / "watch.json"
        if file.exists():
            self.state = json.loads(file.read_text())
        self.file, self.clock = file, (time.process_time(), time.time())
        self.here = 0  # outer steps of this process

    @property
    def best(self):
        """The `[steps, cpu hours, score]` of the best weights."""
        choose = min if self.training.family == "sinusoid" else max
        return choose(self.state["curve"], key=lambda point: point[2])

    def ended(self):
        return ended(self.state, self.training.steps, self.hours)

    def on_epoch_end(self, epoch, logs=None):
        found = self.model.evaluate(self.validation, verbose=0, return_dict=True)
        score = found["loss" if self.training.family == "sinusoid" else "accuracy"]
        clock = time.process_time(), time.time()
        took = [after - before for after, before in zip(clock, self.clock, strict=True)]
        self.clock, state = clock, self.state
        self.here += self.training.every
        state["steps"] = (epoch + 1) * self.training.every
        state["cpu_s"] += took[0]
        state["wall_s"] += took[1]
        state["curve"].append([state["steps"], state["cpu_s"] / 3600, score])
        if self.best is state["curve"][-1]:
            self.model.save_weights(self.folder.now / "best.weights.h5")
        write_whole(self.file, json.dumps(state))
        self._say(score, took)
        self.model.stop_training = self.ended()

    def _say(self, score, took):
        state, limit = self.state, 3600 * self.hours
        epochs = (self.training.steps - state["steps"]) / self.training.every
        epochs = min(epochs, max(0.0, limit - state["cpu_s"]) / took[0])
        end = datetime.datetime.now() + datetime.timedelta(seconds=epochs * took[1])
        print(
            f"{self.title}: step {state['steps']:,} of {self.training.steps:,}, validation "
            f"{score:.4f} (best {self.best[2]:.4f} at {self.best[0]:,}), {state['cpu_s'] / 60:.1f} "
            f"min of CPU, about {epochs * took[1] / 3600:.1f} h left, until {end:%a %H:%M}",
            flush=True,
        )


class Keep(keras.callbacks.Callback):
    """The last one: a whole copy of what the others have written after an epoch."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def on_epoch_end(self, epoch, logs=None):
        self.folder.keep(epoch + 1)


def run(row, training, folder, seed, data_dir, title, hours):
    """Train, or go on; load the weights that are best on validation, test; the result, a dict."""
    keras.utils.set_random_seed(seed)
    folder.restore()
    validation = episodes(training, "validation", data_dir, 500, row.tests[0], training.validation)
    learner = compiled(training)
    watch = Watch(training, folder, validation, title, hours)
    backup = keras.callbacks.BackupAndRestore(folder.now / "backup", delete_checkpoint=False)
    if not watch.ended():
        learner.fit(
            episodes(training, "train", data_dir, seed), epochs=training.steps // training.every,
            steps_per_epoch=training.every, callbacks=[watch, backup, Keep(folder)], verbose=0,
        )  # fmt: skip
    learner.prepare(validation)
    learner.load_weights(folder.now / "best.weights.h5")
    reports = _tested(learner, training, row.tests, data_dir)
    result = watch.state | {
        "state": "finished",
        "seed": seed,
        "best_steps": watch.best[0],
        "scores": {name: [report.mean, report.interval] for name, report in reports.items()},
        "test_episodes": {test.name: test.episodes for test in row.tests},
        "transductive": any(report.transductive for report in reports.values()),
        "versions": {"tensorflow": tf.__version__, "keras": keras.__version__}
        | {"tfmeta": tfmeta.__version__},
        "machine": machine(),
        "date": datetime.date.today().isoformat(),
    }
    for name, report in reports.items():
        print(f"{title}, {name}: {report}", flush=True)
    return result


def _tested(learner, training, tests, data_dir):
    """Name -> report of each test; those of sequences are of the same ones."""

    def data(test):
        return episodes(training, "test", data_dir, 1000, test, test.episodes)

    if training.family == "omniglot-sequence":
        count = tests[0].episodes
        scores = tfmeta.evaluation.score_sequence(learner, data(tests[0]), count, verbose=0)
        return {test.name: scores.at(test.instance) for test in tests}
    return {
        test.name: tfmeta.evaluation.evaluate_episodes(
            learner, data(test), test.episodes, inner_steps=test.inner_steps, verbose=0
        )
        for test in tests
    }
