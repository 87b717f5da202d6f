"""Bad input of a search: told at once, and nothing is lost."""

import subprocess
import sys

import keras
import pytest

import tfmeta

keras_tuner = pytest.importorskip("keras_tuner")
pytest.importorskip("tensorboard", reason="keras-tuner imports it in every trial")
from tuning import searches
from tuning.searches import COMPILE, hypermodel, search


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished search."""
    path = tmp_path_factory.mktemp("searches")
    search(tuner_of(path))
    return path


def tuner_of(folder, model=None, **kwargs):
    kwargs = {"objective": "val_loss", "max_trials": 1, "seed": 1} | kwargs
    return keras_tuner.RandomSearch(model or hypermodel(), directory=folder, **kwargs)


def everything(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"learner": tfmeta.learners.ANIL}, {}, "learner tfmeta>MAML there, tfmeta>ANIL here"),
        ({"fixed": {"inner_steps": 2, "first_order": True}}, {}, "'inner_steps': 1} there"),
        ({"fixed": {"inner_steps": 1}}, {}, "space .*first_order"),
        ({"compile": COMPILE | {"loss": "mae"}}, {}, "loss mse there, mae here"),
        ({"compile": COMPILE | {"optimizer": "sgd"}}, {}, "optimizer Adam there, SGD here"),
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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation_data": None}, "Expected validation_data"),
        ({"validation_data": searches.TRAIN}, "endless data set"),
        ({"validation_data": 3}, "Expected episodes"),
        ({"steps_per_epoch": None}, "Expected `steps_per_epoch`"),
    ],
)
def test_episodes(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        search(tuner_of(tmp_path), **options)


@pytest.mark.parametrize("name", ["val_accuracy", "loss"])
def test_objectives(name, tmp_path):
    with pytest.raises(ValueError, match=f"'val_loss', .* Received: .'{name}'"):
        search(tuner_of(tmp_path, objective=name))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learner": tfmeta.learners.MAML(searches.network())}, "Expected a class of learners"),
        ({"learner": keras.Model}, "Expected a class of learners"),
        ({"network": searches.network()}, "makes a new network for each trial"),
        ({"network": 3}, "makes a new network for each trial"),
        ({"compile": {"optimizer": "adam"}}, "with a 'loss'"),
        ({"compile": "mse"}, "with a 'loss'"),
        ({"fixed": [1]}, "dict of arguments"),
    ],
)
def test_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        hypermodel(**arguments)


@pytest.mark.parametrize("fixed", [{"inner_stepz": 1}, {"inner_steps": -1}])
def test_fixed_arguments(fixed, tmp_path):
    with pytest.raises(ValueError, match="inner_step"):
        tuner_of(tmp_path, hypermodel(fixed=fixed))


def test_without_keras_tuner():
    code = """
import sys
import tfmeta

tfmeta.tuning
assert "keras_tuner" not in sys.modules
for missing in ("keras_tuner", "tensorboard"):
    sys.modules[missing] = None
    try:
        tfmeta.tuning.MetaHyperModel
    except ImportError as error:
        assert "pip install tfmeta[tuner]" in str(error), error
    else:
        raise SystemExit("no error")
    del sys.modules[missing]
try:
    tfmeta.tuning.no_such_name
except AttributeError as error:
    assert "no_such_name" in str(error)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
