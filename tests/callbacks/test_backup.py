"""Runs that are killed, or whose disk is full, end with the bits of one that was never stopped."""

import json
import os
import pathlib
import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest
from disks import small_disk

import tfmeta
from tfmeta.callbacks import BackupAndRestore

TESTS = pathlib.Path(__file__).parents[1]


def killed_runs(folder, kind, kills):
    """What `backed_up_run.py` says, and the numbers that two of its runs ended with."""
    result = subprocess.run(
        [sys.executable, TESTS / "callbacks/backed_up_run.py", folder, kind, str(kills)],
        env={"PYTHONPATH": f"{TESTS.parent}:{TESTS}", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    said = [json.loads(line) for line in result.stdout.splitlines()]
    assert not [line for line in said if "error" in line]
    return said, np.load(folder / "whole.npy"), np.load(folder / "killed.npy")


# Two kills, one of them inside a write, the other while the disk is full; then twenty.
@pytest.mark.parametrize(
    ("kind", "kills"),
    [
        ("conv", 2),
        pytest.param("policy", 2, marks=pytest.mark.slow),
        pytest.param("conv", 20, marks=pytest.mark.slow),
        pytest.param("dense", 20, marks=pytest.mark.slow),
    ],
)
def test_killed_runs_end_bit_for_bit_like_a_whole_one(kind, kills, tmp_path):
    said, whole, killed = killed_runs(tmp_path, kind, kills)
    ends = [line["ended"] for line in said if "ended" in line]
    assert ends[0] == ends[-1] == 0
    assert set(ends[1:-1]) == {"SIGKILL", "SIGXFSZ"}
    assert len(ends) == kills + 2
    # Weights, the optimizer's slots, seeds, and the history of the last epoch.
    assert whole.tobytes() == killed.tobytes()
    # After the first kill nothing began anew, and no epoch was added.
    last = [line for line in said if "restored" in line]
    assert last[0]["restored"] is None
    assert last[1]["restored"][0] > 0
    assert {line["iterations"] for line in last} == {140}


@pytest.fixture(scope="module")
def learner():
    made = tfmeta.learners.ProtoNet(keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    made.compile("adam", loss, metrics=["accuracy"])
    return made


@pytest.fixture(scope="module")
def data():
    x = np.random.default_rng(0).random((12, 2), "float32")
    return tfmeta.datasets.from_arrays(x, np.repeat(np.arange(3), 4))


def fit(learner, data, callbacks, epochs=2, steps=3, count=None):
    episodes = tfmeta.episodes.classification(
        data, ways=2, queries=1, meta_batch_size=2, count=count
    )
    steps = None if count else steps
    return learner.fit(
        episodes, epochs=epochs, steps_per_epoch=steps, callbacks=callbacks, verbose=0
    )


class Stop(Exception):
    pass


class StopAt(keras.callbacks.Callback):
    """Raises after so many batches, and counts those that it is told of."""

    def __init__(self, batches):
        super().__init__()
        self.left, self.batches = batches, []

    def on_train_batch_end(self, batch, logs=None):
        self.batches.append(batch)
        self.left -= 1
        if self.left == 0:
            raise Stop


def test_a_disk_that_is_full(learner, data, tmp_path):
    said = "step 4 was not written: No space left on device; .*4,096 bytes are free"
    with small_disk(tmp_path / "disk", 12) as disk:
        backups = disk / "b"
        with pytest.warns(UserWarning, match=said), pytest.raises(Stop):
            fit(learner, data, [BackupAndRestore(backups, save_freq=2), StopAt(5)])
        assert [p.name for p in files(backups)] == ["000000000002.npz"]
        assert goes_on(learner, data, backups) == (2, 2)


@pytest.fixture
def backups(learner, data, tmp_path):
    """A folder of two backups of a run that stopped in its second epoch."""
    learner.optimizer.iterations.assign(7)  # a learner that has learned before
    with pytest.raises(Stop):
        fit(learner, data, [BackupAndRestore(tmp_path / "b", save_freq=2), StopAt(5)])
    assert [p.name for p in files(tmp_path / "b")] == ["000000000002.npz", "000000000004.npz"]
    return tmp_path / "b"


def files(folder):
    return sorted(folder.iterdir())


def goes_on(learner, data, folder, callbacks=(), **arguments):
    callback = BackupAndRestore(folder, save_freq=2, delete_checkpoint=False)
    fit(learner, data, [callback, *callbacks], **arguments)
    return callback.restored


def test_goes_on_within_an_epoch(learner, data, backups):
    batches = StopAt(0)
    learner.optimizer.iterations.assign(0)
    assert goes_on(learner, data, backups, [batches]) == (4, 1)
    assert int(learner.optimizer.iterations) == 7 + 6
    assert batches.batches == [0, 1, 2], "of the second epoch, the first of them done before"
    # A run that has ended stays ended, and the callback's own end leaves nothing.
    assert goes_on(learner, data, backups) == (6, 3)
    assert int(learner.optimizer.iterations) == 7 + 6
    fit(learner, data, [BackupAndRestore(backups, save_freq=2)])
    assert not backups.exists()
    fit(learner, data, [], epochs=1)
    assert int(learner.optimizer.iterations) == 7 + 9, "the next fit begins at epoch 0 again"


def test_goes_on_with_data_that_end(learner, data, tmp_path):
    start = learner.network.get_weights(), [np.array(v) for v in learner.optimizer.variables]
    fit(learner, data, [], epochs=3, count=6)
    expected = learner.network.get_weights()
    learner.network.set_weights(start[0])
    for variable, value in zip(learner.optimizer.variables, start[1], strict=True):
        variable.assign(value)
    with pytest.raises(Stop):
        fit(learner, data, [BackupAndRestore(tmp_path, 2), StopAt(5)], epochs=3, count=6)
    restored = BackupAndRestore(tmp_path, 2)
    fit(learner, data, [restored], epochs=3, count=6)
    assert restored.restored == (4, 1)
    for found, weights in zip(learner.network.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(found, weights)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: data[:-9], "is truncated"),
        (lambda data: b"", "is empty"),
        (lambda data: data.replace(b"NUMPY", b"NUMPX", 2), "is damaged"),
    ],
)
def test_a_damaged_backup_is_named_and_the_one_before_taken(learner, data, backups, damage, said):
    older, newest = files(backups)
    newest.write_bytes(damage(newest.read_bytes()))
    with pytest.warns(UserWarning, match=f"{newest.name}, .*{said}.*before, {older.name}"):
        assert goes_on(learner, data, backups) == (2, 2)


class Ran:
    def __reduce__(self):
        return os.mkdir, (os.environ["RAN"],)


@pytest.mark.parametrize("whole", [False, True])
def test_a_backup_from_a_stranger_runs_nothing(
    learner, data, backups, tmp_path, monkeypatch, whole
):
    monkeypatch.setenv("RAN", str(tmp_path / "ran"))
    older, newest = files(backups)
    if whole:  # a pickle in the place of each array
        names = np.load(newest).files
        np.savez(newest, **{name: np.array([Ran()]) for name in names})
    else:
        newest.write_bytes(pickle.dumps(Ran()))
    with pytest.warns(UserWarning, match=f"{newest.name}, .*before, {older.name}"):
        assert goes_on(learner, data, backups) == (2, 2)
    assert not (tmp_path / "ran").exists()


def test_what_cannot_be_gone_on_with_is_named(learner, data, backups, tmp_path):
    with pytest.raises(ValueError, match="Expected steps_per_epoch=3, as in the backup"):
        goes_on(learner, data, backups, steps=4)
    other = tfmeta.learners.ProtoNet(keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)]))
    other.compile("adam", learner.loss)
    with pytest.raises(ValueError, match=r"Received: .*04.npz with kernel \[2, 2\] where it has"):
        goes_on(other, data, backups)
    newest = files(backups)[-1]
    arrays = dict(np.load(newest))
    facts = json.loads(str(arrays["facts"])) | {"outer_steps": 3}
    np.savez(newest, **arrays | {"facts": np.array(json.dumps(facts))})
    with pytest.raises(ValueError, match=r"Expected optimizer.iterations=7 \+ 3.*Received: 11"):
        goes_on(learner, data, backups)
    for file in files(backups):
        file.write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"Received: .*04.npz, 2 bytes, .*02.npz, 2 bytes, is tr"):
        goes_on(learner, data, backups)
    (tmp_path / "latest.weights.h5").touch()
    with pytest.raises(ValueError, match=r"latest.weights.h5 of keras"):
        goes_on(learner, data, tmp_path)
    with pytest.raises(ValueError, match="to be a folder that can be written to"):
        goes_on(learner, data, newest)
    callback = BackupAndRestore(tmp_path)
    callback.set_model(keras.Sequential())
    with pytest.raises(ValueError, match="Received: Sequential"):
        callback.on_train_begin()
    with pytest.raises(ValueError, match="save_freq"):
        BackupAndRestore(tmp_path, save_freq=0)


def test_a_full_disk_is_named_and_leaves_the_backups_before(learner, data, backups):
    resource = pytest.importorskip("resource")
    before = {file: file.read_bytes() for file in files(backups)}

    class Full(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))

        def on_train_batch_end(self, batch, logs=None):
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)

    with pytest.warns(UserWarning, match="of outer step 6 was not written: File too large; .*free"):
        assert goes_on(learner, data, backups, [Full()]) == (4, 1)
    assert {file: file.read_bytes() for file in files(backups)} == before
