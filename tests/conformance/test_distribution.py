"""Two devices equal one. In a process of its own: logical CPUs are set before TensorFlow starts."""

import pathlib
import subprocess
import sys

import pytest
from conformance import catalogue

TESTS = pathlib.Path(__file__).parents[1]


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
    assert [name for name, _ in lines] == list(catalogue.rows(slow)), result.stderr[-3000:]
    assert {name: error for name, error in lines if float(error) > 1e-5} == {}
