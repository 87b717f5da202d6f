"""Seconds of one outer step: tfmeta against plain TensorFlow, PyTorch and JAX, in one run.

    python -m benchmarks.speed [--peers-python PATH] [--cases a,b] [--rounds N] [--seconds S]
    python -m benchmarks.speed --memory   # peak memory instead, in fresh processes
    python -m benchmarks.speed --table    # the table and the plot of what was measured before

An outer step is the meta-gradient of second-order MAML (or a ProtoNet's gradient) and the update
by Adam, on the same episodes and from the same weights everywhere (`benchmarks.cases`). Every
contender is a process of its own with all cores; rounds of a few seconds go around between them,
A B C A B C, so that a slow minute of the machine falls on all. Figures are medians over rounds.

First the outer gradients are compared: one that differs from tfmeta's gets no ratio.

The peers live in an environment of their own, `benchmarks/requirements.txt`, whose python
`--peers-python` or the variable TFMETA_PEERS_PYTHON names; `--no-peers` leaves them out.
"""

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import numpy as np

from benchmarks import cases_context, speed_report
from benchmarks.cases import CASES, MEMORY_ONLY, all_arrays, outer_weights
from benchmarks.contenders import KINDS, ROOT, Worker, WorkerError, chosen
from benchmarks.machine import LARGEST_BUSY_SHARE, busy_share, machine

RESULTS = pathlib.Path(__file__).parent / "results" / "speed.json"
NO_PEERS = (
    "Expected the python of an environment with PyTorch, higher and JAX. Received: {}. Make one:\n"
    "    python3 -m venv ~/peers && ~/peers/bin/pip install -r benchmarks/requirements.txt\n"
    "and pass --peers-python ~/peers/bin/python (or set TFMETA_PEERS_PYTHON), or --no-peers."
)


def start(names, case, folder, peers_python, stack):
    """Start the workers one by one, each through its first step.

    Returns:
        `(workers, found)`: name -> `Worker`, and name -> what is known of it, errors too.
    """
    file = folder / "case.npz"
    np.savez(file, **all_arrays(case))
    workers, found = {}, {}
    for name in names:
        worker = stack.enter_context(Worker(name, peers_python))
        try:
            versions = worker.load(case, file)
            found[name] = {"versions": versions, **worker.ask("first")}
            worker.ask("gradient", file=str(folder / f"{name}.npz"))
            workers[name] = worker
        except WorkerError as error:
            found[name] = {"error": str(error)}
            print(f"  {name}: {error}", file=sys.stderr, flush=True)
    return workers, found


def gradient_errors(names, case, folder):
    """Name -> relative difference of its outer gradient from the first one's."""
    gradients = []
    for name in names:
        with np.load(folder / f"{name}.npz") as arrays:
            parts = [np.float64(arrays[weight]).ravel() for weight in outer_weights(case)]
        gradients.append(np.concatenate(parts))
    scale = np.linalg.norm(gradients[0])
    errors = [float(np.linalg.norm(g - gradients[0]) / scale) for g in gradients]
    return dict(zip(names, errors, strict=True))


def take_rounds(workers, found, rounds, seconds):
    """Rounds in turn: name -> seconds per step of each round. A worker that fails is left out."""
    taken = {name: [] for name in workers}
    for _ in range(rounds):
        for name in list(taken):
            try:
                answer = workers[name].ask("round", seconds=seconds)
                taken[name].append(answer["seconds"] / answer["steps"])
            except WorkerError as error:
                found[name]["error"] = str(error)
                print(f"  {name}: {error}", file=sys.stderr, flush=True)
                del taken[name]
    return taken


def summary(case, taken, error):
    median = statistics.median(taken)
    return {
        "step_s": {"median": median, "lowest": min(taken), "highest": max(taken)},
        "tasks_per_s": case.tasks / median,
        "gradient_error": error,
        "agrees": bool(error <= case.largest_error),
    }


def measure_limit(name):
    """`benchmarks.limit` in a process of its own: this one holds no TensorFlow.

    None for a learned rule, whose time goes into what is no matrix product, and where the learner
    makes its layers itself.
    """
    if CASES[name].learner in ("optimizer", *cases_context.LEARNERS):
        return None
    command = [sys.executable, "-m", "benchmarks.limit", name]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


def measure(name, names, options):
    """All figures of one case."""
    case = CASES[name]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        folder = pathlib.Path(folder)
        workers, found = start(names, case, folder, options.peers_python, stack)
        errors = gradient_errors(list(workers), case, folder)
        for contender, error in errors.items():
            differs = "" if error <= case.largest_error else "   DIFFERS: no ratio"
            print(f"  {contender:18} gradient error {error:.1e}{differs}", flush=True)
        busy = busy_share()  # all workers wait
        taken = take_rounds(workers, found, options.rounds, options.seconds)
        busy = max(busy, busy_share())
    if busy > LARGEST_BUSY_SHARE:
        print(f"  WARNING: others use {busy:.0%} of the processors; no fair figures", flush=True)
    for contender, values in taken.items():
        found[contender] |= summary(case, values, errors[contender])
    result = {
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "busy": busy,
        "limit": measure_limit(name),
        "contenders": found,
    }
    speed_report.add_ratios(result)
    return result


def measure_memory(name, names, options):
    """Name -> bytes that the outer steps take on top of the imported library and the data."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "case.npz"
        np.savez(file, **all_arrays(CASES[name]))
        for contender in names:
            try:
                with Worker(contender, options.peers_python) as worker:
                    worker.load(CASES[name], file)
                    before = worker.ask("memory", reset=True)["now"]
                    worker.ask("first")
                    worker.ask("round", seconds=options.seconds)
                    found[contender] = worker.ask("memory")["peak"] - before
            except WorkerError as error:
                print(f"  {contender}: {error}", file=sys.stderr, flush=True)
                continue
            print(f"  {contender:18} {found[contender] / 2**20:8,.0f} MiB", flush=True)
    return found


def peers_python(options):
    """The python of the peers, checked; None without them."""
    if not options.peers:
        return None
    path = options.peers_python
    with contextlib.suppress(OSError):
        if path and not subprocess.run([path, "-c", "import torch, higher, jax"]).returncode:
            return path
    sys.exit(NO_PEERS.format(path or "none"))


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers-python", default=os.environ.get("TFMETA_PEERS_PYTHON"))
    parser.add_argument("--no-peers", dest="peers", action="store_false")
    parser.add_argument("--cases", help=f"some of: {','.join(CASES)}")
    parser.add_argument("--contenders", help=f"some of: {','.join(KINDS)}")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="of a round, about")
    parser.add_argument("--memory", action="store_true", help="measure peak memory instead")
    parser.add_argument("--table", action="store_true", help="measure nothing")
    parser.add_argument("--output", type=pathlib.Path, default=RESULTS)
    options = parser.parse_args()
    default = [name for name in CASES if options.memory or name not in MEMORY_ONLY]
    options.cases = options.cases.split(",") if options.cases else default
    options.contenders = options.contenders.split(",") if options.contenders else None
    unknown = {*options.cases} - {*CASES} | {*(options.contenders or ())} - {*KINDS}
    if unknown:
        parser.error(f"no such case or contender: {', '.join(sorted(unknown))}")
    return options


def main():
    options = parse()
    results = json.loads(options.output.read_text()) if options.output.exists() else {}
    if not options.table:
        options.peers_python = peers_python(options)
    for name in () if options.table else options.cases:
        names = chosen(name, CASES[name], options.contenders, options.peers)
        print(f"{name}: {', '.join(names)}", flush=True)
        if options.memory:
            result = {**results.get(name, {}), "memory": measure_memory(name, names, options)}
        else:
            kept = {k: v for k, v in results.get(name, {}).items() if k == "memory"}
            result = {**measure(name, names, options), **kept}
        # After each case: a run that is stopped keeps what it has.
        results = {case: {**results, name: result}.get(case) for case in CASES}
        results = {case: result for case, result in results.items() if result}
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(results, indent=1) + "\n")
    speed_report.show(results, options.output.with_suffix(".png"))


if __name__ == "__main__":
    main()
