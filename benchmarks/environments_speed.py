"""Steps a second of environments: in the graph, in loops over Gymnasium, and in JAX.

    python -m benchmarks.environments_speed [--peers-python PATH] [--rounds 15]

All take the same policies, sample their actions, and keep what was lived through. Steps are those
of episodes: rows that wait count nothing. The measure is the processor time of the process, all
cores added up, so that what else the machine does matters little; the wall time is noted, too.
Contenders run in turn, and a ratio is the median of those of a round. The interpreter of
`--peers-python` needs JAX (benchmarks/requirements.txt); without it that row is left out.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

from benchmarks.contenders import ENVIRONMENT, ROOT
from benchmarks.machine import machine
from tools.write_tables import markdown

RESULTS = pathlib.Path(__file__).parent / "results" / "environments_speed.json"
# What stands in a table, and beside which contender.
BESIDE = {
    "cartpole": "loop over Gymnasium",
    "cartpole, XLA": "loop over Gymnasium",
    "Gymnasium's vector": "loop over Gymnasium",
    "gymnasium family": "loop over Gymnasium",
    "point navigation": "JAX, scan and vmap",
    "point navigation, XLA": "JAX, scan and vmap",
}
MODULES = {"tfmeta": "rollouts", "jax": "rollouts_jax"}


def contenders(peers_python):
    """`(worker, what it calls it, name)` of all, in the order of a round."""
    ours = [("tfmeta", name, name) for name in ("loop over Gymnasium", *BESIDE)]
    theirs = [("jax", "point navigation", "JAX, scan and vmap")] if peers_python else []
    return ours + theirs


def measure(rounds, peers_python):
    """Rounds of `{name: {"steps", "cpu", "wall"}}`."""
    pythons = {"tfmeta": sys.executable, "jax": peers_python}
    workers = {
        name: subprocess.Popen(
            [python, "-m", f"benchmarks.workers.{MODULES[name]}"],
            cwd=ROOT, env={**os.environ, **ENVIRONMENT}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )
        for name, python in pythons.items() if python
    }  # fmt: skip

    def once(worker, called):
        process = workers[worker]
        print(called, file=process.stdin, flush=True)
        answer = process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{worker} stopped in {called!r}. Run its module by hand.")
        return json.loads(answer)

    found = []
    for _ in range(rounds + 2):  # the first two compile
        found.append({name: once(w, called) for w, called, name in contenders(peers_python)})
    for process in workers.values():
        process.communicate()
    return found[2:]


def summary(rounds):
    """Median steps a second of processor time and of wall time, and ratios within a round."""

    def rate(one, name, kind):
        return one[name]["steps"] / one[name][kind]

    found = {
        name: {
            f"steps_per_{kind}_second": statistics.median(rate(r, name, kind) for r in rounds)
            for kind in ("cpu", "wall")
        }
        | {"steps": rounds[0][name]["steps"]}
        for name in rounds[0]
    }
    for name, other in BESIDE.items():
        if other in found:
            ratios = sorted(rate(r, name, "cpu") / rate(r, other, "cpu") for r in rounds)
            found[name] |= {"beside": other, "ratio": statistics.median(ratios)}
            found[name]["ratio_range"] = [ratios[0], ratios[-1]]
    return found


def table(results):
    """A row for each contender, in Markdown."""
    rows = []
    for name, found in results["contenders"].items():
        low, high = found.get("ratio_range", (0, 0))
        ratio = f"{found['ratio']:.3g}x ({low:.3g} to {high:.3g})" if "ratio" in found else "-"
        rate = f"{found['steps_per_cpu_second']:,.0f}"
        rows.append((name, rate, found.get("beside", "-"), ratio))
    return markdown(("environment", "steps a CPU second", "beside", "is"), rows)


def versions(python, packages):
    code = f"from importlib.metadata import version as v; print(*map(v, {packages!r}))"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return dict(zip(packages, found.stdout.split(), strict=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--peers-python")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    rounds = measure(options.rounds, options.peers_python)
    results = {
        "contenders": summary(rounds),
        "rounds": options.rounds,
        "machine": machine(),
        "versions": versions(sys.executable, ["tensorflow", "gymnasium", "numpy"]),
    }
    if options.peers_python:
        results["versions"] |= versions(options.peers_python, ["jax", "jaxlib"])
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
