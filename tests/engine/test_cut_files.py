"""Files of a learner that were cut short are told by name, and the learner stays as it was."""

import keras
import numpy as np
import pytest

from tfmeta.learners import MAML


def made():
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(8), keras.layers.Dense(1)])
    learner = MAML(network)
    learner.compile("adam", "mse", run_eagerly=True)
    learner.optimizer.build(learner.trainable_variables)
    return learner


def cut(path):
    """The file, at each of a few lengths."""
    whole = path.read_bytes()
    for size in (0, 9, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        yield size


def values(learner):
    return [np.array(v) for v in learner.variables + learner.optimizer.variables]


@pytest.mark.parametrize("name", ["learner.weights.h5", "learner.keras"])
def test_weights_that_were_cut_short(name, tmp_path):
    path = tmp_path / name
    (made().save if name.endswith(".keras") else made().save_weights)(path)
    learner = made()
    before = values(learner)
    for _ in cut(path):
        with pytest.raises(ValueError, match=f"Expected a whole weights file.*{name}, which"):
            learner.load_weights(path)
        for old, new in zip(before, values(learner), strict=True):
            np.testing.assert_array_equal(old, new)
    with pytest.raises(FileNotFoundError, match="No such file"):
        learner.load_weights(tmp_path / "nowhere.weights.h5")


def test_a_whole_file_is_read(tmp_path):
    one, other = made(), made()
    one.save_weights(tmp_path / "learner.weights.h5")
    other.load_weights(tmp_path / "learner.weights.h5")
    for a, b in zip(values(one), values(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_learner_that_was_cut_short_is_named_by_keras(tmp_path):
    path = tmp_path / "learner.keras"
    made().save(path)
    for _ in cut(path):
        with pytest.raises(ValueError, match=r"filepath=.*learner\.keras"):
            keras.models.load_model(path)
