"""`benchmarks.processes`: trains for the minutes asked for, scores, writes figures and pictures."""

import json

import pytest

pytest.importorskip("matplotlib")

import tfmeta
from benchmarks import processes


def test_a_short_run(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "RESULTS", tmp_path / "processes.json")
    words = "processes --methods CNP --kernels periodic --minutes 0.01 --count 16"
    monkeypatch.setattr("sys.argv", words.split())
    processes.main()
    results = json.loads((tmp_path / "processes.json").read_text())
    found = results["figures"]["periodic"]
    assert found["exact posterior"]["score"][0] > found["CNP"]["score"][0]
    assert found["CNP"]["steps"] > 1
    assert found["CNP"]["cpu_minutes"] >= 0.01
    assert (tmp_path / "processes_periodic.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("method", processes.METHODS)
def test_every_method_is_a_learner_with_its_arguments(method):
    arguments, rate = processes.METHODS[method]
    getattr(tfmeta.learners, method)(**arguments)
    assert rate > 0
