"""The policies of `benchmarks.environments_speed`, in NumPy, and how its workers answer."""

import itertools
import json
import sys
import time

import numpy as np

POINT_ROWS, POINT_STEPS = 800, 100  # 40 tasks of 20 trajectories, as MAML's navigation
CARTPOLE_STEPS = 500
CARTPOLE = {"length": (0.5, 0.5), "masspole": (0.1, 0.1), "force_mag": (10.0, 10.0)}


def point_weights():
    """Of a network 2-100-100-2 with ReLU: pairs of a kernel and a bias."""
    rng = np.random.default_rng(0)
    sizes = [2, 100, 100, 2]
    return [
        ((rng.standard_normal(s) / np.sqrt(s[0])).astype("float32"), np.zeros(s[1], "float32"))
        for s in itertools.pairwise(sizes)
    ]


def cartpole_weights():
    """A network 4-32-2 with tanh that holds the pole: its last unit leans where the pole does."""
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((4, 32)).astype("float32")
    hidden[:, -1] = [0.05, 0.1, 1.0, 0.3]
    out = 0.01 * rng.standard_normal((32, 2)).astype("float32")
    out[-1] = [-200.0, 200.0]
    return hidden, out


def answer(contenders):
    """Run a contender for each line of stdin that names it, and print what it took.

    Args:
        contenders: dict from a name to a function without arguments that returns the number of
            steps that were lived through.
    """
    for line in sys.stdin:
        run = contenders[line.strip()]
        cpu, wall = time.process_time(), time.perf_counter()
        steps = int(run())
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        print(json.dumps({"steps": steps, "cpu": cpu, "wall": wall}), flush=True)
