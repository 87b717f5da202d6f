"""`benchmarks.accuracy`: what is left to do, and what is said of what was done."""

import contextlib
import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import tfmeta
from benchmarks import accuracy, accuracy_report, accuracy_results, frequencies
from benchmarks.methods import CASES, METHODS, job_text, jobs
from benchmarks.workers import with_learner

FACTS = {
    "curve": [[1.0, 0.4], [2.0, 0.5]],
    "first_step_s": 3.0,
    "tasks_per_s": 100.0,
    "peak_mib": 50.0,
    "train_s": 2.0,
    "cores": 1,
    "versions": {"tensorflow": "2"},
}


def store(folder, job, scores, text=None):
    case, method, _ = job
    text = text or job_text(case, method)
    np.savez(accuracy.file_of(folder, job), scores=scores, facts=json.dumps(FACTS), job=text)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_a_learner_with_its_arguments(method):
    entry = METHODS[method]
    cases = [case for case in CASES if entry.arguments(case) is not None]
    assert cases
    for case in cases:
        if entry.pretrained and not entry.meta_trained:
            network = with_learner.network(CASES[case], None)
            getattr(tfmeta.learners, entry.learner)(network, **entry.arguments(case))
        else:
            body = with_learner.network(CASES[case], None) if entry.pretrained else None
            with_learner.learner_of(CASES[case], entry, entry.arguments(case), body)


def test_a_part_of_the_trainings_is_a_comparison():
    wanted = jobs(["sinusoid", "glyphs-1"], ["MAML", "ProtoNet"], [0, 1])
    one_seed = [("sinusoid", "MAML"), ("glyphs-1", "MAML"), ("glyphs-1", "ProtoNet")]
    assert wanted == [(*job, seed) for seed in (0, 1) for job in one_seed]


def test_finished_trainings_of_the_same_settings_are_kept(tmp_path):
    job = ("sinusoid", "MAML", 0)
    assert accuracy.load(tmp_path, job) is None
    store(tmp_path, job, np.ones(4), text="other settings")
    assert accuracy.load(tmp_path, job) is None
    store(tmp_path, job, np.ones(4))
    scores, facts = accuracy.load(tmp_path, job)
    np.testing.assert_array_equal(scores, np.ones(4))
    assert facts == FACTS


def test_all_trainings_run_and_those_that_fail_are_told(tmp_path, monkeypatch, capsys):
    def train(folder, job, cores):
        if job[2] == 2:
            raise subprocess.CalledProcessError(1, "train")
        store(folder, job, np.ones(4))
        return 1.0

    monkeypatch.setattr(accuracy, "train", train)
    wanted = jobs(["sinusoid"], ["MAML", "CAVIA"], range(4))
    store(tmp_path, wanted[0], np.ones(4))
    failed = accuracy.train_all(tmp_path, wanted, 2)
    assert sorted(failed) == [("sinusoid", "CAVIA", 2), ("sinusoid", "MAML", 2)]
    assert all(accuracy.load(tmp_path, job) for job in wanted if job not in failed)
    out = capsys.readouterr().out
    assert "1 of 8 trainings are there already" in out
    assert out.count("min left") == 5


INTERRUPTED = """
import pathlib, signal, subprocess
from benchmarks import accuracy

def train(folder, job, cores):
    subprocess.run(["sh", "-c", "echo began; exec sleep 100"], check=True)

signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell has it ignored
accuracy.train = train
jobs = [("sinusoid", "MAML", seed) for seed in range(8)]
accuracy.train_all(pathlib.Path("/none"), jobs, workers=1)
"""


def test_no_training_begins_after_an_interrupt():
    """Ctrl-C, which a terminal sends to the command and to its trainings."""
    command = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], cwd=accuracy.ROOT, start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert "0 of 8" in command.stdout.readline()
        assert command.stdout.readline() == "began\n"
        os.killpg(command.pid, signal.SIGINT)
        out, errors = command.communicate(timeout=60)
    finally:
        with contextlib.suppress(ProcessLookupError):  # none is left
            os.killpg(command.pid, signal.SIGKILL)
    assert out == ""
    assert errors.rstrip().endswith("KeyboardInterrupt")


def test_files_of_different_trainings_differ(tmp_path):
    wanted = jobs(CASES, METHODS, [0, 1])
    assert len({accuracy.file_of(tmp_path, job) for job in wanted}) == len(wanted)


def test_differences_are_paired_by_episode(tmp_path):
    random = np.random.default_rng(0)
    base = random.normal(0.5, 0.2, (2, 100))
    for seed in (0, 1):
        store(tmp_path, ("glyphs-1", "MAML", seed), base[seed])
        store(tmp_path, ("glyphs-1", "ANIL", seed), base[seed] + 0.01)
    store(tmp_path, ("glyphs-1", "BOIL", 1), base[1] - 0.02)  # the other seed is not there yet
    found = accuracy.summary(tmp_path, "glyphs-1", [0, 1, 2])
    assert list(found) == ["MAML", "ANIL", "BOIL"]
    np.testing.assert_allclose(found["BOIL"]["minus_MAML"], [-0.02, 0], atol=1e-12)
    np.testing.assert_allclose(found["ANIL"]["minus_MAML"], [0.01, 0], atol=1e-12)
    means = base.mean(0)
    np.testing.assert_allclose(
        found["MAML"]["score"], [means.mean(), 1.96 * means.std(ddof=1) / 10], rtol=1e-6
    )
    assert found["MAML"]["of_seeds"] == {str(seed): base[seed].mean() for seed in (0, 1)}
    table = accuracy_report.table("glyphs-1", found).splitlines()
    order = sorted(found, key=lambda m: -found[m]["score"][0])
    assert [line.split(" | ")[0] for line in table[2:]] == [f"| {m}" for m in order]
    assert "+1.00 ± 0.00" in table[2 + order.index("ANIL")]
    accuracy_report.plot({"glyphs-1": {"methods": found}}, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


def row(case, method, seeds, score, **more):
    """Figures of a method, as the results have them."""
    runs = {seed: (np.full(4, score), FACTS) for seed in seeds}
    return {"settings": job_text(case, method), **accuracy.figures(runs, runs), **more}


def before(**rows):
    return {"date": "2020-01-01", "machine": {"cores": 9}, "settings": "", "methods": rows}


def test_a_part_of_the_comparison_replaces_its_rows_alone(tmp_path, monkeypatch, capsys):
    results = tmp_path / "accuracy.json"
    three = {m: row("sinusoid", m, [0, 1, 2], 0.5) for m in ("MAML", "CAVIA", "ANIL")}
    of_others = row("sinusoid", "BOIL", [0, 1, 2], 0.5, settings="others")
    old = {"sinusoid": before(**three, BOIL=of_others), "modes": before(MAML=three["MAML"])}
    results.write_text(json.dumps(old))
    for method in ("CAVIA", "BOIL", "iMAML"):
        store(tmp_path, ("sinusoid", method, 0), np.ones(4))
    monkeypatch.setattr(accuracy, "RESULTS", results)
    monkeypatch.setattr(
        "sys.argv", ["accuracy", "--table", "--cases=sinusoid", f"--folder={tmp_path}"]
    )
    with pytest.raises(SystemExit) as end:
        accuracy.main()
    assert end.value.code == 0
    new = json.loads(results.read_text())
    assert new["modes"] == old["modes"]
    assert "CAVIA: the row of seeds 0, 1, 2 stays, not that of seeds 0" in capsys.readouterr().out
    found = new["sinusoid"]["methods"]
    seeds = {method: len(row["of_seeds"]) for method, row in found.items()}
    assert seeds == {"MAML": 3, "ANIL": 3, "BOIL": 1, "CAVIA": 3, "iMAML": 1}
    for method in ("MAML", "CAVIA", "ANIL"):
        assert found[method] == three[method] | {"date": "2020-01-01", "machine": {"cores": 9}}
    assert "minus_MAML" not in found["iMAML"]  # MAML's trainings are not there
    assert "date" not in found["iMAML"]
    assert found["BOIL"]["settings"] == job_text("sinusoid", "BOIL")


def test_a_row_of_as_many_seeds_or_of_other_settings_is_replaced():
    new = {"MAML": row("modes", "MAML", [3, 4], 1.0)}
    for seeds, settings in (([0, 1], new["MAML"]["settings"]), ([0, 1, 2], "others")):
        old = before(MAML=row("modes", "MAML", seeds, 0.5, settings=settings))
        assert accuracy_results.entry("modes", new, old)["methods"] == new


def test_no_difference_from_a_maml_that_the_results_no_longer_have():
    other = row("sinusoid", "ANIL", [0], 0.5)
    assert "minus_MAML" in other
    for settings, kept in ((job_text("sinusoid", "MAML"), True), ("others", False)):
        old = before(ANIL=other, MAML=row("sinusoid", "MAML", [0], 1, settings=settings))
        new = {"MAML": row("sinusoid", "MAML", [0], 1.0)}
        found = accuracy_results.entry("sinusoid", new, old)["methods"]
        assert ("minus_MAML" in found["ANIL"]) is kept


def test_a_row_of_other_settings_is_found(capsys):
    names = ("MAML", "MAML, 5 steps", "ParameterMemory")
    rows = {name: row("modes", name, [0], 1.0) for name in names}
    del rows["MAML"]["settings"]  # as rows were until they had them
    rows["MAML, 5 steps"]["settings"] = "others"
    rows["ANIL"] = row("modes", "MAML", [0], 1.0)  # has no part in this case
    assert accuracy_results.of_other_settings("modes", rows) == ["MAML, 5 steps", "ANIL"]
    new = {"ParameterMemory": row("modes", "ParameterMemory", [0], 1.0)}
    found = accuracy_results.entry("modes", new, before(**rows))["methods"]
    assert list(found) == list(names)
    assert "modes, MAML, 5 steps: of other settings" in capsys.readouterr().out


def test_the_committed_results_are_of_todays_settings():
    for case, result in json.loads(accuracy.RESULTS.read_text()).items():
        others = accuracy_results.of_other_settings(case, result["methods"])
        assert not others, f"{case}: train {others} again, by python -m benchmarks.accuracy"


def test_frequencies_are_a_table_with_the_papers_numbers():
    rows = {
        case: {"methods": {"R2D2": row(case, "R2D2", [0], error)}}
        for case, error in (("frequency-5", 0.9), ("frequency-20", 0.01))
    }
    lines = accuracy_report.frequency_table(rows).splitlines()
    assert lines[2] == "| best linear predictor | 1.059 | 0.121 | 0.009 | - | - |"
    cells = "| R2D2 | 0.900 ± 0.000 | - | 0.010 ± 0.000 | 30,000 | 1.002 / 0.073 / 0.009 |"
    assert lines[3] == cells
    assert lines[4] == "| ADKL-KRR | - | - | - | - | 0.867 / 0.061 / 0.005 |"
    published = {line.split(" | ")[0][2:] for line in lines[2:]}
    assert published == {*accuracy_report.PUBLISHED, "best linear predictor"}
    for shots, error in zip((5, 10, 20), accuracy_report.BEST_LINEAR, strict=True):
        assert frequencies.best_linear(shots, 300) == pytest.approx(error, rel=0.1)


def test_episodes_of_frequencies_are_of_so_many_tasks_with_points_drawn_anew():
    case = dataclasses.replace(CASES["frequency-5"], tasks=3)
    first, second = itertools.islice(with_learner.episodes(case, "train", 0), 2)
    again = next(iter(with_learner.episodes(case, "train", 0)))
    assert first.support.x.shape == (3, 5, 1)
    assert first.query.y.shape == (3, 10, 1)
    np.testing.assert_array_equal(first.support.x, again.support.x)
    x, y = (part.numpy()[..., 0] for part in frequencies.training_points())
    assert x.shape == (2812, 200)
    rows = {value: row for row, values in enumerate(x) for value in values}
    for episode in (first, second):
        for task in range(3):
            seen = np.concatenate([part.x[task, :, 0] for part in episode])
            (number,) = {rows[value] for value in seen}
            assert len(set(seen)) == 15  # no support point is a query point
            places = [np.flatnonzero(x[number] == value)[0] for value in seen]
            expected = np.concatenate([part.y[task, :, 0] for part in episode])
            np.testing.assert_array_equal(y[number][places], expected)
    assert not set(first.support.x.numpy().ravel()) & set(second.support.x.numpy().ravel())
    amplitudes = np.abs(y).max(axis=1)
    assert amplitudes.max() < 5.3
    assert 2.3 < amplitudes.mean() < 2.8


SMALL = CASES["glyphs-1"].__class__(
    "glyphs", 1, 3, tasks=2, steps=20, outer_rate=1e-3, validation=4, test=6, filters=4,
    pretraining_epochs=2,
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "case"),
    [
        ("MAML", "glyphs-1"), ("SimpleShot", "glyphs-1"), ("pretrained, all weights", "glyphs-1"),
        ("ProtoNet", "glyphs-1"), ("CNAPs", "glyphs-1"),
        ("ZeroShotProtoNet, pretrained", "glyphs-described"), ("R2D2", "frequency-5"),
    ],
)  # fmt: skip
def test_a_training(method, case, tmp_path, monkeypatch):
    monkeypatch.setitem(CASES, case, dataclasses.replace(SMALL, family=CASES[case].family))
    with_learner.main(case, method, 0, accuracy.file_of(tmp_path, (case, method, 0)))
    scores, facts = accuracy.load(tmp_path, (case, method, 0))
    assert scores.shape == (6,)
    passes = METHODS[method].pretrained and not METHODS[method].meta_trained
    assert len(facts["curve"]) == (2 if passes else 10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "stop"), [("MAML", 4), ("MAML", 10), ("SimpleShot", 2), ("CNAPs", 3)]
)
def test_a_training_that_was_stopped_goes_on(method, stop, tmp_path, monkeypatch):
    monkeypatch.setitem(CASES, "glyphs-1", SMALL)
    scores = {}
    for name in ("whole", "stopped"):
        file = tmp_path / name / "run.npz"
        if name == "stopped":
            with monkeypatch.context() as patch:
                patch.setattr(with_learner, "Watch", stops_in(stop))
                with pytest.raises(KeyboardInterrupt):
                    with_learner.main("glyphs-1", method, 0, file)
            assert not file.exists()
        with_learner.main("glyphs-1", method, 0, file)
        with np.load(file) as stored:
            scores[name], facts = stored["scores"], json.loads(str(stored["facts"]))
        assert len(facts["curve"]) == (2 if method == "SimpleShot" else 10)
        assert [path.name for path in file.parent.iterdir()] == ["run.npz"]
    np.testing.assert_array_equal(scores["stopped"], scores["whole"])


def stops_in(epoch):
    """A `Watch` whose training is interrupted in an epoch, or after the last one."""

    class Stops(with_learner.Watch):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            if len(self.epochs) == epoch:
                raise KeyboardInterrupt

        def on_train_end(self, logs=None):
            raise KeyboardInterrupt

    return Stops


def test_what_a_stopped_training_left_is_not_taken_for_other_settings(tmp_path):
    folder = with_learner.unfinished(tmp_path / "run.npz", "these")
    (folder / "watch.json").write_text("[]")
    assert with_learner.unfinished(tmp_path / "run.npz", "these") == folder
    assert (folder / "watch.json").exists()
    with_learner.unfinished(tmp_path / "run.npz", "others")
    assert not (folder / "watch.json").exists()
