"""Two devices equal one. In a process of its own: logical CPUs are set before TensorFlow starts."""

import pathlib
import subprocess
import sys

import pytest
from conformance import catalogue

TESTS = pathlib.Path(__file__).parents[1]
# Quick rows whose state, loss and outer gradient go over devices as those of another quick row.
ALIKE = {"MAML", "MAML-strided", "ProtoNet-dense", "R2D2", "method-of-its-own"}


# The slow rows go in parts, each in a process: all in one took 15 minutes and 6 GB.
SLOW_PARTS = 4


def rows(part):
    """Name -> row, those of a part of the slow test, or with None those of the quick one."""
    slow, quick = {}, {}
    for name, row in catalogue.ROWS.items():
        (slow if row.slow or row.second or name in ALIKE else quick)[name] = row
    return quick if part is None else dict(list(slow.items())[part::SLOW_PARTS])


@pytest.mark.parametrize(
    "part", [None, *(pytest.param(i, marks=pytest.mark.slow) for i in range(SLOW_PARTS))]
)
def test_two_logical_cpus_equal_one(part):
    script = TESTS / "conformance" / "two_devices.py"
    result = subprocess.run(
        [sys.executable, script, *([] if part is None else [str(part)])],
        capture_output=True,
        text=True,
        timeout=900,
        env={"PYTHONPATH": f"{TESTS.parent}:{TESTS}", "PATH": ""},
    )
    lines = [line.split()[1:] for line in result.stdout.splitlines() if line.startswith("RESULT")]
    assert [name for name, _ in lines] == list(rows(part)), result.stderr[-3000:]
    assert {name: error for name, error in lines if float(error) > 1e-5} == {}
