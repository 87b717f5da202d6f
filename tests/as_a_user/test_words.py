"""Trials of a user's calls: what is shown, what is refused, and in which words."""

import inspect

import keras
import numpy as np
import pytest
import tasks

import tfmeta
from tfmeta.learners import MAML, MetaModel, ProtoNet

LEARNERS = sorted(
    (c for c in vars(tfmeta.learners).values() if isinstance(c, type) and issubclass(c, MetaModel)),
    key=lambda c: c.__name__,
)
LEARNERS = [c for c in LEARNERS if not issubclass(c, tfmeta.learners.PolicyLearner)]
GRADIENT_LEARNERS = [c for c in LEARNERS if issubclass(c, tfmeta.learners.GradientLearner)]


def compiled(learner, loss="mse", **kwargs):
    """A learner that steps eagerly, so that no trial waits for a compiler."""
    learner.compile("sgd", loss, run_eagerly=True, **kwargs)
    return learner


def fit(learner, episodes, **kwargs):
    return learner.fit(tasks.dataset(episodes, 1), verbose=0, **kwargs)


@pytest.mark.parametrize("cls", LEARNERS, ids=lambda c: c.__name__)
def test_signatures_show_the_arguments_and_all_of_them_are_taken(cls):
    parameters = inspect.signature(cls).parameters
    assert next(iter(parameters)) == "network"
    assert {"task_batching", "name", "dtype"} <= set(parameters)
    assert all(p.kind != inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    shown = {  # what has no default is a second network
        name: tasks.dense() if p.default is p.empty else p.default
        for name, p in parameters.items()
        if name != "network"
    }
    layers = [keras.Input((1,)), keras.layers.Dense(4), keras.layers.BatchNormalization()]
    network = keras.Sequential([*layers, keras.layers.Dense(1)])
    assert isinstance(cls(network, **shown), tfmeta.MetaModel)
    if cls in GRADIENT_LEARNERS and "inner_learning_rate" not in cls.refused_arguments():
        assert "inner_learning_rate" in parameters


def test_refused_arguments_are_not_shown():
    hidden = {"first_order", "inner_steps"}
    assert not hidden & set(inspect.signature(tfmeta.learners.Finetune).parameters)
    assert "first_order" not in inspect.signature(tfmeta.learners.Reptile).parameters
    assert hidden <= set(inspect.signature(MAML).parameters)


def test_the_signature_of_a_class_of_ones_own():
    class Mine(MAML):
        def __init__(self, width, **kwargs):
            super().__init__(**kwargs)
            self.head = keras.layers.Dense(width)

    class Closed(MAML):
        def __init__(self, network):
            super().__init__(network)

    parameters = inspect.signature(Mine).parameters
    assert list(parameters)[:3] == ["width", "network", "inner_learning_rate"]
    assert parameters["network"].kind == inspect.Parameter.KEYWORD_ONLY
    assert list(inspect.signature(Closed).parameters) == ["network"]


@pytest.mark.parametrize("write", [keras.Model.save, keras.saving.save_model])
def test_an_hdf5_file_is_refused_when_it_is_written(write, tmp_path):
    learner = compiled(MAML(tasks.dense()))
    with pytest.raises(ValueError, match=r"Expected a \.keras file.*MAML"):
        write(learner, str(tmp_path / "learner.h5"))


def test_an_hdf5_file_that_was_there_stays(tmp_path):
    path = tmp_path / "learner.h5"
    path.write_text("what was there")
    with pytest.raises(ValueError, match=r"Expected a \.keras file"):
        MAML(tasks.dense()).save(path)
    assert path.read_text() == "what was there"


def test_a_checkpoint_as_hdf5_is_refused():
    callback = keras.callbacks.ModelCheckpoint("learner.h5")
    with pytest.raises(ValueError, match=r"Expected a \.keras file"):
        fit(compiled(MAML(tasks.dense())), tasks.regression(), callbacks=[callback])


def test_weights_as_hdf5_are_loaded_again(tmp_path):
    learner, other = MAML(tasks.dense(seed=0)), MAML(tasks.dense(seed=1))
    learner.save_weights(tmp_path / "learner.weights.h5")
    other.load_weights(tmp_path / "learner.weights.h5")
    for a, b in zip(learner.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_adapted_model_as_hdf5_is_refused(tmp_path):
    maml, protonet = compiled(MAML(tasks.dense())), ProtoNet(tasks.convolutional())
    for learner, episodes in (
        (maml, tasks.regression()),
        (compiled(protonet, tasks.CROSSENTROPY), tasks.images()),
    ):
        model = learner.adapted_model(tasks.one(episodes.support))
        with pytest.raises(ValueError, match=r"Expected a \.keras file.*Adapted"):
            model.save(tmp_path / "adapted.h5")


@pytest.mark.parametrize(
    ("argument", "value", "advice"),
    [
        ("batch_size", 8, "meta_batch_size"),
        ("validation_batch_size", 8, "meta_batch_size"),
        ("validation_split", 0.2, "validation_data=episodes"),
        ("sample_weight", np.ones(3), "masks"),
        ("class_weight", {0: 2.0}, "drawn anew in each episode"),
    ],
)
def test_arguments_of_fit_that_mean_nothing_for_episodes(argument, value, advice):
    message = f"Expected no {argument} in `fit`.*{advice}"
    with pytest.raises(ValueError, match=message):
        fit(compiled(MAML(tasks.dense())), tasks.regression(), **{argument: value})


def test_arguments_of_other_methods_that_mean_nothing_for_episodes():
    learner, data = compiled(MAML(tasks.dense())), tasks.dataset(tasks.regression(), 1)
    for call in (learner.evaluate, learner.predict):
        with pytest.raises(ValueError, match=f"no batch_size in `{call.__name__}`"):
            call(data, batch_size=8)
    for call in (learner.train_on_batch, learner.test_on_batch):
        with pytest.raises(ValueError, match=f"no sample_weight in `{call.__name__}`"):
            call(tasks.regression(), sample_weight=np.ones(3))
    learner.fit(data, validation_data=data, validation_split=0.0, batch_size=None, verbose=0)
