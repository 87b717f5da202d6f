"""Memory of an outer step against the number of inner steps.

    python -m tests.engine.test_memory_of_steps ImplicitMAML 100

prints the MiB that two outer steps take at their peak, with what compiling them needs.
"""

import os
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

import tfmeta
from benchmarks.machine import memory

ROOT = pathlib.Path(__file__).parents[2]


def measured(learner, steps):
    run = subprocess.run(
        [sys.executable, __file__, learner, str(steps)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=600,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return float(re.search(r"([\d.]+) MiB", run.stdout)[1])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_implicit_maml_takes_the_same_for_any_number_of_steps():
    implicit = [measured("ImplicitMAML", steps) for steps in (5, 20, 100)]
    unrolled = [measured("MAML", steps) for steps in (5, 20)]
    print(f"ImplicitMAML, 5, 20, 100 steps: {implicit} MiB; MAML, 5, 20 steps: {unrolled} MiB")
    assert max(implicit) < 1.1 * min(implicit)
    assert unrolled[1] > 1.5 * unrolled[0]  # what it saves


def main(learner, steps):
    """Conv4-32, 5-way 5-shot with 5 queries a class, 2 tasks: two outer steps."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    labels = np.tile(np.repeat(np.arange(5), 5), (2, 1))
    pictures = [rng.random((2, 25, 28, 28, 1)).astype("float32") for _ in range(2)]
    episodes = tuple(tfmeta.Examples(x, labels) for x in pictures)
    learner = getattr(tfmeta.learners, learner)(
        tfmeta.networks.conv4((28, 28, 1), 5, filters=32),
        inner_learning_rate=0.01,
        inner_steps=int(steps),
    )
    learner.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = memory()["now"]
    for _ in range(2):
        learner.train_on_batch(tfmeta.Episode(*episodes))
    print(f"{(memory()['peak'] - before) / 2**20:.0f} MiB")


if __name__ == "__main__":
    main(*sys.argv[1:])
