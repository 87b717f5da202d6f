"""Train the LSTM meta-learner as `benchmarks.accuracy` does on glyphs, and draw its gates.

    python -m benchmarks.gates [--seed 1]

5-way 1-shot, five inner steps; the gates are those of one validation meta-batch of 8 tasks. Writes
benchmarks/results/gates.png, and prints what the learner scores on the test episodes.
"""

import argparse
import pathlib
import time

import keras

import tfmeta
from benchmarks.methods import METHODS
from benchmarks.workers import with_learner

PICTURE = pathlib.Path(__file__).parent / "results" / "gates.png"
NAME = "LSTM meta-learner"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", default="glyphs-1", choices=["glyphs-1", "glyphs-5"])
    options = parser.parse_args()
    method = METHODS[NAME]
    case, arguments = method.case(options.case), method.arguments(options.case)
    folder = with_learner.unfinished(f"outputs/gates.{options.seed}.npz", repr((case, arguments)))
    keras.utils.set_random_seed(options.seed)
    watch, began = with_learner.Watch(case, folder), time.process_time()
    with_learner.meta_train(case, method, arguments, options.seed, watch)
    print(f"{time.process_time() - began:.0f} s of CPU")
    validation = next(iter(with_learner.episodes(case, "validation", 500, case.tasks)))
    tfmeta.evaluation.plot_gates(watch.learner, validation, PICTURE)
    print(f"picture: {PICTURE}")
    test = with_learner.episodes(case, "test", 1000, case.test)
    print(tfmeta.evaluation.evaluate_episodes(watch.learner, test, case.test, verbose=0))


if __name__ == "__main__":
    main()
