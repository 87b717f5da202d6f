"""This checkout's tfmeta against another one's: first step, steps and memory, in turn, in one run.

    git worktree add ~/before 4709efe
    python -m benchmarks.against ~/before [--first A,B] [--cases a,b] [--rounds N] [--output FILE]

Both trees are measured by these very files: each process runs in a folder that holds links to
this `benchmarks` and to one tree's `tfmeta`. First steps are taken in new processes, this tree's
and the other's by turns, from `fit` to the end of its first batch, with the learners' own inner
steps unless a name says them ("MAML-5"), on the case "omniglot-stride-1" with 32 filters and
metrics. The cases are those of `benchmarks.speed`; there both processes live side by side, and
rounds of two seconds go around between them. Figures are medians, ratios this tree by the other:
below 1 is better. It prints what it finds, and writes it to `--output` if that is given.
"""

import argparse
import contextlib
import dataclasses
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmarks.cases import CASES, first_weights, meta_batch
from benchmarks.contenders import ROOT, Worker
from benchmarks.machine import busy_share, machine
from benchmarks.speed import take_rounds

FIRST = ("MAML-1", "MAML-5", "ImplicitMAML", "ALFA-5", "MAMLPlusPlus")
STEPS = ("sinusoid-1", "sinusoid-5", "omniglot-1", "omniglot-5", "omniglot-stride-5")


@contextlib.contextmanager
def tree(checkout):
    """A folder in which these benchmarks find the tfmeta of a checkout."""
    package = pathlib.Path(checkout).expanduser().resolve() / "tfmeta"
    if not (package / "__init__.py").exists():
        sys.exit(f"Expected a checkout of tfmeta. Received: {checkout}, without tfmeta/__init__.py")
    with tempfile.TemporaryDirectory() as folder:
        for source in (ROOT / "benchmarks", package):
            (pathlib.Path(folder) / source.name).symlink_to(source)
        yield folder


def first_step(name):
    """Seconds from `fit` to the end of its first batch, and the loss there; prints JSON."""
    import keras
    import tensorflow as tf

    import tfmeta
    from benchmarks.workers import with_tfmeta

    case = dataclasses.replace(CASES["omniglot-stride-1"], width=32)
    learner, _, steps = name.partition("-")
    arguments = {"inner_steps": int(steps), "inner_learning_rate": 0.1} if steps else {}
    network = with_tfmeta.network(case, first_weights(case))
    learner = getattr(tfmeta.learners, learner)(network, **arguments)
    learner.compile("adam", with_tfmeta.loss_of(case), metrics=["accuracy"])
    episodes = tf.data.Dataset.from_tensors(with_tfmeta.meta_batch(meta_batch(case))).repeat()
    ends = []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: ends.append(time.perf_counter())
    )
    began = time.perf_counter()
    history = learner.fit(episodes, steps_per_epoch=1, verbose=0, callbacks=[watch]).history
    print(json.dumps({"seconds": ends[0] - began, "loss": history["loss"][0]}))


def first_steps(names, folders, rounds):
    """Learner -> {tree: [seconds of each round]}; the losses must agree."""
    found = {}
    for name in names:
        command = [sys.executable, "-m", "benchmarks.against", "--take", name]
        taken = {label: [] for label in folders}
        losses = set()
        for _ in range(rounds):
            for label, folder in folders.items():
                run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
                if run.returncode:
                    sys.exit(f"{name}, {label}:\n{run.stderr[-2000:]}")
                answer = json.loads(run.stdout.splitlines()[-1])
                taken[label].append(answer["seconds"])
                losses.add(round(answer["loss"], 4))
        found[name] = taken
        note = "" if len(losses) == 1 else f"   LOSSES DIFFER: {sorted(losses)}"
        report(f"first step, {name}", taken, "s", note)
    return found


def steps(name, folders, rounds):
    """Of one case, each by tree: `{"step_s": [seconds], "peak_mib": [MiB]}`."""
    with tempfile.TemporaryDirectory() as data, contextlib.ExitStack() as stack:
        file = pathlib.Path(data) / "case.npz"
        np.savez(file, **first_weights(CASES[name]), **meta_batch(CASES[name]))
        workers, before = {}, {}
        for label, folder in folders.items():
            worker = workers[label] = stack.enter_context(Worker("tfmeta", None, folder))
            worker.load(CASES[name], file)
            before[label] = worker.ask("memory", reset=True)["now"]
            worker.ask("first")
        errors = {label: {} for label in folders}
        seconds = take_rounds(workers, errors, rounds, seconds=2.0)
        if any(errors.values()):
            sys.exit(f"{name}: a tree stopped, see above.")
        peaks = {
            label: [(worker.ask("memory")["peak"] - before[label]) / 2**20]
            for label, worker in workers.items()
        }
    report(f"step, {name}", seconds, "s")
    report(f"peak memory, {name}", peaks, "MiB")
    return {"step_s": seconds, "peak_mib": peaks}


def report(what, taken, unit, note=""):
    here, there = (statistics.median(values) for values in taken.values())
    print(f"{what:32} {here:10.4g} {there:10.4g} {unit:4} {here / there:6.2f}x{note}", flush=True)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", nargs="?", help="folder of the other tree")
    parser.add_argument("--first", default=",".join(FIRST), help="learners; '' leaves it out")
    parser.add_argument("--cases", default=",".join(STEPS), help="cases; '' leaves it out")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument("--take", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.take and not options.checkout:
        parser.error("Expected the folder of another checkout.")
    return options


def main():
    options = parse()
    if options.take:
        return first_step(options.take)
    first, cases = ([n for n in part.split(",") if n] for part in (options.first, options.cases))
    with tree(ROOT) as here, tree(options.checkout) as there:
        folders = {"this tree": here, options.checkout: there}
        print(f"{'':32} {'this tree':>10} {'other':>10} {'':4} {'ratio':>7}")
        found = {"machine": machine(), "busy": busy_share(), "rounds": options.rounds}
        found["first_step_s"] = first_steps(first, folders, options.rounds)
        found["cases"] = {n: steps(n, folders, 2 * options.rounds + 1) for n in cases}
    if options.output:
        options.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
