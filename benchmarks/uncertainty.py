"""Likelihood and coverage of every learner that predicts distributions, on two families of curves.

    python -m benchmarks.uncertainty [--methods ALPaCA CNP ...] [--families sinusoid process]
        [--minutes 0.5] [--count 600] [--seed 0]
    python -m benchmarks.uncertainty --table    # the table of what is there

Each method is trained, for so many minutes of CPU, on curves of one family, and scored on others of
it: sinusoids of amplitude 0.1..5 and phase 0..pi with noise 0.1, 10 support points; draws of a
Gaussian process (rbf, length 0.4, noise 0.02), 3 to 15 support points; 50 query points each. Half
a minute is a short training: it tells who is calibrated early, not who is best in the end.
Writes benchmarks/results/uncertainty.json: rows of methods that are not run again stay.
"""

import argparse
import functools
import json
import pathlib

import keras

import tfmeta
from benchmarks.machine import machine
from benchmarks.processes import METHODS as PROCESSES
from benchmarks.processes import MinutesOfCPU
from benchmarks.workers import with_tfmeta
from tfmeta.evaluation import Coverage, evaluate_episodes, score_likelihood
from tools.write_tables import markdown

RESULTS = pathlib.Path(__file__).parent / "results" / "uncertainty.json"
COLUMNS = (
    "method", "log-likelihood", "coverage of 50 %", "of 95 %", "mean squared error", "CPU", "steps"
)  # fmt: skip
L, mlp = tfmeta.learners, tfmeta.networks.mlp
PROCESS = {"length": 0.4, "noise": 0.02}
# Name -> function of seed, tasks of a meta-batch and count to episodes.
FAMILIES = {
    "sinusoid": lambda seed, tasks, count=None: tfmeta.episodes.sinusoid(
        10, 50, tasks, seed, count, noise=0.1
    ),
    "process": lambda seed, tasks, count=None: tfmeta.episodes.gaussian_process(
        "rbf", (3, 15), 50, tasks, seed, count, **PROCESS
    ),
}


def gradient(cls, **arguments):
    """A learner with an inner loop of 5 steps on the paper's network."""
    return lambda: cls(mlp((1,), 1), inner_learning_rate=0.01, inner_steps=5, **arguments)


def process(name):
    """A neural process, and its rate, as in `benchmarks.processes`."""
    arguments, rate = PROCESSES[name]
    if name == "ConvCNP":  # points of sinusoids are further apart
        arguments = arguments | {"reach": 10.0}
    return functools.partial(getattr(L, name), **arguments), rate


# Name -> (function that makes the learner, rate of Adam, which falls to zero along a cosine).
METHODS = {
    "ALPaCA": (
        lambda: L.ALPaCA(mlp((1,), None, (128, 128, 32), "tanh"), noise=0.1, learn_noise=True),
        1e-3,
    ),
    "DKT": (lambda: L.DKT(mlp((1,), 40)), 1e-3),
    "DKT, no network": (L.DKT, 1e-2),
    "ADKL": (lambda: L.ADKL(mlp((1,), 40)), 1e-3),
    "BayesianMAML": (gradient(L.BayesianMAML), 1e-3),
    "PLATIPUS": (gradient(L.PLATIPUS), 1e-3),
    **{name: process(name) for name in PROCESSES},
}


def train(method, family, options):
    """A trained learner, and the `MinutesOfCPU` of its training."""
    keras.utils.set_random_seed(options.seed)
    make, rate = METHODS[method]
    learner, watch = make(), MinutesOfCPU(options.minutes)
    learner.compile(keras.optimizers.Adam(rate), "mse")
    data = FAMILIES[family](options.seed, 16)
    learner.fit(data, epochs=10**6, steps_per_epoch=500, callbacks=[watch], verbose=0)
    return learner, watch


def scores(learner, test, count):
    """Name -> mean and half the width of the 95 % interval."""
    reports = {
        "log_likelihood": score_likelihood(learner, test, count, verbose=0),
        "mean_squared_error": evaluate_episodes(learner, test, count, verbose=0),
    }
    for level in (0.5, 0.95):
        metric = Coverage(level)
        found = evaluate_episodes(learner, test, count, score=metric, verbose=0)
        reports[metric.name] = found
    return {name: [report.mean, report.interval] for name, report in reports.items()}


def measure(family, options):
    """Method -> figures, those of the exact posterior among them where it is known."""
    test = FAMILIES[family](1000, 50, options.count)
    for method in options.methods:
        learner, watch = train(method, family, options)
        found = scores(learner, test, options.count)
        yield method, found | {"steps": watch.steps, "cpu_minutes": watch.minutes}
        keras.backend.clear_session()
    if family == "process":
        bound = tfmeta.evaluation.ExactGP("rbf", **PROCESS)
        bound.compile()
        yield "exact posterior", scores(bound, test, options.count)


def table(rows):
    """The figures of one family in Markdown, the most likely first."""
    names = ("log_likelihood", "coverage_50", "coverage_95", "mean_squared_error")
    ranked = sorted(rows.items(), key=lambda item: -item[1]["log_likelihood"][0])
    cells = []
    for method, row in ranked:
        trained = [f"{60 * row['minutes']:.0f} s", f"{row['steps']:,}"] if "steps" in row else "--"
        cells.append([method, *(f"{row[n][0]:.3f} ± {row[n][1]:.3f}" for n in names), *trained])
    return markdown(COLUMNS, cells)


def load():
    """The results that are there."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {"figures": {}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS))
    parser.add_argument("--families", nargs="*", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--minutes", type=float, default=0.5, help="of CPU, for each training")
    parser.add_argument("--count", type=int, default=600, help="test episodes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", action="store_true", help="train nothing")
    options = parser.parse_args()
    if options.table:
        show(options.families)
        return
    facts = {"minutes": options.minutes, "count": options.count, "seed": options.seed}
    for family in options.families:
        for method, figures in measure(family, options):
            results = load() | {"machine": machine(), "versions": with_tfmeta.VERSIONS}
            results["figures"].setdefault(family, {})[method] = figures | facts
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
            print(f"{family}, {method}: {figures}", flush=True)
    show(options.families)


def show(families):
    """Print the tables of families."""
    for family, rows in load()["figures"].items():
        if family in families:
            print(f"\n{family}\n\n{table(rows)}")


if __name__ == "__main__":
    main()
