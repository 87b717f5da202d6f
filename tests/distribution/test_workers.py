"""Two workers equal one process; what goes wrong with them is said, and hangs nothing."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from tfmeta import distribution

TESTS = pathlib.Path(__file__).parents[1]
# Seconds that a fault may take from its start, TensorFlow's included, until all have stopped.
IN_TIME = 60
CLUSTER = {"chief": ["a:1"], "worker": ["b:2", "c:3"]}


def said(script, *arguments):
    """The lines of JSON that a script prints."""
    result = subprocess.run(
        [sys.executable, TESTS / "distribution" / script, *map(str, arguments)],
        env={"PYTHONPATH": f"{TESTS.parent}:{TESTS}", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=3600,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]


@pytest.mark.parametrize(
    ("steps", "names"),
    [
        (3, ["small"]),
        pytest.param(50, ["MAML", "MAMLPlusPlus", "ProtoNet", "Reptile"], marks=pytest.mark.slow),
    ],
)
def test_two_workers_equal_one_process(steps, names, tmp_path):
    lines = said("two_workers.py", tmp_path, steps, *names)
    assert [line["ends"] for line in lines if "ends" in line] == [[0, 0, 0]], lines
    found = {line["learner"]: line for line in lines if "learner" in line}
    assert list(found) == names
    # Weights, state and history; the workers among themselves bit for bit.
    assert {n: line["errors"] for n, line in found.items() if line["error"] > 1e-5} == {}
    assert all(line["same"] for line in found.values())


def test_faults_are_named_in_time(tmp_path):
    faults = ["late", "leaderless", "port", "clusters", "sizes", "same"]
    lines = said("faulty_workers.py", tmp_path, *faults)
    errors, of_fault, seconds = [], {}, {}
    for line in lines:
        if "error" in line:
            errors.append(f"{line['error']}: {line['text']}")
        elif "fault" in line:
            of_fault[line["fault"]] = (line["ends"], sorted(errors))
            seconds[line["fault"]] = line["seconds"]
            errors = []
    assert list(of_fault) == faults
    ended = {name: found for name, (found, _) in of_fault.items()}
    both = {name: [-1, -1] for name in faults[2:]}
    assert ended == {"late": [-1, 0], "leaderless": [0, -1]} | both
    assert max(seconds.values()) < IN_TIME, seconds
    texts = {name: " | ".join(found) for name, (_, found) in of_fault.items()}
    assert "TimeoutError: Expected all 2 workers to start in time. Rec" in texts["late"]
    assert "no word of worker 1 (localhost:" in texts["late"]
    assert "TimeoutError: Expected worker 0 at localhost:" in texts["leaderless"]
    assert "OSError: [Errno 98] Expected port" in texts["port"]
    assert "no word of worker 1" in texts["port"], "the other one waits no longer, either"
    assert texts["clusters"].count("ValueError: Expected one cluster in TF_CONFIG") == 2
    assert texts["sizes"].count("meta_batch_size in all workers. Received: [2, 4], by worker") == 2
    assert texts["same"].count("Received: the same first meta-batch in several of the 2 w") == 2


@pytest.mark.slow
def test_a_killed_worker_stops_all_and_the_restart_ends_as_if_nothing_was(tmp_path):
    lines = said("faulty_workers.py", tmp_path, "whole", "killed", "elsewhere", "again", "stuck")
    ended = {line["fault"]: line["ends"] for line in lines if "fault" in line}
    seconds = {line["fault"]: line["seconds"] for line in lines if "fault" in line}
    assert seconds["stuck"] < IN_TIME, seconds
    both = [-1, -1]
    assert ended == {
        "whole": [0, 0], "killed": [-1, 9], "elsewhere": both, "again": [0, 0], "stuck": both
    }  # fmt: skip
    killed, *others = [line for line in lines if "error" in line]
    assert killed["error"] == "ConnectionError"
    assert killed["text"].startswith("Expected all 2 workers to stay until the end. Received: ")
    assert "worker 1 stopped or cannot be reached" in killed["text"]
    assert [line["error"] for line in others] == ["ValueError"] * 2 + ["ConnectionError"] * 2
    for line in others[:2]:
        assert "from the same backup. Received: those of outer steps [6, 0]" in line["text"]
    runs = [line for line in lines if "end" in line]
    assert [run["name"] for run in runs] == ["whole", "whole", "killed", "killed"]
    assert {tuple(run["restored"]) for run in runs[2:]} == {(6, 2)}
    assert len({run["end"] for run in runs}) == 1


@pytest.fixture
def tf_config():
    before = os.environ.pop("TF_CONFIG", None)

    def write(**config):
        os.environ["TF_CONFIG"] = json.dumps(config)

    yield write
    os.environ.pop("TF_CONFIG", None)
    if before is not None:
        os.environ["TF_CONFIG"] = before


def test_shares(tf_config):
    assert distribution.share(4) == {"meta_batch_size": 4, "count": None, "start": 0, "step": 1}
    assert distribution.is_chief()
    tf_config(cluster=CLUSTER, task={"type": "worker", "index": 1})
    assert not distribution.is_chief()
    part = {"meta_batch_size": 2, "count": 20, "start": 2, "step": 3}
    assert distribution.share(6, count=60) == part
    for bad in ({"meta_batch_size": 4}, {"meta_batch_size": 3, "count": 5}):
        name = list(bad)[-1]
        with pytest.raises(ValueError, match=f"{name} to be a multiple of the 3 workers"):
            distribution.share(**bad)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"cluster": CLUSTER},
        {"cluster": CLUSTER, "task": {"type": "worker", "index": 2}},
        {"cluster": {"worker": ["a"]}, "task": {"type": "worker", "index": 0}},
    ],
)
def test_a_bad_tf_config_is_named(config, tf_config):
    tf_config(**config)
    with pytest.raises(ValueError, match=r"Expected TF_CONFIG like \{\"cluster\": \{\"worker\""):
        distribution.is_chief()
