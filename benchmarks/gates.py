"""Train the LSTM meta-learner as `benchmarks.accuracy` does, and draw its gates.

    python -m benchmarks.gates [--seed 1]
    python -m benchmarks.gates --case omniglot-short --beside MAML   # needs Omniglot: TFDS_DATA_DIR

5-way 1-shot, five inner steps; the gates are those of one validation meta-batch of 8 tasks. Writes
benchmarks/results/gates.png (gates_glyphs-5.png, gates_omniglot.png), and prints what the learner
scores on the test episodes. The methods that `--beside` names are trained after it, and meet the
same episodes.
"""

import argparse
import pathlib
import time

import keras

import tfmeta
from benchmarks.methods import METHODS
from benchmarks.workers import with_learner

FOLDER = pathlib.Path(__file__).parent / "results"
PICTURES = {
    "glyphs-1": "gates.png",
    "glyphs-5": "gates_glyphs-5.png",
    "omniglot-short": "gates_omniglot.png",
}
NAME = "LSTM meta-learner"


def train(name, case_name, seed):
    """`(learner, case, seconds of CPU)` of one training, which goes on where it was stopped."""
    method = METHODS[name]
    case, arguments = method.case(case_name), method.arguments(case_name)
    file = "".join(c if c.isalnum() else "_" for c in name)
    folder = with_learner.unfinished(
        f"outputs/gates.{case_name}.{file}.{seed}.npz", repr((case, arguments))
    )
    keras.utils.set_random_seed(seed)
    watch, began = with_learner.Watch(case, folder), time.process_time()
    with_learner.meta_train(case, method, arguments, seed, watch)
    return watch.learner, case, time.process_time() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", default="glyphs-1", choices=PICTURES)
    parser.add_argument("--beside", nargs="*", default=[], choices=METHODS, metavar="METHOD")
    options = parser.parse_args()
    reports = {}
    for name in (NAME, *options.beside):
        learner, case, cpu_s = train(name, options.case, options.seed)
        if name == NAME:
            validation = next(iter(with_learner.episodes(case, "validation", 500, case.tasks)))
            picture = FOLDER / PICTURES[options.case]
            tfmeta.evaluation.plot_gates(learner, validation, picture)
            print(f"picture: {picture}")
        test = with_learner.episodes(case, "test", 1000, case.test)
        report = tfmeta.evaluation.evaluate_episodes(learner, test, case.test, verbose=0)
        reports[name] = report
        print(f"{name}: {report}; {case.steps:,} outer steps, {cpu_s:.0f} s of CPU", flush=True)
    for name in options.beside:
        print(f"{NAME} less {name}: {reports[NAME].difference(reports[name])}")


if __name__ == "__main__":
    main()
