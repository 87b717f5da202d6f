"""Target log-likelihood of neural processes on curves of a Gaussian process, with the bound.

    python -m benchmarks.processes [--methods CNP ConvCNP ...] [--kernels rbf periodic]
        [--minutes 60] [--count 3000] [--seed 0]

Each method is trained, for so many minutes of CPU, on curves of one kernel, and scored on others of
the same kernel: x in -2..2, noise 0.02, 1 to 50 context points, 50 targets that are none of them. A
target counts on its own. The exact posterior is scored on the same curves: no method can be better.
Writes benchmarks/results/processes.json, and a picture of one task beside it.
"""

import argparse
import json
import pathlib
import time

import keras

import tfmeta
from benchmarks.machine import machine
from benchmarks.workers import with_tfmeta
from tools.write_tables import markdown

RESULTS = pathlib.Path(__file__).parent / "results" / "processes.json"
# Arguments of the kernels, of `episodes.gaussian_process` and `evaluation.ExactGP` alike.
KERNELS = {"rbf": {"length": 0.4}, "periodic": {"length": 1.0, "period": 1.0}}
# Name -> (arguments of the learner, rate of Adam, which falls to zero along a cosine).
METHODS = {
    "LatentNP": ({}, 1e-3),
    "CNP": ({"minimum_scale": 0.01}, 1e-3),
    "AttentiveNP": ({}, 5e-4),
    "ConvCNP": ({"reach": 4.5}, 1e-3),
    "TNP": ({}, 5e-4),
}

#: Log-likelihoods on "rbf" of the runs of xuesongwang/Neural-Process-Family.
OTHERS = {"LatentNP": 1.11, "CNP": 1.30, "AttentiveNP": 2.00, "ConvCNP": 2.53}


class MinutesOfCPU(keras.callbacks.Callback):
    """Stops training after so many minutes of CPU; its rate falls to zero until then.

    Attributes:
        steps: how many outer steps there were.
        minutes: of CPU that they took, the first step not counted.
    """

    def __init__(self, limit):
        super().__init__()
        self.limit, self.steps, self.minutes, self.began = limit, 0, 0.0, None

    def on_train_begin(self, logs=None):
        self.rate = float(self.model.optimizer.learning_rate)

    def on_train_batch_end(self, batch, logs=None):
        self.began = time.process_time() if self.began is None else self.began
        self.steps += 1
        self.minutes = (time.process_time() - self.began) / 60
        part = min(1.0, self.minutes / self.limit)
        cosine = keras.optimizers.schedules.CosineDecay(self.rate, 1000)
        self.model.optimizer.learning_rate = float(cosine(round(1000 * part)))
        self.model.stop_training = part == 1.0


def train(method, kernel, minutes, seed):
    """A trained learner, and the `MinutesOfCPU` of its training."""
    keras.utils.set_random_seed(seed)
    arguments, rate = METHODS[method]
    learner = getattr(tfmeta.learners, method)(**arguments)
    learner.compile(keras.optimizers.Adam(rate))
    data = tfmeta.episodes.gaussian_process(kernel, seed=seed, **KERNELS[kernel])
    watch = MinutesOfCPU(minutes)
    learner.fit(data, epochs=10**6, steps_per_epoch=500, callbacks=[watch], verbose=2)
    return learner, watch


def measure(kernel, options):
    """Method -> figures, the exact posterior's among them; and the trained learners."""
    numbers = KERNELS[kernel]
    test = tfmeta.episodes.gaussian_process(kernel, seed=1000, count=options.count, **numbers)
    learners = {"exact posterior": tfmeta.evaluation.ExactGP(kernel, **numbers)}
    figures = {"exact posterior": {}}
    for method in options.methods:
        learners[method], watch = train(method, kernel, options.minutes, options.seed)
        figures[method] = {"steps": watch.steps, "cpu_minutes": watch.minutes}
    for name, learner in learners.items():
        report = tfmeta.evaluation.score_likelihood(learner, test, options.count, verbose=0)
        print(f"{kernel}, {name}: {report}", flush=True)
        figures[name] |= {"score": [report.mean, report.interval]}
    return figures, learners


def table(figures):
    """Markdown of one kernel's figures, the best first; those of others are of rbf alone."""
    rows = []
    for name, row in sorted(figures.items(), key=lambda item: -item[1]["score"][0]):
        trained = (f"{row['cpu_minutes']:.0f} min", f"{row['steps']:,}") if "steps" in row else "--"
        others = OTHERS.get(name)
        score = "{:.2f} ± {:.2f}".format(*row["score"])
        rows.append((name, score, "-" if others is None else f"{others:.2f}", *trained))
    return markdown(("method", "log-likelihood", "others' run", "CPU", "steps"), rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS))
    parser.add_argument("--kernels", nargs="*", choices=KERNELS, default=list(KERNELS))
    parser.add_argument("--minutes", type=float, default=60.0, help="of CPU, for each training")
    parser.add_argument("--count", type=int, default=3000, help="test episodes")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    results = {"machine": machine(), "versions": with_tfmeta.VERSIONS, **vars(options)}
    results["figures"] = {}
    for kernel in options.kernels:
        results["figures"][kernel], learners = measure(kernel, options)
        one = next(iter(tfmeta.episodes.gaussian_process(kernel, 8, seed=7, **KERNELS[kernel])))
        tfmeta.evaluation.plot_functions(
            learners, one, RESULTS.with_name(f"processes_{kernel}.png")
        )
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
