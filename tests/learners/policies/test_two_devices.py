"""Policies on two devices equal those on one: what is normalised, is so over both."""

import pathlib
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).with_name("two_devices.py")
ROOT = SCRIPT.parents[3]


@pytest.mark.slow
def test_two_logical_cpus_equal_one():
    """In a process of its own: logical CPUs are set before TensorFlow starts."""
    run = subprocess.run(
        [sys.executable, SCRIPT],
        capture_output=True, text=True, timeout=900, env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )  # fmt: skip
    lines = [line.split()[1:] for line in run.stdout.splitlines() if line.startswith("RESULT")]
    names = ["RL2", "RL2-rewards", "SNAILPolicy", "VariBAD", "MAMLPPO", "ProMP"]
    assert [name for name, _ in lines] == names, run.stderr[-3000:]
    assert {name: error for name, error in lines if float(error) > 1e-5} == {}
    assert "REFUSED Expected one device for MAMLTRPO" in run.stdout
