"""Searches with keras-tuner's own tuners: what a trial is, and what it scores."""

import keras
import numpy as np
import pytest
import tasks

import tfmeta

keras_tuner = pytest.importorskip("keras_tuner")
pytest.importorskip("tensorboard", reason="keras-tuner imports it in every trial")
from tuning import searches
from tuning.searches import VALIDATION, hypermodel, search


def random_search(folder, model=None, **kwargs):
    kwargs = {"objective": "val_loss", "max_trials": 2, "seed": 1} | kwargs
    return keras_tuner.RandomSearch(model or hypermodel(), directory=folder, **kwargs)


def rates(*values):
    """Ranges to give to a tuner, in the place of the learner's own."""
    hp = keras_tuner.HyperParameters()
    hp.Choice("inner_learning_rate", values)
    return hp


def completed(trials):
    assert {trial.status for trial in trials.values()} == {"COMPLETED"}
    return {name: trial.score for name, trial in trials.items()}


def test_random_search_and_its_best(tmp_path):
    tuner = random_search(tmp_path, hypermodel(tfmeta.learners.MetaSGD))
    scores = completed(search(tuner))
    (best,) = tuner.get_best_models()
    assert best.evaluate(VALIDATION, verbose=0)[0] == pytest.approx(min(scores.values()), rel=1e-5)
    values = tuner.get_best_hyperparameters()[0].values
    assert list(values) == ["inner_learning_rate"]
    assert best.inner_learning_rate == values["inner_learning_rate"]
    fresh = tuner.hypermodel.build(tuner.get_best_hyperparameters()[0])
    assert fresh.inner_learning_rate == best.inner_learning_rate
    assert fresh.optimizer.iterations == 0


def test_grid_search_trials_differ_in_nothing_but_the_arguments(tmp_path):
    tuner = keras_tuner.GridSearch(
        hypermodel(), objective="val_loss", hyperparameters=rates(0.01, 0.010000001),
        directory=tmp_path,
    )  # fmt: skip
    first, second = completed(search(tuner)).values()
    assert first == pytest.approx(second, rel=1e-5)
    tried = [t.hyperparameters["inner_learning_rate"] for t in tuner.oracle.trials.values()]
    assert sorted(tried) == [0.01, 0.010000001]


@pytest.mark.slow
def test_bayesian_optimization_goes_on_after_diverged_trials(tmp_path):
    pytest.importorskip("sklearn")
    hp = keras_tuner.HyperParameters()
    hp.Float("inner_learning_rate", 1e-3, 1e30, sampling="log")
    tuner = keras_tuner.BayesianOptimization(
        hypermodel(),
        objective="val_loss",
        hyperparameters=hp,
        max_trials=6,
        num_initial_points=3,
        seed=2,
        directory=tmp_path,
    )
    with pytest.warns(UserWarning, match="diverged"):
        scores = completed(search(tuner))
    assert len(scores) == 6
    assert all(np.isfinite(list(scores.values())))


@pytest.mark.slow
@pytest.mark.parametrize("cls", [tfmeta.learners.MetaSGD, tfmeta.learners.ALFA])
def test_hyperband_goes_on_from_checkpoints_with_all_that_is_learned(cls, tmp_path):
    fixed = {"inner_steps": 1, "first_order": True}
    tuner = keras_tuner.Hyperband(
        hypermodel(cls, fixed=fixed),
        objective="val_loss",
        max_epochs=2,
        factor=2,
        seed=1,
        directory=tmp_path,
    )
    trials = search(tuner)
    completed(trials)
    (later, *_) = [t for t in trials.values() if "tuner/trial_id" in t.hyperparameters.values]
    earlier = trials[later.hyperparameters.values["tuner/trial_id"]]
    start = searches.values(tuner._build_hypermodel(later.hyperparameters))
    np.testing.assert_array_equal(start, searches.values(tuner.load_model(earlier)))
    assert np.any(start != searches.values(tuner.hypermodel.build(earlier.hyperparameters)))


def test_hyperband_goes_on_with_the_next_episodes(monkeypatch):
    seen = []
    hyper = hypermodel()
    hp = keras_tuner.HyperParameters()
    learner = hyper.build(hp)
    monkeypatch.setattr(type(learner), "fit", lambda _, x, **kwargs: seen.append(x))
    for epoch in (0, 3):
        hyper.fit(
            hp, learner, searches.TRAIN, validation_data=VALIDATION,
            steps_per_epoch=2, initial_epoch=epoch,
        )  # fmt: skip
    first, later = (next(iter(x.skip(skip))) for x, skip in zip(seen, (6, 0), strict=True))
    np.testing.assert_array_equal(first.query.y, later.query.y)


@pytest.mark.slow
@pytest.mark.parametrize(
    "cls",
    [keras_tuner.RandomSearch, keras_tuner.Hyperband],
    ids=lambda cls: cls.__name__,
)
def test_a_network_without_an_input_shape(cls, tmp_path):
    def network():
        return keras.Sequential([keras.layers.Dense(3), keras.layers.Dense(1)])

    limit = {"max_trials": 1} if cls is keras_tuner.RandomSearch else {"max_epochs": 2}
    tuner = cls(hypermodel(network=network), objective="val_loss", directory=tmp_path, **limit)
    scores = completed(search(tuner))
    (best,) = tuner.get_best_models()
    assert best.evaluate(VALIDATION, verbose=0)[0] == pytest.approx(min(scores.values()), rel=1e-5)


def test_accuracy_is_an_objective_and_everything_can_be_tuned(tmp_path):
    episodes = tasks.dataset(tasks.images(size=4), 1)

    def compile(hp):
        rate = hp.Float("learning_rate", 1e-4, 1e-2, sampling="log")
        return {
            "optimizer": keras.optimizers.SGD(rate),
            "loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            "metrics": ["accuracy"],
            "run_eagerly": True,
        }

    def network(hp):
        return tfmeta.networks.mlp((4, 4, 1), hp.Int("width", 2, 4))

    model = hypermodel(tfmeta.learners.ProtoNet, network, compile, fixed={})
    tuner = random_search(tmp_path, model, objective="val_accuracy", max_trials=1)
    tuner.search(episodes, validation_data=episodes, verbose=0)
    completed(tuner.oracle.trials)
    own = {"distance", "learn_temperature"}  # the learner's
    assert set(tuner.get_best_hyperparameters()[0].values) == {"learning_rate", "width"} | own


@pytest.mark.slow
def test_several_objectives(tmp_path):
    objective = [keras_tuner.Objective(f"val_{name}", "min") for name in ("loss", "loss_before")]
    trials = search(random_search(tmp_path, objective=objective, max_trials=1))
    assert completed(trials)["0"] > 0


def test_optimizers_and_metrics_are_new_in_each_trial():
    optimizer, metric = keras.optimizers.Adam(0.1), keras.metrics.MeanAbsoluteError()
    compile = {"optimizer": optimizer, "loss": "mse", "metrics": [metric]}
    model, hp = hypermodel(compile=compile), keras_tuner.HyperParameters()
    learners = [model.build(hp) for _ in range(2)]
    assert len({id(x.optimizer) for x in learners} | {id(optimizer)}) == 3
    assert all(float(x.optimizer.learning_rate) == pytest.approx(0.1) for x in learners)
    np.testing.assert_array_equal(*map(searches.values, learners))
    model.seed = None
    assert np.any(searches.values(model.build(hp)) != searches.values(learners[0]))


@pytest.mark.slow
def test_learners_of_layers_of_ones_own(tmp_path):
    class Own(tfmeta.learners.MAML):
        def __init__(self, width=3, **kwargs):
            super().__init__(**kwargs)
            self.hidden, self.head = keras.layers.Dense(width), keras.layers.Dense(1)

        def call(self, x):
            return self.head(self.hidden(x))

    tuner = random_search(tmp_path, hypermodel(Own, None, fixed={"width": 2}), max_trials=1)
    completed(search(tuner))
    assert tuner.get_best_models()[0].hidden.units == 2


def test_a_plain_build_function(tmp_path):
    def build(hp):
        rate = hp.Float("rate", 0.01, 0.1, sampling="log")
        learner = tfmeta.learners.CAVIA(searches.network(), inner_learning_rate=rate)
        learner.compile(**searches.COMPILE)
        return learner

    assert len(completed(search(random_search(tmp_path, build, max_trials=1)))) == 1
    with pytest.raises(ValueError, match="trials of another kind"):
        random_search(tmp_path)


def test_a_pretrained_learner_takes_a_hypermodel_of_ones_own(tmp_path):
    """As the error says that refuses SimpleShot."""
    base = tfmeta.datasets.from_arrays(np.eye(4)[[0, 1, 2, 3] * 3] + 1, [0, 1, 2, 3] * 3)
    episodes = tfmeta.episodes.classification(
        base, ways=3, shots=1, queries=1, meta_batch_size=2, count=4
    )

    class Pretrained(keras_tuner.HyperModel):
        def build(self, hp):
            arguments = tfmeta.learners.SimpleShot.search_space(hp)
            learner = tfmeta.learners.SimpleShot(tfmeta.networks.mlp((4,), 3), **arguments)
            learner.compile(loss=tasks.CROSSENTROPY, run_eagerly=True)
            return learner

        def fit(self, hp, learner, *args, validation_data, **kwargs):
            classifier = learner.classifier(base.num_classes)
            classifier.compile("adam", tasks.CROSSENTROPY, run_eagerly=True)
            classifier.fit(tfmeta.datasets.labelled(base, 4), verbose=0)
            learner.center_on(base)
            return learner.evaluate(validation_data, verbose=0, return_dict=True)["loss"]

    tuner = keras_tuner.GridSearch(Pretrained(), directory=tmp_path)
    tuner.search(validation_data=episodes, verbose=0)
    scores = completed(tuner.oracle.trials)
    assert len(set(scores.values())) == 3, "each transform scores something else"


@pytest.mark.parametrize(
    "how",
    [
        {"run_eagerly": True},
        pytest.param({"jit_compile": False}, marks=pytest.mark.slow),
        pytest.param({"jit_compile": True}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_diverging_trials_do_not_end_the_search(how, tmp_path):
    model = hypermodel(compile={"loss": "mse"} | how)
    too_high = (1e30, 2e30, 3e30)
    tuner = keras_tuner.GridSearch(
        model, objective="val_loss", hyperparameters=rates(*too_high, 0.01), directory=tmp_path
    )
    with pytest.warns(UserWarning, match=r"diverged: Expected a finite .* It scores val_loss"):
        scores = completed(search(tuner))
    untrained = model.build(keras_tuner.HyperParameters())
    untrained.evaluation_steps = 0
    expected = untrained.evaluate(VALIDATION, verbose=0)[0]
    assert list(scores.values())[:3] == pytest.approx([expected] * 3)
    assert tuner.get_best_hyperparameters()[0]["inner_learning_rate"] == 0.01
    assert all(np.isfinite(searches.values(x)).all() for x in tuner.get_best_models(4))


@pytest.mark.slow
def test_nan_in_the_episodes_fails_the_trial(tmp_path):
    def poisoned(episode):
        query = episode.query
        return episode._replace(query=query._replace(y=query.y * np.nan))

    nan = VALIDATION.map(poisoned)
    tuner = random_search(tmp_path, max_trials=1)
    trials = search(tuner, validation_data=nan)
    assert trials["0"].status == "FAILED"
    assert "finite" in trials["0"].message
