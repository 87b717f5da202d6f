"""A search for the network and the optimisation together: MAML on glyphs, 5-way 1-shot.

    python -m benchmarks.structure [--trials 16] [--seconds 40]

keras-tuner's Bayesian search, through `tfmeta.tuning.MetaHyperModel`, draws depth, width and
normalisation of the network, whether its head reads the mean over places or all of them, the number
and the rate of the inner steps, and the outer rate. The first trial is the default: Conv4-16 with
strides and BatchNormalization, one step at 0.4, Adam at 0.002, as in the other comparisons. Each
trial trains for the same CPU time, from its second step on (tracing is not counted), and is scored
on the same validation episodes. Then the best of the other trials and the default are trained for
as long with other seeds, and meet the same 600 test episodes. (Trials of 12 s chose what learns
fast, and was no better after 40.) Trials lie in outputs/structure, and a stopped search goes on.
Writes benchmarks/results/structure.json and .png.
"""

import argparse
import json
import pathlib
import time

import keras
import keras_tuner
import numpy as np

import tfmeta
from benchmarks.machine import machine
from benchmarks.workers.with_tfmeta import VERSIONS
from tfmeta.evaluation import EvaluationReport
from tfmeta.networks.blocks import normalize

RESULTS = pathlib.Path(__file__).parent / "results" / "structure.json"
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
DEFAULT = {
    "depth": 4,
    "filters": 16,
    "norm": "batch",
    "readout": "mean",
    "inner_steps": 1,
    "inner_learning_rate": 0.4,
    "outer_rate": 2e-3,
}

READOUTS = {"mean": keras.layers.GlobalAveragePooling2D, "all": keras.layers.Flatten}
TICKS = {"inner_learning_rate": (0.1, 0.2, 0.4), "outer_rate": (0.001, 0.002, 0.004)}


class CpuTime(keras.callbacks.Callback):
    """Ends training after some seconds of CPU, of all threads, from the second step on.

    Args:
        seconds: how many.
    """

    def __init__(self, seconds):
        super().__init__()
        self.seconds = seconds
        self.began, self.steps = None, 0

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        if self.began is None:
            self.began = time.process_time()
        self.model.stop_training = time.process_time() - self.began > self.seconds


def network(hp):
    """Blocks of convolution with stride, normalisation and ReLU, as in `conv4`, for 5 classes."""
    depth = hp.Int("depth", 3, 5, default=DEFAULT["depth"])
    filters = hp.Int("filters", 8, 24, step=8, default=DEFAULT["filters"])
    norm = hp.Choice("norm", ["batch", "layer"], default=DEFAULT["norm"])
    x = inputs = keras.Input((28, 28, 1))
    for i in range(1, depth + 1):
        x = keras.layers.Conv2D(filters, 3, 2, padding="same", name=f"conv{i}")(x)
        x = normalize(x, norm, name=f"norm{i}")
        x = keras.layers.ReLU(name=f"relu{i}")(x)
    readout = hp.Choice("readout", list(READOUTS), default=DEFAULT["readout"])
    x = READOUTS[readout](name="features")(x)
    return keras.Model(inputs, keras.layers.Dense(5, name="head")(x))


def compile_arguments(hp):
    rate = hp.Float("outer_rate", 1e-3, 5e-3, sampling="log", default=DEFAULT["outer_rate"])
    return {"optimizer": keras.optimizers.Adam(rate), "loss": LOSS, "metrics": ["accuracy"]}


def search_space():
    """The ranges of MAML's own arguments here, which are narrower than the declared ones."""
    hp = keras_tuner.HyperParameters()
    hp.Int("inner_steps", 1, 2, default=1)
    hp.Float("inner_learning_rate", 0.1, 0.6, sampling="log", default=0.4)
    return hp


class FromDefault(keras_tuner.oracles.BayesianOptimizationOracle):
    """A Bayesian search that begins with the default: what it has to beat, and where to look."""

    def populate_space(self, trial_id):
        if not self.trials:
            return {"status": "RUNNING", "values": dict(DEFAULT)}
        return super().populate_space(trial_id)


def hypermodel(seed):
    return tfmeta.tuning.MetaHyperModel(
        tfmeta.learners.MAML, network=network, compile=compile_arguments,
        fixed={"first_order": False}, seed=seed,
    )  # fmt: skip


def episodes(split, seed, count=None):
    return tfmeta.episodes.classification(
        tfmeta.datasets.glyphs(split), ways=5, shots=1, queries=3 if split == "train" else 15,
        meta_batch_size=8, seed=seed, count=count,
    )  # fmt: skip


def search(options):
    """The tuner, after its trials."""
    oracle = FromDefault(
        "val_accuracy", options.trials, num_initial_points=options.trials // 2, seed=1,
        hyperparameters=search_space(),
    )  # fmt: skip
    tuner = keras_tuner.Tuner(
        oracle, hypermodel(0), directory=options.folder, project_name=f"{options.seconds:g}s"
    )
    tuner.search(
        episodes("train", 0), steps_per_epoch=100_000,
        validation_data=episodes("validation", 500, options.validation),
        callbacks=[CpuTime(options.seconds)], verbose=0,
    )  # fmt: skip
    return tuner


def train_and_score(values, options, seed):
    """`(report on test episodes, outer steps)` of given settings."""
    hp = keras_tuner.HyperParameters()
    for name, value in values.items():
        hp.Fixed(name, value)
    learner, watch = hypermodel(seed).build(hp), CpuTime(options.seconds)
    learner.fit(episodes("train", seed), steps_per_epoch=100_000, callbacks=[watch], verbose=0)
    data = episodes("test", 1000, options.test)
    return tfmeta.evaluation.evaluate_episodes(learner, data, options.test, verbose=0), watch.steps


def compare(best, options):
    """What the best and the default settings score on test classes: each seed, and their means."""
    found, scores = {}, {"best": [], "default": []}
    for seed in range(1, options.seeds + 1):  # the search had 0
        reports, steps = {}, {}
        for name, values in (("best", best), ("default", DEFAULT)):
            reports[name], steps[name] = train_and_score(values, options, seed)
            scores[name].append(reports[name].scores)
            print(f"seed {seed}, {name}: {reports[name]}, {steps[name]} steps", flush=True)
        found[str(seed)] = _compared(reports) | {"steps": steps}
    means = {
        name: EvaluationReport(np.mean(of_seeds, axis=0), "accuracy")
        for name, of_seeds in scores.items()
    }
    return found | {"mean of seeds": _compared(means)}


def _compared(reports):
    difference = reports["best"].difference(reports["default"])
    print(f"best less default: {difference}", flush=True)
    row = {name: [report.mean, report.interval] for name, report in reports.items()}
    return row | {"difference": [difference.mean, difference.interval]}


def draw(trials, default, path):
    """The score against each number that was searched, the default marked, and trial by trial."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5.5), layout="constrained")
    panels = figure.subplots(2, 4, sharey=True).ravel()
    scores = [trial["score"] for trial in trials]
    for axes, name in zip(panels, DEFAULT, strict=False):
        axes.plot([t["values"][name] for t in trials], scores, "o", color="#0072B2")
        axes.plot([DEFAULT[name]], [default], "*", color="#D55E00", markersize=14)
        axes.set_xlabel(name.replace("_", " "))
        if name in TICKS:
            axes.set_xscale("log")
            axes.set_xticks(TICKS[name], map(str, TICKS[name]))
            axes.xaxis.set_minor_formatter("")  # they would be written over one another
    order = range(1, len(scores) + 1)
    last = panels[7]
    last.plot(order, scores, "o", color="#0072B2", label="trial")
    last.plot(order, [max(scores[:i]) for i in order], "-", color="#0072B2", label="best yet")
    last.axhline(default, color="#D55E00", ls="--", label="default")
    last.set_xlabel("trial")
    last.legend(loc="best", fontsize=8)
    for axes in panels[::4]:
        axes.set_ylabel("validation accuracy")
    figure.suptitle("Structure and optimisation of MAML on glyphs, equal CPU time a trial")
    figure.savefig(path, dpi=120)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=40.0, help="of CPU for a training")
    parser.add_argument("--seeds", type=int, default=5, help="of the trainings at the end")
    parser.add_argument("--validation", type=int, default=200, help="episodes")
    parser.add_argument("--test", type=int, default=600, help="episodes")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("outputs/structure"))
    return parser.parse_args()


def main():
    options = parse()
    tuner = search(options)
    trials = [
        {"values": {name: t.hyperparameters.get(name) for name in DEFAULT}, "score": t.score}
        for _, t in sorted(tuner.oracle.trials.items())  # in any order where a search goes on
    ]
    default, *others = trials
    best = max(others, key=lambda trial: trial["score"])["values"]
    print(f"{len(trials)} trials of {options.seconds:g} s; best: {best}", flush=True)
    draw(others, default["score"], RESULTS.with_suffix(".png"))
    results = {
        "machine": machine(), "versions": VERSIONS, **vars(options) | {"folder": ""},
        "trials": trials, "best": best, "default_on_validation": default["score"],
        "test": compare(best, options),
    }  # fmt: skip
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
