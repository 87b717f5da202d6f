"""Learned optimizers against SGD and Adam, each with its best rate of a grid, on unseen tasks.

    python -m benchmarks.optimizers                     # all cases; about 15 minutes of CPU
    python -m benchmarks.optimizers --cases classifier  # one of them
    python -m benchmarks.optimizers --table             # what was measured before

Cases: `rate`, the rate that `LearnedSGD` learns against the best fixed one of the same quadratics;
`quadratic`, `LSTMRule` on quadratics of 10 dimensions, 100 steps, whose matrices and targets are
standard normal, as in the paper's text; `classifier`, `MLPRule` on classifiers of 10 glyphs of 8x8
pixels with one hidden layer of 32, and, without further training, on networks that are wider,
deeper, of another activation, and for five times as many steps.

Rates are chosen on validation tasks, one grid for each network; test tasks are looked at once. The
differences are paired: both optimizers start from the same weights on the same tasks. Times are of
the CPU.
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
from tfmeta.learners import LearnedAdam, LearnedOptimizer, LearnedSGD, LSTMRule, MLPRule

RESULTS = pathlib.Path(__file__).parent / "results" / "optimizers.json"
SQUARES = keras.losses.MeanSquaredError(reduction="sum")
CROSSENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
RATES = [float(rate) for rate in np.round(10 ** np.arange(-4, 0.1, 0.25), 6)]


def linear():
    """A network whose loss is |A w - b|^2, started near 0 as the paper's authors do."""
    first = keras.initializers.RandomNormal(stddev=0.1)
    return keras.Sequential(
        [keras.Input((10,)), keras.layers.Dense(1, use_bias=False, kernel_initializer=first)]
    )


def classifier(hidden=(32,), activation="relu"):
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten()]
    layers += [keras.layers.Dense(width, activation) for width in hidden]
    return keras.Sequential([*layers, keras.layers.Dense(10)])


def small_glyphs(split):
    """The glyphs of a split, 24x24 pixels of each averaged to 8x8."""
    glyphs = tfmeta.datasets.glyphs(split)
    blocks = glyphs.x[:, 2:26, 2:26].reshape(-1, 8, 3, 8, 3, 1)
    return tfmeta.datasets.from_arrays(blocks.mean((2, 4)).astype("uint8"), glyphs.class_ids)


def glyph_tasks(split, seed, tasks, count=None):
    return tfmeta.episodes.classification(
        small_glyphs(split), 10, 15, 10, meta_batch_size=tasks, seed=seed, count=count
    )


def trained(learner, episodes, loss, steps, rate):
    """The learner after `steps` outer steps of Adam, its history and the CPU seconds it took."""
    schedule = keras.optimizers.schedules.CosineDecay(rate, steps)
    learner.compile(keras.optimizers.Adam(schedule, global_clipnorm=1.0), loss)
    start = time.process_time()
    epochs = min(10, steps)
    history = learner.fit(episodes, steps_per_epoch=steps // epochs, epochs=epochs, verbose=2)
    seconds = time.process_time() - start
    print(f"  {seconds:.0f} s of CPU, restarts {learner.restarts}", flush=True)
    return {"cpu_s": seconds, "outer_steps": steps, "loss": history.history["loss"]}


class Curves:
    """Training and query losses of a learner's rule; one trace for all that is asked of it."""

    def __init__(self, network, rule, loss, steps, batch=None):
        self.learner = LearnedOptimizer(network, rule=rule, inner_batch_size=batch)
        self.learner.compile("sgd", loss)

        def task(episode):
            adapted = self.learner.adapt(episode.support, inner_steps=steps)
            outputs = self.learner.predict_query(adapted, episode.query.x)
            return adapted.inner_losses, self.learner.task_loss(episode.query, outputs)

        self.run = tf.function(lambda batch: self.learner.map_tasks(task, batch))

    def of(self, episodes):
        """Training loss before each step `[tasks, steps]`, query loss at the end `[tasks]`."""
        batches = [self.run(batch) for batch in episodes]
        return tuple(np.concatenate([np.array(b[i]) for b in batches]) for i in range(2))

    def best_rates(self, episodes):
        """The rate that is best on validation tasks, by each of `CRITERIA`, and all scores."""
        scores = {}
        for rate in RATES:
            path, end = self.at(rate).of(episodes)
            found = [float(f(path, end)) for f in CRITERIA.values()]
            scores[rate] = found if np.isfinite(found).all() else [np.inf] * len(found)
        best = {
            name: min(scores, key=lambda rate: scores[rate][i]) for i, name in enumerate(CRITERIA)
        }
        return best, {str(rate): score for rate, score in scores.items()}

    def at(self, rate):
        """The same, at this rate: a number that the trace reads."""
        self.learner.rule.logs["rate"].assign(np.log(rate))
        return self


#: What a rate is chosen by: the training loss of all steps together, or the query loss at the end.
CRITERIA = {"all steps": lambda path, end: path.mean(), "end": lambda path, end: end.mean()}


def interval(values):
    """Mean and half width of the 95 % interval."""
    values = np.float64(values)
    return [float(values.mean()), float(1.96 * values.std(ddof=1) / np.sqrt(len(values)))]


def compared(found):
    """Name -> losses of each optimizer; those of others also as paired differences to "learned".

    Args:
        found: name -> what `Curves.of` gave.
    """
    path, end = found["learned"]
    return {
        name: {
            "training": interval(other.mean(1)),
            "final training": interval(other[:, -1]),
            "query": interval(query),
            "learned less this, training": interval(path.mean(1) - other.mean(1)),
            "learned less this, query": interval(end - query),
            "steps until learned is as low": steps_until(path.mean(0), other.mean(0)[-1]),
            "curve": [float(f"{x:.4g}") for x in other.mean(0)[::5]],  # each fifth step,
        }
        for name, (other, query) in found.items()
    }


def steps_until(curve, level, width=5):
    """The first step at which a curve, smoothed over `width` steps, is at the level or below."""
    smooth = np.convolve(curve, np.ones(width) / width, "valid")
    below = np.flatnonzero(smooth <= level)
    return int(below[0]) + width - 1 if len(below) else None


def against_grids(rule, make, loss, steps, batch, validation, test, kinds):
    """A learned rule and rules written by hand, at their best rates, on the same test tasks."""
    found = {"learned": Curves(make(), rule, loss, steps, batch).of(test)}
    chosen = {}
    for kind, make_rule in kinds.items():
        curves = Curves(make(), make_rule(), loss, steps, batch)
        best, scores = curves.best_rates(validation)
        for criterion, rate in best.items():
            name = f"{kind}, best for {criterion}"
            chosen[name] = {"rate": rate, "validation": scores}
            found[name] = curves.at(rate).of(test)
    result = compared(found)
    for name, choice in chosen.items():
        result[name] |= choice
    return result


def measure_rate(options):
    """The rate that is learned, and the best of a fine grid, on the same 256 quadratics."""
    keras.utils.set_random_seed(options.seed)
    episodes = tfmeta.episodes.quadratic(meta_batch_size=256, seed=options.seed, count=256)
    learner = LearnedOptimizer(linear(), rule=LearnedSGD(1e-3), inner_steps=20, draw_weights=False)
    steps = options.steps or 300
    info = trained(learner, episodes.repeat(), SQUARES, steps, 0.03)
    learned = float(np.exp(learner.rule.logs["rate"]))
    objective = tf.function(lambda e: tf.reduce_mean(learner.outer_gradients(e)[0].objective))
    (batch,), found = list(episodes), {}
    for rate in learned * 1.01 ** np.arange(-15, 16):
        learner.rule.logs["rate"].assign(np.log(rate))
        found[float(rate)] = float(objective(batch))
    best = min(found, key=found.get)
    return info | {"learned": learned, "best": best, "error": learned / best - 1}


def measure_quadratic(options):
    keras.utils.set_random_seed(options.seed)
    rule, steps = LSTMRule(), options.steps or 3000
    learner = LearnedOptimizer(
        linear(), rule=rule, inner_steps=100, unroll_length=20, first_order=True
    )
    episodes = tfmeta.episodes.quadratic(meta_batch_size=32, seed=options.seed)
    info = trained(learner, episodes, SQUARES, steps, 3e-3)
    few = tfmeta.episodes.quadratic(meta_batch_size=64, seed=1000, count=256)
    test = tfmeta.episodes.quadratic(meta_batch_size=64, seed=2000, count=1024)
    kinds = {"Adam": LearnedAdam, "SGD": LearnedSGD}
    return info | {"test": against_grids(rule, linear, SQUARES, 100, None, few, test, kinds)}


TRANSFERS = {
    "as trained": ({}, 100),
    "width 128": ({"hidden": (128,)}, 100),
    "3 hidden layers": ({"hidden": (32, 32, 32)}, 100),
    "tanh": ({"activation": "tanh"}, 100),
    "500 steps": ({}, 500),
}


def measure_classifier(options):
    keras.utils.set_random_seed(options.seed)
    rule, steps, batch = MLPRule(step_size=0.01), options.steps or 600, 32
    learner = LearnedOptimizer(
        classifier(), rule=rule, inner_steps=100, unroll_length=20, inner_batch_size=batch,
        first_order=True,
    )  # fmt: skip
    info = trained(learner, glyph_tasks("train", options.seed, 4), CROSSENTROPY, steps, 3e-3)
    learner.save(options.output.with_name("classifier_rule.keras"))
    few = glyph_tasks("validation", 1000, 8, 16)
    test = glyph_tasks("test", 2000, 8, 48)
    found = {}
    for name, (arguments, length) in TRANSFERS.items():

        def make(arguments=arguments):
            return classifier(**arguments)

        tasks = few, test
        kinds = {"Adam": LearnedAdam}
        found[name] = against_grids(rule, make, CROSSENTROPY, length, batch, *tasks, kinds)
        print(f"  {name}: {line(found[name])}", flush=True)
    return info | {"test": found}


def line(result):
    """One comparison in words."""
    return "; ".join(
        f"{name} training {r['training'][0]:.3f} ± {r['training'][1]:.3f}, query "
        f"{r['query'][0]:.3f} ± {r['query'][1]:.3f}"
        + (f" (rate {r['rate']:.3g})" if "rate" in r else "")
        for name, r in result.items()
    )


MEASURES = {
    "rate": measure_rate,
    "quadratic": measure_quadratic,
    "classifier": measure_classifier,
}


def table(results):
    """The figures in Markdown."""
    rows = []
    if "quadratic" in results:
        rows += [("quadratics, 100 steps", results["quadratic"]["test"])]
    if "classifier" in results:
        rows += list(results["classifier"]["test"].items())
    lines = ["| tasks | optimizer | rate | training loss, all steps | final query loss |"]
    lines.append("|---" * 5 + "|")
    for tasks, result in rows:
        for name, r in result.items():
            rate = f"{r['rate']:.3g}" if "rate" in r else "-"
            cells = [f"{r[k][0]:.3f} ± {r[k][1]:.3f}" for k in ("training", "query")]
            lines.append(f"| {tasks} | {name} | {rate} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default=",".join(MEASURES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="outer steps, in the place of the case's own")
    parser.add_argument("--table", action="store_true", help="measure nothing")
    parser.add_argument("--output", type=pathlib.Path, default=RESULTS)
    options = parser.parse_args()
    results = json.loads(options.output.read_text()) if options.output.exists() else {}
    for name in () if options.table else options.cases.split(","):
        print(name, flush=True)
        facts = {"machine": machine(), "seed": options.seed, "tensorflow": tf.__version__}
        results[name] = facts | MEASURES[name](options)
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
