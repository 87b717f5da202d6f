"""The folder of a search: of this run, or of another one, which is refused."""

import json
import shutil

import keras
import numpy as np
import pytest
from keras.src.losses.losses import LossFunctionWrapper
from keras.src.utils.naming import auto_name

import tfmeta

keras_tuner = pytest.importorskip("keras_tuner")
pytest.importorskip("tensorboard", reason="keras-tuner imports it in every trial")
from tuning.searches import COMPILE, hypermodel, search, tuner_of

from tfmeta.tuning.run_folder import Folder

ADAM, DECAY = keras.optimizers.Adam, keras.optimizers.schedules.ExponentialDecay


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished search."""
    path = tmp_path_factory.mktemp("searches")
    search(tuner_of(path))
    return path


def everything(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"learner": tfmeta.learners.ANIL}, {}, "learner tfmeta>MAML there, tfmeta>ANIL here"),
        ({"fixed": {"inner_steps": 2, "first_order": True}}, {}, "'inner_steps': 1} there"),
        ({"fixed": {"inner_steps": 1}}, {}, "space .*first_order"),
        ({"compile": COMPILE | {"loss": "mae"}}, {}, "loss mse there, mae here"),
        ({"compile": COMPILE | {"optimizer": "sgd"}}, {}, "optimizer .*Adam.* there, .*SGD.* here"),
        ({"compile": COMPILE | {"optimizer": ADAM(0.5)}}, {}, "learning_rate': 0.001.* 0.5} here"),
        ({"compile": COMPILE | {"optimizer": ADAM(DECAY(0.001, 9, 0.9))}}, {}, "ExponentialDecay"),
        ({"seed": 7}, {}, "seed 0 there, 7 here"),
        ({"network": lambda: tfmeta.networks.mlp((1,), 1, (5,))}, {}, "weights"),
        ({}, {"objective": keras_tuner.Objective("val_loss_before", "min")}, "val_loss_before"),
    ],
)
def test_a_folder_of_another_run(folder, changes, options, message):
    before = everything(folder)
    with pytest.raises(ValueError, match=message) as error:
        tuner_of(folder, hypermodel(**changes), **options)
    assert "Nothing was changed" in str(error.value)
    assert everything(folder) == before


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({"fixed": {"inner_steps": np.int64(1)}}, {"fixed": {"inner_steps": np.int64(2)}}, "1} th"),
        (
            {"fixed": {"inner_learning_rate": np.float32(0.5)}},
            {"fixed": {"inner_learning_rate": np.float32(0.25)}},
            "0.5} there, .* 0.25} here",
        ),
        (
            {"compile": COMPILE | {"loss": keras.losses.Huber(0.5)}},
            {"compile": COMPILE | {"loss": keras.losses.Huber(2.0)}},
            "delta': 0.5} there, .* 2.0} here",
        ),
        (
            {"compile": lambda: COMPILE | {"optimizer": ADAM(DECAY(0.1, 9, 0.9))}},
            {"compile": lambda: COMPILE | {"optimizer": ADAM(DECAY(0.1, 9, 0.8))}},
            "decay_rate': 0.9.*decay_rate': 0.8",
        ),
    ],
    ids=["int64", "float32", "loss", "schedule"],
)
def test_arguments_count(first, second, message, tmp_path):
    """What differs in the arguments of one class or in NumPy's numbers is another run."""
    claim(tmp_path, first)
    claim(tmp_path, first)
    with pytest.raises(ValueError, match=message):
        claim(tmp_path, second)


def claim(folder, arguments):
    """What the first trial does."""
    tuner = tuner_of(folder, hypermodel(**arguments))
    Folder(tuner).claim(tuner.hypermodel.description())


def test_automatic_names_and_functions_do_not_count(tmp_path):
    class Own(keras.optimizers.SGD):
        def __init__(self, *args, name=None, **kwargs):
            super().__init__(*args, name=name or auto_name("own"), **kwargs)

    def compile():
        loss = LossFunctionWrapper(lambda y, p: keras.ops.abs(y - p))
        return COMPILE | {"optimizer": Own(0.1), "loss": loss}

    for _ in range(2):
        claim(tmp_path, {"compile": compile})


def test_a_folder_of_an_older_version(folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "untitled_project/tfmeta.json"
    there = json.loads(file.read_text())
    there |= {"optimizer": "Adam"}
    del there["seed"]
    file.write_text(json.dumps(there))
    with pytest.raises(ValueError, match=r"seed not noted there, 0 here; .*optimizer Adam there"):
        tuner_of(tmp_path)


def test_a_folder_of_other_ranges(folder):
    hp = keras_tuner.HyperParameters()
    hp.Float("inner_learning_rate", 0.1, 0.2)
    before = everything(folder)
    with pytest.raises(ValueError, match=r"'inner_learning_rate' is .* here it is"):
        tuner_of(folder, hyperparameters=hp)
    assert everything(folder) == before


def test_a_folder_of_another_tuner(folder):
    with pytest.raises(ValueError, match="tuner RandomSearch there, GridSearch here"):
        keras_tuner.GridSearch(hypermodel(), objective="val_loss", directory=folder)


@pytest.mark.parametrize(
    ("fixed", "message"),
    [({"inner_steps": 3}, "trials of another one"), (None, "another KERASTUNER_TUNER_ID")],
)
def test_a_tuner_of_another_name(folder, fixed, message, monkeypatch):
    """keras-tuner would load nothing, and write its trials over those that are there."""
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "another")
    before = everything(folder)
    with pytest.raises(ValueError, match=message):
        tuner_of(folder, hypermodel(fixed=fixed) if fixed else None)
    assert everything(folder) == before


def test_a_worker_meets_another_run_in_a_trial(tmp_path):
    """Two tuners that were made at the same time, before any of them wrote to the folder."""
    tuners = [tuner_of(tmp_path, hypermodel(fixed={"inner_steps": i})) for i in (1, 2)]
    search(tuners[0])
    with pytest.raises(ValueError, match="trials of another one"):
        search(tuners[1])


def test_the_same_run_goes_on(folder):
    trials = tuner_of(folder).oracle.trials
    assert [trial.status for trial in trials.values()] == ["COMPLETED"]
    assert tuner_of(folder).get_best_models()


@pytest.mark.slow
def test_overwrite_begins_anew(tmp_path):
    search(tuner_of(tmp_path))
    tuner = tuner_of(tmp_path, hypermodel(fixed={"inner_steps": 2}), overwrite=True)
    assert len(search(tuner)) == 1
