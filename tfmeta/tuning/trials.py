"""One trial: its episodes, its objective, and what it scores when it diverges."""

import contextlib
import warnings

import keras_tuner
import tensorflow as tf

from tfmeta.engine import saving
from tfmeta.engine.checks import episode_checks


@contextlib.contextmanager
def ends_the_search():
    """Bad input is bad in every trial: stop at once, where keras-tuner would go on to the next."""
    try:
        yield
    except (ValueError, NotImplementedError) as error:
        raise keras_tuner.errors.FatalValueError(str(error)) from error


def check_names(others, kwargs):
    """Raise a ValueError if `tuner.search` was given more than the training episodes by place."""
    if others or kwargs.get("y") is not None:
        raise ValueError(
            "Expected the training episodes alone, and all else by name. Received: a second "
            f"argument of type {type(others[0] if others else kwargs['y']).__name__}. Pass "
            "validation episodes by name: tuner.search(episodes, validation_data=...)."
        )


def check_episodes(learner, episodes, validation_data, steps_per_epoch):
    """Raise a ValueError unless there are training episodes, and fixed ones to score on."""
    learner.prepare(episodes)
    episode_checks.check_finite_or_steps(episodes, steps_per_epoch, "steps_per_epoch")
    if validation_data is None:
        raise ValueError(
            "Expected validation_data, the episodes that trials are compared on. Received: None. "
            "Pass tuner.search(..., validation_data=tfmeta.episodes.sinusoid(seed=1, count=200))."
        )
    learner.prepare(validation_data)
    if is_endless(validation_data):
        raise ValueError(
            "Expected the same validation episodes in each trial. Received: an endless data set. "
            "Make it with count=200, say, or cut it: validation_data.take(50)."
        )


def is_endless(episodes):
    """True if a data set surely has no end."""
    return int(episodes.cardinality()) == tf.data.INFINITE_CARDINALITY


def after_epochs(episodes, epochs, steps_per_epoch):
    """Where Hyperband goes on with a trial: the episodes that it has not trained on."""
    if epochs and steps_per_epoch and is_endless(episodes):
        return episodes.skip(epochs * steps_per_epoch)
    return episodes


def check_objective(learner, validation_data, objective):
    """Raise a ValueError before training if an objective is no score of the validation episodes."""
    scores = learner.evaluate(validation_data.take(1), verbose=0, return_dict=True)
    _check_is_score([f"val_{name}" for name in scores], objective)


def _check_is_score(known, objective):
    wanted = getattr(objective, "name_to_direction", [objective.name])
    if not set(wanted) <= set(known):
        raise ValueError(
            f"Expected the objective to be a query score of the validation episodes, {known}. "
            f"Received: {sorted(wanted)}. Pass the tuner one of them, or compile the learner with "
            "that metric."
        )


def score_diverged(untrained, validation_data, objective, error):
    """What a trial is worth whose loss is not finite.

    It must be a number, or keras-tuner would end a search after three such trials in a row, and
    a Bayesian search would never learn to avoid them. It must not be huge, or no surrogate could
    tell the other trials apart.

    Args:
        untrained: a new learner with the arguments of the trial.
        validation_data: the validation episodes.
        objective: the tuner's.
        error: the FloatingPointError.

    Returns:
        The scores of the untrained network, without inner steps where there are some.

    Raises:
        ValueError: the objective is none of them.
    """
    if saving.takes(type(untrained), "evaluation_steps"):
        untrained.evaluation_steps = 0
    try:
        scores = untrained.evaluate(validation_data, verbose=0, return_dict=True)
    except FloatingPointError as worse:
        raise keras_tuner.errors.FailedTrialError(str(worse)) from error
    scores = {f"val_{name}": float(value) for name, value in scores.items()}
    _check_is_score(list(scores), objective)
    scores[objective.name] = objective.get_value(scores)  # also of several objectives
    warnings.warn(
        f"A trial diverged: {error} It scores {objective.name} = {scores[objective.name]:.4g}, "
        "that of the untrained network without adaptation.",
        stacklevel=2,
    )
    return scores


def keep_checkpoint(callbacks, untrained, scores):
    """Save an untrained learner if a trial has no better weights: it must have some.

    Args:
        callbacks: the tuner's; one of them saves the best epoch.
        untrained: the learner.
        scores: those of the learner.
    """
    for callback in callbacks:
        if hasattr(callback, "objective") and hasattr(callback, "filepath"):
            callback.set_model(untrained)
            callback.on_epoch_end(0, scores)
