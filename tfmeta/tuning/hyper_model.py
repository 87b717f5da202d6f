"""`MetaHyperModel`: what keras-tuner builds, trains and scores in each trial."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import keras

try:
    import keras_tuner
    import tensorboard  # noqa: F401 (keras-tuner needs it in every trial, and does not say so)
except ImportError as error:
    raise ImportError(
        "Expected keras-tuner and tensorboard, to tune: pip install tfmeta[tuner]"
    ) from error

from tfmeta.engine.metrics import copy_of
from tfmeta.tuning import checks, trials
from tfmeta.tuning.grid import restore_grid
from tfmeta.tuning.run_folder import Folder


class MetaHyperModel(keras_tuner.HyperModel):
    """A learner whose arguments keras-tuner searches for.

    Each trial makes a new network from the same seed and a learner with arguments from its
    `search_space`, trains it on training episodes, and scores it on the same, fixed validation
    episodes: the objective is "val_loss" or another query score with `val_` before its name.
    Everything else is keras-tuner's: its tuners, its folders, its chief and workers.

    Of the learner's search space, `fixed` takes arguments out; other ranges are given to the
    tuner, `hyperparameters=...`: there, as in any keras-tuner search, the first declaration counts.

    A trial whose loss becomes NaN or infinite does not end the search, nor does it count as
    failed, of which keras-tuner allows three in a row: with a warning, its score is that of the
    untrained network without adaptation. A Bayesian search, which cannot take NaN, goes on.

    A tuner refuses a folder that holds trials of another learner, fixed arguments, search
    space, objective, loss, optimizer (their arguments count), seed or shapes of weights. It cannot
    tell other episodes: the validation episodes are yours to keep the same.

    All learners are trained on episodes here. One that is pretrained on class labels (`Baseline`,
    `BaselinePlusPlus`, `SimpleShot`) is refused: it takes a `keras_tuner.HyperModel` of your own,
    with the pretraining in its `fit`.

    Args:
        learner: a class of learners, such as `tfmeta.learners.MAML`.
        network: function without arguments, or of `hp`, that makes a new `keras.Model` with new
            weights; None for a class with layers of its own.
        compile: arguments of `learner.compile`, a dict with "loss", or a function without
            arguments, or of `hp`, that returns one: this tunes the outer learning rate.
        fixed: dict of arguments of the learner that are not tuned.
        seed: of the initial weights, in all trials the same; None draws new ones each time, which
            a tuner's `executions_per_trial` needs.
        **kwargs: `name` and `tunable`, as in `keras_tuner.HyperModel`.

    Raises:
        ValueError: an argument is not what is expected.

    Example:
        hypermodel = tfmeta.tuning.MetaHyperModel(
            tfmeta.learners.MAML,
            network=lambda: tfmeta.networks.mlp((1,), 1),
            compile={"optimizer": "adam", "loss": "mse"},
            fixed={"inner_steps": 1},
        )
        tuner = keras_tuner.RandomSearch(hypermodel, objective="val_loss", max_trials=10)
        tuner.search(
            tfmeta.episodes.sinusoid(),
            steps_per_epoch=1000,
            epochs=2,
            validation_data=tfmeta.episodes.sinusoid(seed=1, count=200),
        )
        learner = hypermodel.build(tuner.get_best_hyperparameters()[0])  # or get_best_models()
    """

    def __init__(
        self,
        learner: Any,
        network: Callable | None = None,
        *,
        compile: dict,
        fixed: dict | None = None,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        checks.check_arguments(learner, network, compile, fixed)
        self.learner, self.network, self.compile = learner, network, compile
        self.fixed, self.seed = dict(fixed or {}), seed
        self._networks = checks.NewNetworks()

    def build(self, hp):
        """A new, compiled learner with the arguments of one trial."""
        if self.seed is not None:
            keras.utils.set_random_seed(self.seed)
        learner = self._make(hp)
        with trials.ends_the_search():
            self._networks.check(learner)
        learner.compile(**keras.tree.map_structure(_copied, _call(self.compile, hp)))
        if learner.built:  # so that a checkpoint's optimizer has a place to go
            learner.optimizer.build(learner.trainable_variables)
        return learner

    def _make(self, hp):
        arguments = self._arguments(hp)
        networks = () if self.network is None else (_call(self.network, hp),)
        with trials.ends_the_search():
            checks.check_made(*networks)
        try:
            return self.learner(*networks, **arguments)
        except TypeError as error:
            raise ValueError(
                f"Expected arguments of {self.learner.__name__} in `fixed`, and from its "
                f"search_space. Received: {sorted(arguments)}: {error}"
            ) from error

    def _arguments(self, hp):
        """The learner's arguments; declares those that are tuned."""
        # On a copy, or what is fixed would be declared, too.
        space = hp.copy()
        arguments = self.learner.search_space(space)
        tuned = [parameter for parameter in space.space if parameter.name not in self.fixed]
        hp.merge(tuned, overwrite=False)
        return arguments | self.fixed

    def fit(self, hp, model, x=None, *others, validation_data=None, callbacks=(), **kwargs):
        """Train and score one trial; called by the tuner.

        Args:
            hp: the trial's `HyperParameters`.
            model: what `build` returned.
            x: endless or finite training episodes, as in `learner.fit`.
            *others: nothing; all else is given by name.
            validation_data: a finite data set of episodes.
            callbacks: the tuner's, which tell its folder and objective, and others.
            **kwargs: `steps_per_epoch`, `epochs` and others, as in `learner.fit`.

        Returns:
            `keras.callbacks.History`, or a dict of scores if the trial diverged.

        Raises:
            ValueError: the episodes, the objective or the folder are not what is expected; this
                ends the search, and trials that were finished before are kept.
        """
        with trials.ends_the_search():
            trials.check_names(others, kwargs)
            trials.check_episodes(model, x, validation_data, kwargs.get("steps_per_epoch"))
        tuner = next((c.tuner for c in callbacks if hasattr(c, "tuner")), None)
        x = trials.after_epochs(x, kwargs.get("initial_epoch"), kwargs.get("steps_per_epoch"))
        try:
            if tuner is not None:
                with trials.ends_the_search():
                    trials.check_objective(model, validation_data, tuner.oracle.objective)
                    Folder(tuner).claim(self.description())
            return model.fit(x, validation_data=validation_data, callbacks=callbacks, **kwargs)
        except FloatingPointError as error:
            if tuner is None:
                raise
            return self._score_diverged(hp, tuner, validation_data, callbacks, error)

    def _score_diverged(self, hp, tuner, validation_data, callbacks, error):
        untrained, objective = self.build(hp), tuner.oracle.objective
        with trials.ends_the_search():
            scores = trials.score_diverged(untrained, validation_data, objective, error)
            Folder(tuner).claim(self.description())  # the check of the objective may have diverged
        trials.keep_checkpoint(callbacks, untrained, scores)
        return scores

    def description(self):
        """What two runs that share a folder must agree on, a dict."""
        hp = keras_tuner.HyperParameters()
        learner = self.build(hp)
        return {
            "learner": keras.saving.get_registered_name(self.learner),
            "fixed": self.fixed,
            "seed": self.seed,
            "space": {p["config"]["name"]: p for p in hp.get_config()["space"]},
            "loss": learner.loss,
            "optimizer": learner.optimizer,
            "weights": [tuple(v.shape) for v in learner.variables],
        }


def _call(function, hp):
    """What a function without arguments, or of `hp`, returns; what is no function, as it is."""
    if not callable(function):
        return function
    parameters = inspect.signature(function).parameters.values()
    takes_hp = any(p.default is p.empty and p.kind <= p.POSITIONAL_OR_KEYWORD for p in parameters)
    return function(hp) if takes_hp else function()


def _copied(value):
    """A new optimizer or metric in the place of one: they keep what they saw in other trials."""
    if isinstance(value, keras.metrics.Metric):
        copy = copy_of(value)
        if copy is None:
            raise ValueError(
                f"Expected metrics that can be made anew for each trial. Received: {value.name!r}, "
                f"whose class {type(value).__name__} has no get_config with its arguments."
                " Write one."
            )
        return copy
    made = isinstance(value, keras.optimizers.Optimizer)
    return type(value).from_config(value.get_config()) if made else value


def _check_folders():
    """Let every tuner of a `MetaHyperModel` look at its folder when it is made, to go on or not.

    keras-tuner loads a project of the same name without asking the hypermodel anything: a finished
    one would answer with another run's result, and trials of another tuner id are overwritten.
    """
    make = keras_tuner.Tuner.__init__

    @functools.wraps(make)
    def make_and_check(tuner, oracle, hypermodel=None, *args, **kwargs):
        if not isinstance(hypermodel, MetaHyperModel):
            return make(tuner, oracle, hypermodel, *args, **kwargs)
        given = oracle.get_space()
        make(tuner, oracle, hypermodel, *args, **kwargs)
        folder = Folder(tuner)
        folder.check(hypermodel.description())
        if tuner.oracle is oracle:  # a worker's is the chief's, which has looked already
            folder.check_loaded(oracle, given)
            restore_grid(oracle)

    keras_tuner.Tuner.__init__ = make_and_check


_check_folders()
