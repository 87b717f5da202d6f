"""Bad input of a search: told at once, and nothing is lost."""

import subprocess
import sys

import keras
import pytest

import tfmeta

keras_tuner = pytest.importorskip("keras_tuner")
pytest.importorskip("tensorboard", reason="keras-tuner imports it in every trial")
from tuning import searches
from tuning.searches import hypermodel, search, tuner_of


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


@pytest.mark.parametrize("rates", [(0.01,), (1e30,)], ids=["trains", "diverges"])
def test_a_wrong_objective_and_then_the_right_one(rates, tmp_path):
    hp = keras_tuner.HyperParameters()
    hp.Choice("inner_learning_rate", rates)
    with pytest.raises(ValueError, match="Expected the objective"):
        search(tuner_of(tmp_path, objective="val_accuracy", hyperparameters=hp))
    if rates == (0.01,):
        trials = search(tuner_of(tmp_path, hyperparameters=hp))
        assert [trial.status for trial in trials.values()] == ["COMPLETED"]


@pytest.mark.parametrize("by", ["place", "name"])
def test_validation_episodes_by_place(by, tmp_path):
    given = ((searches.VALIDATION,), {}) if by == "place" else ((), {"y": searches.VALIDATION})
    tuner = tuner_of(tmp_path, max_trials=3)
    with pytest.raises(ValueError, match=r"by name: tuner.search.episodes, validation_data="):
        tuner.search(searches.TRAIN, *given[0], steps_per_epoch=2, verbose=0, **given[1])
    assert len(tuner.oracle.trials) == 1


def test_a_network_function_that_returns_nothing(tmp_path):
    with pytest.raises(keras_tuner.errors.FatalValueError, match=r"keras.Model. Received: None"):
        tuner_of(tmp_path, hypermodel(network=lambda: None))


def test_a_class_without_layers(tmp_path):
    class Bare(tfmeta.learners.MAML):
        def __init__(self, **kwargs):
            super().__init__(None, **kwargs)

    tuner = tuner_of(tmp_path, hypermodel(Bare, None), max_trials=3)
    with pytest.raises(keras_tuner.errors.FatalValueError, match="Expected a network"):
        search(tuner)
    assert len(tuner.oracle.trials) == 1


def test_the_same_network_in_each_trial(tmp_path):
    whole, part, unbuilt = searches.network(), searches.network(), keras.Sequential()
    unbuilt.add(keras.layers.Dense(1))

    class Shared(tfmeta.learners.MAML):
        def __init__(self, **kwargs):
            super().__init__(whole, **kwargs)

    for same in (
        {"network": lambda: whole},
        {"network": lambda: unbuilt},
        {"network": lambda: keras.Sequential([part, keras.layers.Dense(1)])},
        {"learner": Shared, "network": None},
    ):
        with pytest.raises(keras_tuner.errors.FatalValueError, match="new network with new weig"):
            tuner_of(tmp_path, hypermodel(**same))
    part.trainable = False
    tuner_of(tmp_path, hypermodel(network=lambda: keras.Sequential([part, keras.layers.Dense(1)])))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"network": None}, "MAML has no layers of its own"),
        ({"learner": tfmeta.learners.SimpleShot}, "build.hp. makes the learner, and its fit"),
        ({"learner": tfmeta.learners.Baseline}, "whose network learns class labels"),
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
