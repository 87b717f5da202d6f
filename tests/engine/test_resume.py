"""A run killed in the middle of an epoch goes on with the episodes it would have seen next."""

import json
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest

TESTS = pathlib.Path(__file__).parents[1]


def run(folder, save_freq, kill_at=0):
    """Steps `(number, first value of the meta-batch)` of one process, and its exit code."""
    folder.mkdir(exist_ok=True)
    log = folder / "seen.jsonl"
    log.unlink(missing_ok=True)
    result = subprocess.run(
        [sys.executable, TESTS / "engine/resumed_run.py", folder, str(save_freq), str(kill_at)],
        env={"PYTHONPATH": f"{TESTS.parent}:{TESTS}", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode in (0, -signal.SIGKILL), result.stderr[-3000:]
    return [json.loads(line) for line in log.read_text().splitlines()], result.returncode


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    steps, _ = run(folder, "epoch")
    assert [number for number, _ in steps] == list(range(12))
    return [value for _, value in steps], np.load(folder / "end.npy")


def test_epoch_backup(uninterrupted, tmp_path):
    values, weights = uninterrupted
    _, code = run(tmp_path, "epoch", kill_at=6)
    assert code == -signal.SIGKILL
    steps, code = run(tmp_path, "epoch")
    # The epoch that was cut off starts again, with its own episodes.
    assert code == 0
    assert [number for number, _ in steps] == list(range(4, 12))
    assert [value for _, value in steps] == values[4:]
    np.testing.assert_allclose(np.load(tmp_path / "end.npy"), weights, rtol=1e-6)


def test_backup_within_an_epoch(uninterrupted, tmp_path):
    values, _ = uninterrupted
    _, code = run(tmp_path, 3, kill_at=8)
    assert code == -signal.SIGKILL
    steps, code = run(tmp_path, 3)
    assert code == 0
    # Saved after 6 steps, in epoch 1: Keras counts that epoch anew, the episodes go on.
    assert [number for number, _ in steps] == list(range(6, 14))
    assert [value for _, value in steps][:6] == values[6:]
