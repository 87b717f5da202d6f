"""`benchmarks.reproduce`: its rows, what a killed training goes on from, what is said of them."""

import dataclasses
import json
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest

import tfmeta
from benchmarks import paper_training, reproduce, reproduce_report
from benchmarks.reproduce import ROWS
from benchmarks.run_folder import RunFolder, seen
from tests.benchmarks.tiny_row import TINY, TRAINING, train

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_a_learner_with_its_network_and_its_optimizer(name):
    row = ROWS[name]
    learner = paper_training.compiled(row.training)
    assert learner.transductive == row.training.arguments.get("transductive", False)
    assert row.training.steps % row.training.every == 0
    assert row.training.every % row.training.at_once == 0
    assert row.training.cpu_hours <= 10
    assert all((row.paper, row.protocol, row.source, row.differs))
    assert row.paper in reproduce.described(name)


def test_a_part_of_a_training_has_its_schedules_and_its_time():
    training = ROWS["mamlpp-omniglot-20w1s"].training
    tenth = training.part(0.1)
    assert (tenth.steps, tenth.cpu_hours) == (1000, 1.0)
    assert tenth.arguments["multi_step_loss_steps"] == 100
    assert training.part(1) is training
    optimizer = paper_training.compiled(dataclasses.replace(TRAINING, steps=100)).optimizer
    rates = [float(optimizer._learning_rate(step)) for step in (0, 50, 100)]
    np.testing.assert_allclose(rates, [1e-2, 0.505e-2, 1e-4], rtol=1e-5)


def test_a_killed_training_goes_on_to_the_same_weights(tmp_path, capsys):
    whole = train(tmp_path / "whole")
    assert whole["steps"] == 12
    assert [point[0] for point in whole["curve"]] == [4, 8, 12]
    assert "step 4 of 12, validation" in capsys.readouterr().out
    # The test is taken with the weights that were best on validation.
    best = min(whole["curve"], key=lambda point: point[2])
    assert whole["best_steps"] == best[0]
    killed = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.tiny_row", tmp_path / "killed", "7"],
        cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    assert seen(tmp_path / "killed")["steps"] == 4
    went_on = train(tmp_path / "killed")
    assert "step 4 of 12" not in capsys.readouterr().out  # it has not begun again
    for name, (score, interval) in went_on["scores"].items():
        np.testing.assert_allclose([score, interval], whole["scores"][name], rtol=1e-5)
    assert [p[0] for p in went_on["curve"]] == [4, 8, 12]
    np.testing.assert_allclose(*([p[2] for p in r["curve"]] for r in (went_on, whole)), rtol=1e-5)
    learners = [paper_training.compiled(TRAINING) for _ in range(2)]
    for learner, folder in zip(learners, ("whole", "killed"), strict=True):
        learner.load_weights(tmp_path / folder / "epoch-3" / "backup" / "latest.weights.h5")
    first, second = ([v.numpy() for v in learner.trainable_variables] for learner in learners)
    for ours, theirs in zip(first, second, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
    # A training that is ended early is tested as it is, and goes on to the same end.
    early = train(tmp_path / "early", hours=1e-9)
    assert (early["state"], early["steps"], early["of_steps"]) == ("finished", 4, 12)
    assert early["scores"] != whole["scores"]
    np.testing.assert_allclose(
        train(tmp_path / "early")["curve"][-1][2], whole["curve"][-1][2], rtol=1e-5
    )
    # What is left after the last epoch is the test alone.
    (tmp_path / "whole" / "now" / "watch.json").write_text("{}")
    assert train(tmp_path / "whole")["scores"] == whole["scores"]


def test_a_row_of_sequences_is_scored_by_the_instance(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (18, 20, 20, 1)).astype("uint8")
    classes = tfmeta.datasets.from_arrays(x, np.repeat(np.arange(3), 6))
    asked = []
    parts = dict.fromkeys(("train", "validation", "test"), classes)
    monkeypatch.setattr(paper_training, "omniglot", lambda *given: asked.append(given) or parts)
    row = ROWS["lstm-omniglot-sequence"]
    small = {"shots": 9, "ways": 2, "episodes": 4}
    tests = tuple(dataclasses.replace(test, **small) for test in row.tests[:2])
    training = dataclasses.replace(
        row.training, arguments={"units": 4}, shots=9, ways=2, tasks=2, steps=2, every=2,
        validation=2,
    )  # fmt: skip
    row, folder = dataclasses.replace(row, tests=tests), RunFolder(tmp_path, "these")
    result = paper_training.run(row, training, folder, 0, "there", "sequences", 1.0)
    assert set(asked) == {("there", 20)}
    assert set(result["scores"]) == {"instance 1", "instance 2"}
    assert all(0 <= mean <= 1 for mean, _ in result["scores"].values())
    assert result["test_episodes"] == dict.fromkeys(result["scores"], 4)


def test_a_folder_is_what_it_was_after_its_last_whole_epoch(tmp_path):
    folder = RunFolder(tmp_path, "these")
    folder.restore()
    assert list(folder.now.iterdir()) == []
    for epoch in (9, 10):
        (folder.now / "watch.json").write_text(json.dumps({"steps": epoch}))
        folder.keep(epoch)
    assert [path.name for path in tmp_path.glob("epoch-*")] == ["epoch-10"]
    # Killed while it wrote, and while it copied.
    (folder.now / "watch.json").write_text("{")
    (folder.now / "more").mkdir()
    (tmp_path / "epoch.part").mkdir()
    (tmp_path / "epoch-9").mkdir()
    again = RunFolder(tmp_path, "these")
    again.restore()
    assert [path.name for path in again.now.iterdir()] == ["watch.json"]
    assert seen(tmp_path) == {"steps": 10}
    assert not (tmp_path / "epoch.part").exists()
    with pytest.raises(ValueError, match=r"today's settings\. Received: one with these"):
        RunFolder(tmp_path, "others")


RUN = {
    "state": "running", "steps": 500, "of_steps": 60_000, "cpu_s": 360.0, "wall_s": 1.0,
    "curve": [[500, 0.1, 0.931]],
}  # fmt: skip


def test_what_is_said_of_running_and_of_finished_trainings(tmp_path):
    for name, text, run in (
        ("maml-omniglot-5w1s.seed-0", None, RUN),
        ("maml-omniglot-5w1s.seed-1.part-0.1", None, RUN | {"of_steps": 6000}),
        ("maml-sinusoid.seed-2", "others", RUN),
    ):
        row = ROWS[name.partition(".")[0]]
        part = 0.1 if "part" in name else 1
        folder = RunFolder(tmp_path / name, text or repr(row.training.part(part)))
        folder.restore()
        (folder.now / "watch.json").write_text(json.dumps(run))
        folder.keep(1)
    finished = RUN | {"state": "finished", "scores": {"5-way 1-shot": [0.981, 0.002]}}
    finished |= {"transductive": True}
    (tmp_path / "maml-omniglot-5w1s.seed-0" / "result.json").write_text(json.dumps(finished))
    before = {"gone": {"0": RUN}, "cavia-sinusoid": {"3": RUN | {"seed": 3}}}
    found = reproduce.collected(tmp_path, before)
    assert {name: list(runs) for name, runs in found.items()} == {
        "maml-omniglot-5w1s": ["0", "1.part-0.1"], "cavia-sinusoid": ["3"],
    }  # fmt: skip
    run = found["maml-omniglot-5w1s"]["0"]
    assert run["differences"]["5-way 1-shot"] == pytest.approx(-0.6)
    assert run["published"] == {"5-way 1-shot": 98.7}
    table = reproduce_report.table({"maml-omniglot-5w1s": ROWS["maml-omniglot-5w1s"]}, found)
    assert table.splitlines()[-2:] == [
        "| maml-omniglot-5w1s, seed 0 | 5-way 1-shot | 98.7 | 98 | 98.10 ± 0.20 %, transductive "
        "| -0.60 | tested at step 500 of 60,000 | 500 | 6.0 min |",
        "| maml-omniglot-5w1s, seed 1, 0.1 of it | 5-way 1-shot | 98.7 | 98 | - | - | running, "
        "step 500 of 6,000, validation 93.10 % | 500 | 6.0 min |",
    ]
    table = reproduce_report.table({"boil-omniglot-5w1s": ROWS["boil-omniglot-5w1s"]}, found)
    assert table.endswith("| - | - | - | - | not begun | - | - |")


def test_the_command(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(reproduce, "RESULTS", tmp_path / "reproduce.json")
    monkeypatch.setitem(ROWS, "tiny", TINY)
    folder = RunFolder(tmp_path / "tiny.seed-0", repr(TRAINING))
    finished = RUN | {"state": "finished", "scores": {"after 1 steps": [2.5, 0.1]}, "seed": 0}
    finished |= {"steps": 12, "of_steps": 12}
    folder.result.write_text(json.dumps(finished))
    monkeypatch.setattr("sys.argv", ["reproduce", "tiny", f"--folder={tmp_path}"])
    reproduce.main()
    said = capsys.readouterr().out
    assert "is finished already" in said
    assert "| tiny, seed 0 | after 1 steps | 2 | - | 2.500 ± 0.100 | +0.50 | finished |" in said
    assert (tmp_path / "reproduce.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr("sys.argv", ["reproduce", "tiny", "--list"])
    reproduce.main()
    assert "Nobody 2000" in capsys.readouterr().out
    asked = []
    run = {**finished, "steps": 4, "of_steps": 12}
    monkeypatch.setattr(paper_training, "run", lambda *given: asked.append(given[-1]) or run)
    for hours in (["--hours=2"], []):  # of a folder that was tested before its end, too
        monkeypatch.setattr("sys.argv", ["reproduce", "tiny", f"--folder={tmp_path}", *hours])
        if hours:
            folder.result.unlink()
        reproduce.main()
    assert asked == [2, TRAINING.cpu_hours]
    monkeypatch.setattr("sys.argv", ["reproduce"])
    with pytest.raises(SystemExit):
        reproduce.main()
