"""An exported learner learns new tasks in a process with TensorFlow alone, for every learner."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tasks
from conformance import catalogue

import tfmeta
from tfmeta import serving

ALONE = pathlib.Path(__file__).with_name("tensorflow_alone.py")
# A kind each: gradient steps with BatchNormalization, a metric, a sequence, a neural process.
QUICK = ("MAML-transductive", "ProtoNet", "SNAIL-images", "CNP")


def check(names, folder):
    """Export the rows of these names, use them without tfmeta, and compare with the learner."""
    expected = {}
    for name in names:
        row = catalogue.ROWS[name]
        learner, episodes = catalogue.learner_to_read(row), row.episodes()
        support, query = tasks.one(episodes.support), tasks.one(episodes.query)
        some = tfmeta.Examples(*[t[::2] for t in support])  # a row a class, of pictures
        like = {"like": support} if name in ("R2D2", "DKT") else {}  # its targets are of any width
        learner.export(folder / name, **like)
        serving.load(folder / name)  # nothing in it that a stranger's file may not hold
        second = {"x_2": some.x, "y_2": some.y}
        np.savez(folder / f"{name}.npz", x=support.x, y=support.y, query=query.x, **second)
        for end, task in (("", support), ("_2", some)):
            outputs = learner.predict_query(learner.adapt(task), query.x)
            expected[f"{name}{end}"] = np.array(outputs)
    done = subprocess.run(
        [sys.executable, ALONE, folder], capture_output=True, encoding="utf-8", cwd=folder
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for name, outputs in expected.items():
        found = np.load(folder / f"{name}.npy")
        np.testing.assert_allclose(found, outputs, rtol=1e-5, atol=1e-5, err_msg=name)


def test_four_kinds_learn_with_tensorflow_alone(tmp_path):
    check(QUICK, tmp_path)


@pytest.mark.slow
def test_every_learner_learns_with_tensorflow_alone(tmp_path):
    check(catalogue.ROWS, tmp_path)
