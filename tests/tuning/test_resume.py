"""Searches that were stopped in a trial, and go on in a new tuner."""

import itertools

import pytest

import tfmeta

keras_tuner = pytest.importorskip("keras_tuner")
pytest.importorskip("tensorboard", reason="keras-tuner imports it in every trial")
from tuning import searches

from tfmeta.tuning.grid import restore_grid

RATES = [0.01, 0.02, 0.03]


class Stopped(tfmeta.tuning.MetaHyperModel):
    """Is stopped in its n-th fit; `fits` are the rates of those that began."""

    def __init__(self, stop_at=None):
        fixed = {"inner_steps": 1, "first_order": True}
        super().__init__(
            tfmeta.learners.MAML, searches.network, compile=searches.COMPILE, fixed=fixed
        )
        self.stop_at, self.fits = stop_at, []

    def fit(self, hp, model, *args, **kwargs):
        self.fits.append(hp["inner_learning_rate"])
        if len(self.fits) == self.stop_at:
            raise KeyboardInterrupt
        return super().fit(hp, model, *args, **kwargs)


def grid(hypermodel, folder):
    hp = keras_tuner.HyperParameters()
    hp.Choice("inner_learning_rate", RATES)
    return keras_tuner.GridSearch(
        hypermodel, objective="val_loss", hyperparameters=hp, directory=folder
    )


def of_four(cls):
    def make(hypermodel, folder):
        return cls(hypermodel, objective="val_loss", max_trials=4, seed=2, directory=folder)

    return make


def hyperband(hypermodel, folder):
    return keras_tuner.Hyperband(
        hypermodel, objective="val_loss", max_epochs=2, factor=2, seed=1, directory=folder
    )


def stop_and_go_on(make, folder, *stops):
    """The rates of all fits that were not stopped, and the trials."""
    rates = []
    for stop_at in stops:
        hypermodel = Stopped(stop_at)
        with pytest.raises(KeyboardInterrupt):
            searches.search(make(hypermodel, folder))
        rates += hypermodel.fits[:-1]
    hypermodel = Stopped()
    trials = searches.search(make(hypermodel, folder))
    assert {trial.status for trial in trials.values()} == {"COMPLETED"}
    return rates + hypermodel.fits, trials


@pytest.mark.parametrize(
    "stops",
    [
        (2,),
        pytest.param((3,), marks=pytest.mark.slow),
        pytest.param((2, 1), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_grid_search_visits_each_value_once(stops, tmp_path):
    rates, trials = stop_and_go_on(grid, tmp_path, *stops)
    assert rates == RATES
    assert len(trials) == len(RATES)
    finished = Stopped()
    searches.search(grid(finished, tmp_path))
    assert finished.fits == []


@pytest.mark.slow
@pytest.mark.parametrize("stop_at", [2, 3])
@pytest.mark.parametrize(
    "make",
    [of_four(keras_tuner.RandomSearch), of_four(keras_tuner.BayesianOptimization), hyperband],
    ids=["RandomSearch", "BayesianOptimization", "Hyperband"],
)
def test_other_searches(make, stop_at, tmp_path):
    whole = Stopped()
    searches.search(make(whole, tmp_path / "whole"))
    rates, trials = stop_and_go_on(make, tmp_path / "stopped", stop_at)
    assert rates == pytest.approx(whole.fits)
    assert len(trials) == len(whole.fits)


class Grid:
    """A grid search without any training, by one worker or several, killed again and again."""

    def __init__(self, folder):
        self.folder, self.values = folder, []
        self.start()

    def start(self):
        """A new oracle, which reads what is there."""
        self.oracle = keras_tuner.oracles.GridSearchOracle(keras_tuner.Objective("loss", "min"))
        hp = self.oracle.hyperparameters
        self.oracle._set_project_dir(self.folder, "grid")
        self.oracle.verbose = 0
        hp.Float("rate", 1e-3, 1.0, step=10, sampling="log", default=0.01)
        hp.Choice("kind", ["short", "long"])
        with hp.conditional_scope("kind", ["long"]):
            hp.Int("steps", 1, 3)
        if (self.folder / "grid/oracle.json").exists():
            self.oracle.reload()
        restore_grid(self.oracle)

    def begin(self, worker):
        trial = self.oracle.create_trial(worker)
        return trial if trial.status == "RUNNING" else None

    def end(self, trial):
        hp = trial.hyperparameters
        hp.Boolean("late")  # declared in a trial, not before
        self.values.append(tuple(sorted(hp.values.items())))
        self.oracle.update_trial(trial.trial_id, {"loss": 1.0})
        trial.status = "COMPLETED"
        self.oracle.end_trial(trial)
        self.oracle.save()

    def search(self, workers=1, kill_every=None):
        """All values that were tried; a kill cuts off the trials of all workers."""
        for turn in itertools.count(1):
            running = [trial for w in range(workers) if (trial := self.begin(str(w)))]
            if kill_every and turn % kill_every == 0:
                self.start()
                continue
            if not running:
                return self.values
            for trial in reversed(running):  # the last to begin ends first
                self.end(trial)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("kill_every", [2, 3, 5])
def test_a_grid_is_whole_after_any_kill(kill_every, workers, tmp_path):
    values = Grid(tmp_path).search(workers, kill_every)
    assert len(values) == len(set(values)) == 4 * (1 + 3) * 2


def test_a_trial_that_the_search_did_not_write_down(tmp_path):
    search = Grid(tmp_path)
    search.end(search.begin("0"))
    before = (tmp_path / "grid/oracle.json").read_bytes()
    search.begin("0")
    (tmp_path / "grid/oracle.json").write_bytes(before)
    search.start()
    values = search.search()
    assert len(values) == len(set(values)) == 4 * (1 + 3) * 2
