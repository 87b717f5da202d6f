"""Searches in processes of their own: killed and resumed, and as chief and workers."""

import json
import pathlib
import signal
import socket
import subprocess
import sys

import pytest

pytest.importorskip("keras_tuner")
pytest.importorskip("tensorboard", reason="keras-tuner imports it in every trial")

TESTS = pathlib.Path(__file__).parents[1]
pytestmark = pytest.mark.slow


def start(folder, kill_at=-1, **environment):
    return subprocess.Popen(
        [sys.executable, TESTS / "tuning/one_search.py", folder, str(kill_at)],
        env={"PYTHONPATH": ":".join([str(TESTS), *sys.path]), "PATH": ""} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def end(process, code=0):
    output, _ = process.communicate(timeout=600)
    assert process.returncode == code, output[-3000:]


def fits(folder):
    """`(process, trial, rate)` of each fit, in their order."""
    lines = (folder / "fits.txt").read_text().splitlines()
    return [(who, int(trial), rate) for who, trial, rate in map(str.split, lines)]


def scores(folder):
    files = sorted((folder / "search").glob("trial_*/trial.json"))
    trials = [json.loads(path.read_text()) for path in files]
    assert all(trial["status"] == "COMPLETED" for trial in trials)
    return {int(trial["trial_id"]): trial["score"] for trial in trials}


def test_a_killed_search_goes_on(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    end(start(whole))
    end(start(killed, kill_at=2), -signal.SIGKILL)
    assert [trial for _, trial, _ in fits(killed)] == [0, 1, 2]
    end(start(killed))
    # The trial that was cut off is run again, the finished ones are not.
    assert [trial for _, trial, _ in fits(killed)] == [0, 1, 2, 2, 3]
    assert dict(fit[1:] for fit in fits(killed)) == dict(fit[1:] for fit in fits(whole))
    assert scores(killed) == pytest.approx(scores(whole), rel=1e-5)
    end(start(killed))
    assert len(fits(killed)) == 5, "a finished search runs nothing"


def test_chief_and_workers(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(port)}
    names = "chief", "worker1", "worker2"
    processes = [start(tmp_path, KERASTUNER_TUNER_ID=name, **address) for name in names]
    try:
        for process in processes[::-1]:
            end(process)
    finally:
        for process in processes:
            process.kill()
    assert sorted(trial for _, trial, _ in fits(tmp_path)) == [0, 1, 2, 3]
    assert {who for who, _, _ in fits(tmp_path)} <= {"worker1", "worker2"}
    assert sorted(scores(tmp_path)) == [0, 1, 2, 3]
    assert (tmp_path / "search" / "tfmeta.json").exists()
