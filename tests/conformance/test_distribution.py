"""Two devices equal one. In a process of its own: logical CPUs are set before TensorFlow starts."""

import pathlib
import subprocess
import sys

import pytest
from conformance import catalogue

TESTS = pathlib.Path(__file__).parents[1]
# Quick rows whose state, loss and outer gradient go over devices as those of another quick row.
ALIKE = {"MAML-strided", "ProtoNet-dense", "R2D2"}


def rows(slow):
    """Name -> row, those that the slow test goes through or the others."""
    return {
        name: row
        for name, row in catalogue.ROWS.items()
        if (row.slow or row.second or name in ALIKE) == slow
    }


@pytest.mark.parametrize("slow", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_two_logical_cpus_equal_one(slow):
    script = TESTS / "conformance" / "two_devices.py"
    result = subprocess.run(
        [sys.executable, script, *["--slow"] * slow],
        capture_output=True,
        text=True,
        timeout=900,
        env={"PYTHONPATH": f"{TESTS.parent}:{TESTS}", "PATH": ""},
    )
    lines = [line.split()[1:] for line in result.stdout.splitlines() if line.startswith("RESULT")]
    assert [name for name, _ in lines] == list(rows(slow)), result.stderr[-3000:]
    assert {name: error for name, error in lines if float(error) > 1e-5} == {}
