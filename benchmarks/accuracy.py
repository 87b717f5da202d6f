"""Every method on the same episodes: score, interval, speed, memory.

    python -m benchmarks.accuracy [--cases a,b] [--methods "MAML;CAVIA"] [--seeds 0 1 2]
    python -m benchmarks.accuracy --table    # table and plot of the trainings that are there

Each training is a process of its own, on one core (`--workers` at a time). A run that was stopped
goes on where it was: finished trainings lie in outputs/accuracy/ and are made again only if their
settings changed (`benchmarks.methods`). All methods of a case are scored on the same test
episodes; the interval is that of the mean over episodes of scores that are means over the seeds,
and the difference from MAML is paired. Writes benchmarks/results/accuracy.json and .png: a part of
the comparison replaces its own rows alone, and none that has more seeds. Hours on 2
cores. Omniglot is not among the cases by default: an hour for each of five trainings
(`--cases omniglot-1 --seeds 0`), and tensorflow-datasets fetches it (TFDS_DATA_DIR).
"""

import argparse
import concurrent.futures
import functools
import itertools
import json
import os
import pathlib
import queue
import subprocess
import sys
import time

import numpy as np

from benchmarks import accuracy_report, accuracy_results
from benchmarks.accuracy_results import REFERENCE
from benchmarks.contenders import ROOT
from benchmarks.methods import BY_DEFAULT, CASES, METHODS, job_text, jobs

RESULTS = pathlib.Path(__file__).parent / "results" / "accuracy.json"
WORKER = "benchmarks.workers.with_learner"


def file_of(folder, job):
    case, method, seed = job
    name = "".join(c if c.isalnum() or c in "+-" else "_" for c in method)
    return folder / f"{case}.{name}.{seed}.npz"


def load(folder, job):
    """`(scores, facts)` of a finished training; None if it is not there, or of other settings."""
    case, method, _ = job
    path = file_of(folder, job)
    if not path.exists():
        return None
    with np.load(path) as stored:
        if str(stored["job"]) != job_text(case, method):
            return None
        return stored["scores"], json.loads(str(stored["facts"]))


def train(folder, job, cores):
    """Run one training in a process of its own, on one of the free cores; its seconds."""
    core, began = cores.get(), time.time()
    path = file_of(folder, job)
    unfinished = path.with_suffix(".part.npz")
    try:
        with open(path.with_suffix(".log"), "w") as log:
            subprocess.run(
                [sys.executable, "-m", WORKER, job[0], job[1], str(job[2]), unfinished],
                cwd=ROOT, check=True, stdout=log, stderr=subprocess.STDOUT,
                preexec_fn=lambda: os.sched_setaffinity(0, {core}),
            )  # fmt: skip
        unfinished.rename(path)  # whole or not at all
    finally:
        cores.put(core)
    return time.time() - began


def train_all(folder, wanted, workers):
    """Train what is not there yet, and say how far it is."""
    left = [job for job in wanted if load(folder, job) is None]
    print(f"{len(wanted) - len(left)} of {len(wanted)} trainings are there already", flush=True)
    cores, began, failed = queue.Queue(), time.time(), []
    for core in sorted(os.sched_getaffinity(0))[:workers]:
        cores.put(core)
    begin = functools.partial(train, folder, cores=cores)
    for done, (job, future) in enumerate(in_turn(begin, left, cores.qsize()), 1):
        if future.exception() is not None:
            failed.append(job)
            log = file_of(folder, job).with_suffix(".log")
            print(f"{job} FAILED, see {log}", file=sys.stderr, flush=True)
            continue
        minutes = (time.time() - began) / done * (len(left) - done) / 60
        score = load(folder, job)[0].mean()
        print(
            f"[{done}/{len(left)}] {job[0]}, {job[1]}, seed {job[2]}: {score:.4g} in "
            f"{future.result():.0f} s; about {minutes:.0f} min left", flush=True,
        )  # fmt: skip
    return failed


def in_turn(begin, left, at_once):
    """Run begin(job) for each, some at a time; `(job, future)` as they end.

    A job is handed out by this thread when another one ends. Given all of them, the pool's threads
    would begin the next ones by themselves after Ctrl-C, which ends this thread and the trainings.
    """
    left, running = iter(left), {}
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        while True:
            for job in itertools.islice(left, at_once - len(running)):
                running[pool.submit(begin, job)] = job
            if not running:
                return
            first = concurrent.futures.FIRST_COMPLETED
            ended = concurrent.futures.wait(running, return_when=first).done
            yield from [(running.pop(future), future) for future in ended]


def summary(folder, case, seeds):
    """Method -> its settings and figures, over the seeds that are there."""
    methods = accuracy_results.methods_of(case)
    found = {m: {s: load(folder, (case, m, s)) for s in seeds} for m in methods}
    found = {m: {s: run for s, run in runs.items() if run} for m, runs in found.items()}
    return {
        m: {"settings": job_text(case, m), **figures(runs, found.get(REFERENCE, {}))}
        for m, runs in found.items()
        if runs
    }


def figures(runs, reference):
    """Of one method: seed -> (scores, facts), the same of MAML. Differences are of equal seeds."""
    scores = np.stack([scores for scores, _ in runs.values()])
    facts = [facts for _, facts in runs.values()]
    result = {
        "score": mean_and_interval(scores.mean(0)),
        "of_seeds": {str(seed): float(scores.mean()) for seed, (scores, _) in runs.items()},
        "curve": np.mean([fact["curve"] for fact in facts], axis=0).tolist(),
        "versions": facts[0]["versions"],
        "cores": facts[0]["cores"],
    }
    differences = [runs[seed][0] - reference[seed][0] for seed in runs if seed in reference]
    if differences:
        result["minus_MAML"] = mean_and_interval(np.mean(differences, axis=0))
    for name in ("tasks_per_s", "first_step_s", "peak_mib", "train_s"):
        values = [fact[name] for fact in facts]
        result[name] = None if None in values else float(np.median(values))
    return result


def mean_and_interval(scores):
    """Mean over the episodes, and half the width of its 95 % interval."""
    # Here: it brings TensorFlow with it, which knowing what is left to train does not need.
    from tfmeta.evaluation import EvaluationReport

    report = EvaluationReport(scores)
    return [report.mean, report.interval]


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--cases", help=f"some of: {','.join(CASES)}; all but omniglot-1 by default"
    )
    parser.add_argument("--methods", help=f"some of: {'; '.join(METHODS)}, separated by ;")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--table", action="store_true", help="train nothing")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("outputs/accuracy"))
    options = parser.parse_args()
    options.cases = options.cases.split(",") if options.cases else BY_DEFAULT
    options.methods = options.methods.split(";") if options.methods else list(METHODS)
    unknown = {*options.cases} - {*CASES} | {*options.methods} - {*METHODS}
    if unknown:
        parser.error(f"no such case or method: {', '.join(sorted(unknown))}")
    return options


def main():
    options = parse()
    failed = []
    if not options.table:
        options.folder.mkdir(parents=True, exist_ok=True)
        wanted = jobs(options.cases, options.methods, options.seeds)
        failed = train_all(options.folder, wanted, options.workers)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for case in options.cases:
        rows = summary(options.folder, case, options.seeds)
        if rows:
            results[case] = accuracy_results.entry(case, rows, results.get(case))
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    accuracy_report.show(results, RESULTS.with_suffix(".png"))
    sys.exit(f"{len(failed)} trainings failed" if failed else 0)


if __name__ == "__main__":
    main()
