"""Tasks a second of every learner that trains on episodes, as a multiple of MAML's.

    python -m benchmarks.learners [--rounds 3] [--seconds 2]

The omniglot-stride cases of `benchmarks.cases` (Conv4 with strides, 5-way 1-shot, 5 queries, 8
tasks), with 1 and with 5 inner steps, Adam and metrics included: `fit` as a user calls it. All
learners in one process, in rounds that go around between them; medians. `python -m
benchmarks.speed` compares MAML and ProtoNet with other libraries in the same cases. Writes
benchmarks/results/learners.json. A quarter of an hour on 2 quiet cores.
"""

import argparse
import datetime
import json
import pathlib
import statistics
import time

import keras
import tensorflow as tf

import tfmeta
from benchmarks.cases import CASES, first_weights, meta_batch
from benchmarks.machine import busy_share, machine
from benchmarks.workers import with_tfmeta

RESULTS = pathlib.Path(__file__).parent / "results" / "learners.json"
L = tfmeta.learners
# Each takes what MAML takes: the number of inner steps.
LEARNERS = {
    "MAML": L.MAML,
    "FOMAML": lambda *a, **k: L.MAML(*a, first_order=True, **k),
    "ANIL": L.ANIL,
    "BOIL": L.BOIL,
    "MetaSGD": L.MetaSGD,
    "MetaCurvature": L.MetaCurvature,
    "ALFA": L.ALFA,
    "MAML++ (last loss alone)": lambda *a, **k: L.MAMLPlusPlus(*a, multi_step_loss_steps=0, **k),
    "MAML++": L.MAMLPlusPlus,
    "CAVIA": L.CAVIA,
    "iMAML": L.ImplicitMAML,
    "Reptile": L.Reptile,
    "ParameterMemory, 4 slots": lambda *a, **k: L.ParameterMemory(*a, memory_size=4, **k),
}


def compiled(make, case):
    network = with_tfmeta.network(case, first_weights(case))
    learner = make(network, inner_learning_rate=0.01, inner_steps=case.inner_steps)
    learner.compile(keras.optimizers.Adam(1e-3), with_tfmeta.loss_of(case), metrics=["accuracy"])
    return learner


def run(learner, episodes, steps):
    """Seconds of some outer steps."""
    watch = with_tfmeta.Stopwatch()
    learner.fit(episodes, steps_per_epoch=steps, verbose=0, callbacks=[watch])
    return watch.seconds


def measure(case, options):
    """Learner -> figures, in one case."""
    episodes = tf.data.Dataset.from_tensors(with_tfmeta.meta_batch(meta_batch(case))).repeat()
    learners, steps, first, taken = {}, {}, {}, {}
    for name, make in LEARNERS.items():
        keras.utils.set_random_seed(0)
        learner, began = compiled(make, case), time.perf_counter()
        learner.fit(episodes, steps_per_epoch=1, verbose=0)
        first[name] = time.perf_counter() - began
        run(learner, episodes, 2)
        steps[name] = max(2, round(options.seconds / (run(learner, episodes, 2) / 2)))
        learners[name], taken[name] = learner, []
        print(f"  {name}: first step {first[name]:.1f} s", flush=True)
    for _ in range(options.rounds):
        for name, learner in learners.items():
            taken[name].append(run(learner, episodes, steps[name]) / steps[name])
    medians = {name: statistics.median(values) for name, values in taken.items()}
    return {
        name: {
            "tasks_per_s": case.tasks / seconds,
            "of_MAML": medians["MAML"] / seconds,
            "spread": [min(taken[name]) / seconds, max(taken[name]) / seconds],
            "first_step_s": first[name],
        }
        for name, seconds in medians.items()
    }


def table(results):
    """Markdown: the rate and, in brackets, the multiple of MAML's."""
    cases = list(results["cases"])
    lines = [f"| learner | {' | '.join(cases)} |", "|---" * (len(cases) + 1) + "|"]
    for name in results["cases"][cases[0]]:
        cells = [results["cases"][case][name] for case in cases]
        cells = [f"{c['tasks_per_s']:.0f} ({c['of_MAML']:.2f}x)" for c in cells]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of a round, about")
    options = parser.parse_args()
    results = {
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "versions": with_tfmeta.VERSIONS,
        **vars(options),
        "busy": busy_share(),
        "cases": {},
    }
    for name in ("omniglot-stride-1", "omniglot-stride-5"):
        print(name, flush=True)
        results["cases"][name] = measure(CASES[name], options)
        keras.backend.clear_session()
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
