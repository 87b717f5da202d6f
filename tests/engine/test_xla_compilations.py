"""XLA compiles a training step once, and never again when only weights change."""

import itertools
import os
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tasks
from conformance import catalogue

import tfmeta

STEPS = 20
SLOW_PARTS = 3  # each in a process: all in one takes ten minutes
MARK = "weights changed"


# One of each kind: their steps differ in what XLA sees.
QUICK = {"MAML-strided", "ProtoNet", "CNP"}


def learners(part):
    """`(learner, loss, episodes)` of a part of the slow test, or with None of the quick one."""
    found = everything(part is not None)
    return found if part is None else itertools.islice(found, part, None, SLOW_PARTS)


def everything(slow):
    """The table of learners, and networks with pooling.

    Not those that ask Keras for no XLA at all: it would take minutes over a sequence.
    """
    for name, row in catalogue.ROWS.items():
        learner = row.make() if (name in QUICK) != slow else None
        if learner is not None and learner.supports_jit:
            yield learner, tasks.CROSSENTROPY if row.images else "mse", row.episodes()
    networks = tfmeta.networks
    if slow:
        pooled = [
            tfmeta.learners.MAML(networks.conv4((8, 8, 1), 3, 4, norm="group")),
            tfmeta.learners.MAML(networks.resnet12((8, 8, 1), 3, widths=(4, 4))),
        ]
    else:
        pooled = [
            tfmeta.learners.MAML(networks.conv4((8, 8, 1), 3, 4), transductive=True),
            tfmeta.learners.ProtoNet(networks.conv4((8, 8, 1), None, 4)),
        ]
    for learner in pooled:
        yield learner, tasks.CROSSENTROPY, tasks.images()


def train(part):
    """Twenty real steps of each learner, the weights updated in each."""
    for learner, loss, episodes in learners(part):
        learner.compile(keras.optimizers.Adam(1e-2), loss=loss, jit_compile=True)
        learner.prepare(tasks.dataset(episodes, 1))
        before = [v.numpy() for v in learner.trainable_variables]
        learner.fit(tasks.dataset(episodes, STEPS), verbose=0)
        after = learner.trainable_variables
        if not all(np.allclose(a, b) for a, b in zip(before, after, strict=True)):
            print(MARK)


@pytest.mark.parametrize(
    "part", [None, *(pytest.param(i, marks=pytest.mark.slow) for i in range(SLOW_PARTS))]
)
def test_compiles_once(part):
    root = pathlib.Path(__file__).parents[2]
    # TensorFlow's own log of compilations: "Compiled __inference_one_step_on_data_7 1 times".
    environment = os.environ | {
        "TF_CPP_MIN_LOG_LEVEL": "0",
        "TF_CPP_VMODULE": "device_compilation_profiler=1",
        "PYTHONPATH": os.pathsep.join(map(str, (root, root / "tests"))),
    }
    run = subprocess.run(
        [sys.executable, __file__, *([] if part is None else [str(part)])],
        env=environment,
        text=True,
        capture_output=True,
        check=True,
    )
    compiled = re.findall(r"Compiled \w*one_step_on_data\w* (\d+) times", run.stderr)
    expected = len(list(learners(part)))
    assert run.stdout.count(MARK) == expected
    assert compiled == ["1"] * expected


if __name__ == "__main__":
    train(int(sys.argv[1]) if sys.argv[1:] else None)
