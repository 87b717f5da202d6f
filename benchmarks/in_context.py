"""What a transformer learns in context, against least squares and ridge regression.

    python -m benchmarks.in_context [--minutes 30] [--noise 0.5] [--count 2000] [--seed 0]

`InContextTransformer`, 3 layers of 64 with 2 heads, is trained on linear functions of 5 numbers,
11 points each, for so many minutes of CPU, and predicts each point of new ones from those before
it. Beside it, on the same points: least squares (of the smallest norm), and ridge regression of
the weight noise^2, than which no predictor is better. Without noise least squares is. Writes
benchmarks/results/in_context.json, and a picture beside it.

Reference:
    Garg, Tsipras, Liang and Valiant, "What Can Transformers Learn In-Context?", NeurIPS 2022,
    arXiv:2208.01066, section 3.
"""

import argparse
import json
import pathlib

import keras
import numpy as np

import tfmeta
from benchmarks.machine import machine
from benchmarks.processes import MinutesOfCPU
from benchmarks.workers import with_tfmeta
from tfmeta.evaluation import EvaluationReport
from tools.write_tables import markdown

RESULTS = pathlib.Path(__file__).parent / "results" / "in_context.json"
DIMENSIONS, LENGTH = 5, 11


def episodes(seed, noise, count=None):
    """Linear functions, 64 a meta-batch."""
    return tfmeta.episodes.linear_regression(
        DIMENSIONS, LENGTH, meta_batch_size=64, seed=seed, count=count, noise=noise
    )


def train(minutes, noise, seed, **arguments):
    """A trained transformer, and the `MinutesOfCPU` of its training."""
    keras.utils.set_random_seed(seed)
    learner = tfmeta.learners.InContextTransformer(most_rows=LENGTH, **arguments)
    learner.compile(keras.optimizers.Adam(1e-3), "mse")
    watch = MinutesOfCPU(minutes)
    learner.fit(
        episodes(seed, noise), epochs=10**6, steps_per_epoch=500, callbacks=[watch], verbose=2
    )
    return learner, watch


def points(data):
    """All points of the episodes: x `[E, L, D]` and y `[E, L]`, float64."""
    x, y = (
        np.concatenate(
            [np.concatenate([batch.support[i], batch.query[i]], axis=1) for batch in data]
        )
        for i in (0, 1)
    )
    return x.astype(np.float64), y[..., 0].astype(np.float64)


def linear_errors(x, y, weight):
    """Squared errors `[E, L]` of ridge regression on the points before each; 0: least squares."""
    errors = []
    for place in range(x.shape[1]):
        seen, targets = x[:, :place], y[:, :place, None]
        if place == 0:
            solution = np.zeros((len(x), x.shape[2], 1))
        elif weight == 0:
            solution = np.linalg.pinv(seen) @ targets
        else:
            gram = seen.swapaxes(1, 2) @ seen + weight * np.eye(x.shape[2])
            solution = np.linalg.solve(gram, seen.swapaxes(1, 2) @ targets)
        predicted = np.einsum("ed,ed->e", x[:, place], solution[..., 0])
        errors.append(np.square(predicted - y[:, place]))
    return np.stack(errors, axis=1)


def figures(learner, noise, count):
    """Method -> mean and interval of the squared error at each place."""
    data = episodes(1000, noise, count)
    x, y = points(data)
    errors = {
        "InContextTransformer": tfmeta.evaluation.score_sequence(
            learner, data, count, verbose=0
        ).scores,
        "least squares": linear_errors(x, y, 0.0),
        "ridge": linear_errors(x, y, noise**2),
    }
    found = {}
    for name, of_places in errors.items():
        reports = [EvaluationReport(scores) for scores in of_places.T]
        found[name] = [[report.mean, report.interval] for report in reports]
    return found


def table(results):
    """Markdown: errors by the number of points seen, and how many times ridge's ours are."""
    methods, rows = results["figures"], []
    for seen in range(LENGTH):
        cells = [f"{m[seen][0]:,.3f} ± {m[seen][1]:,.3f}" for m in methods.values()]
        ours, best = (methods[name][seen][0] for name in ("InContextTransformer", "ridge"))
        rows.append((str(seen), *cells, f"{ours / best:.2f}"))
    return markdown(("points seen", *methods, "transformer / ridge"), rows)


def plot(results, path):
    """Squared error against the number of points seen."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    axis = figure.subplots()
    for name, marker in (("InContextTransformer", "o"), ("least squares", "s"), ("ridge", "^")):
        mean, interval = np.transpose(results["figures"][name])
        axis.errorbar(range(len(mean)), mean, interval, marker=marker, capsize=2, label=name)
    axis.set(
        yscale="log", xlabel="points seen", ylabel="squared error of the next one",
        title=f"linear functions of {DIMENSIONS} numbers, noise {results['noise']:g}",
    )  # fmt: skip
    axis.legend()
    figure.savefig(path, dpi=100)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="of CPU, for the training")
    parser.add_argument("--noise", type=float, default=0.5)
    parser.add_argument("--count", type=int, default=2000, help="test episodes")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    learner, watch = train(options.minutes, options.noise, options.seed)
    results = {"machine": machine(), "versions": with_tfmeta.VERSIONS, **vars(options)}
    results |= {"steps": watch.steps, "cpu_minutes": watch.minutes}
    results["figures"] = figures(learner, options.noise, options.count)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    plot(results, RESULTS.with_suffix(".png"))
    print(f"written: {RESULTS}")


if __name__ == "__main__":
    main()
