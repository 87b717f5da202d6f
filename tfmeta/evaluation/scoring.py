"""Scoring a learner over many episodes."""

import inspect
from collections.abc import Callable, Hashable

import keras
import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.engine.checks import causes
from tfmeta.engine.kept import kept
from tfmeta.engine.meta_model import MetaModel
from tfmeta.evaluation.calibration import (
    DistributionMetric,
    check_predicts_distributions,
    is_learner,
)
from tfmeta.evaluation.default_score import default_score
from tfmeta.evaluation.report import EvaluationReport, ScoreCurve
from tfmeta.learners.gaussian import mean_over_rows, rows_of_targets
from tfmeta.learners.policies.base import PolicyLearner


def evaluate_episodes(
    learner: MetaModel,
    episodes: tf.data.Dataset,
    count: int = 600,
    *,
    score: Callable | None = None,
    inner_steps: int | None = None,
    verbose: int = 1,
) -> EvaluationReport:
    """Adapts to each episode's support set and scores its query set.

    Where `learner.evaluate` gives one mean, this keeps the score of every episode, for the
    mean and the interval that papers report.

    Args:
        learner: a `tfmeta.MetaModel`.
        episodes: `tf.data.Dataset` of meta-batched `Episode`. Give it its own seed, and
            classes that were not trained on.
        count: number of episodes, the first of the dataset; 600 is usual.
        score: callable `score(y, outputs, mask)` of one task, with `y` `[rows, ...]`,
            `outputs` `[rows, ...]` and `mask` `[rows]`, to a scalar tensor. By default
            accuracy where the compiled loss is of classes (sparse, one-hot, binary or
            multi-label, where every label of a row counts), or where `y` holds integers and
            outputs have a last axis of classes; mean squared error otherwise. Rows whose mask
            is 0, and those of the loss's `ignore_class`, do not count. Of learners that predict
            distributions also `NegativeLogLikelihood()` and `Coverage(0.95)`.
        inner_steps: overrides the learner's number of inner steps.
        verbose: 1 for a progress bar, 0 for silence.

    Returns:
        An `EvaluationReport` of `count` scores, in the order of the dataset.

    Raises:
        ValueError: the dataset ends before `count`; the learner takes no `inner_steps`; the
            score is no scalar.
        FloatingPointError: a score is not finite.
    """
    options = {}
    if inner_steps is not None:
        _check_takes_inner_steps(learner)
        options["inner_steps"] = inner_steps

    def with_score(score):
        def task_score(episode):
            adapted, query = learner.adapt(episode.support, **options), episode.query
            if score.of_distributions:
                mean, scale = learner.predict_distribution(adapted, query.x)
                return score.of_rows(query.y, mean, scale, query.mask)
            outputs = learner.predict_query(adapted, query.x, mask=query.mask)
            return score(query.y, outputs, query.mask)

        return task_score

    if isinstance(score, DistributionMetric):
        check_predicts_distributions(learner)
    key = "evaluate_episodes", inner_steps
    scores, name = score_all(learner, episodes, count, score, with_score, key, verbose)
    return EvaluationReport(scores, name, is_transductive(learner))


def score_curve(
    learner: MetaModel,
    episodes: tf.data.Dataset,
    inner_steps: int = 10,
    count: int = 600,
    score: Callable | None = None,
    verbose: int = 1,
) -> ScoreCurve:
    """Scores the query set after each inner step, from 0 to `inner_steps`.

    The curve tells a rate that is too high from too few steps, and whether the learner
    improves beyond the number of steps it was trained with.

    Args:
        learner: a `tfmeta.MetaModel` with `adaptation_path(support, inner_steps)`, which the
            gradient-based learners have.
        episodes: `tf.data.Dataset` of meta-batched `Episode`.
        inner_steps: last number of inner steps, T.
        count: number of episodes, the first of the dataset.
        score: as in `evaluate_episodes`.
        verbose: 1 for a progress bar, 0 for silence.

    Returns:
        A `ScoreCurve`: `.scores` `[count, T + 1]`, `.mean` and `.interval` `[T + 1]`.

    Raises:
        ValueError: the learner has no inner steps; the dataset ends before `count`.
        FloatingPointError: a score is not finite.
    """
    if not (is_learner(learner) and learner.takes_inner_steps):
        raise ValueError(
            "Expected a learner with inner steps, such as tfmeta.learners.MAML. Received: "
            f"{type(learner).__name__}, which has no method adaptation_path; use evaluate_episodes."
        )
    check_integer("inner_steps", inner_steps, 0)

    def with_score(score):
        def task_scores(episode):
            path, query = learner.adaptation_path(episode.support, inner_steps), episode.query
            outputs = [learner.predict_query(a, query.x, mask=query.mask) for a in path]
            return tf.stack([score(query.y, o, query.mask) for o in outputs])

        return task_scores

    key = "score_curve", inner_steps
    scores, name = score_all(learner, episodes, count, score, with_score, key, verbose)
    return ScoreCurve(scores, name, is_transductive(learner))


def score_all(learner, episodes, count, score, with_score, key, verbose):
    """The scores of the first `count` episodes, `[count, ...]`, and the name of the score.

    Args:
        score: what the caller asks for, a callable or None.
        with_score: function of a `_Score` to the function of one task that is mapped.
        key: tells the functions of one learner apart.
    """
    check_integer("count", count, 1)
    _check_is_scored(learner)
    score = _Score(score, learner.query_loss)
    learner.prepare(episodes)

    def make():
        # AutoGraph off, as in Keras's own training step: a learner behaves the same in both,
        # and its errors arrive with their message unwrapped.
        @tf.function(autograph=False)
        def score_batch(batch):
            return learner.map_tasks(with_score(score), batch)

        return score_batch, score

    # An evaluation after each epoch is traced at the first of them.
    function = score.function
    key = *key, function if isinstance(function, Hashable) else id(function)
    score_batch, score = kept(learner, key, make)
    return _first_scores(learner, score_batch, episodes, count, verbose), score.name


def _first_scores(learner, score_batch, episodes, count, verbose):
    """The scores of the first `count` episodes, `[count, ...]`, with a progress bar."""
    # Stateful: shown as it is. Of others Progbar takes the mean over its updates once more.
    bar = keras.utils.Progbar(
        count, verbose=verbose, unit_name="episode", stateful_metrics=["score"]
    )
    scores, done, total = [], 0, 0.0
    for batch in episodes:
        # The concrete function, found again by the batch's shape: through `score_batch(batch)`
        # an evaluation after each epoch makes TensorFlow warn of too much retracing.
        batch_scores = score_batch.get_concrete_function(batch)(batch).numpy()
        # The last meta-batch is cut after scoring: cutting it before would trace again.
        batch_scores = batch_scores[: count - done]
        _check_finite(batch_scores, done, learner, batch)
        scores.append(batch_scores)
        done += len(batch_scores)
        total += batch_scores.reshape(len(batch_scores), -1)[:, -1].sum()
        bar.update(done, [("score", total / done)])
        if done == count:
            return np.concatenate(scores)
    raise ValueError(
        f"Expected at least count={count} episodes. Received: a dataset that ends after {done}. "
        "Make the dataset with a larger count (None: endless), or lower count here."
    )


def _check_is_scored(learner):
    """A ValueError unless it is a learner whose predictions for episodes can be scored."""
    if not is_learner(learner):
        raise ValueError(
            "Expected a learner, such as tfmeta.learners.MAML(network). Received: "
            f"{type(learner).__name__}. A Keras model, an adapted one, too, has its own evaluate."
        )
    if isinstance(learner, PolicyLearner):
        raise ValueError(
            "Expected a learner whose query examples are given. Received: "
            f"{type(learner).__name__}, a policy, which earns; use evaluate_returns."
        )


def is_transductive(learner):
    """Whether the prediction for a query example depends on the others."""
    return isinstance(learner, MetaModel) and learner.is_transductive()


class _Score:
    """Scores the outputs of one task; knows its name once it has been traced."""

    def __init__(self, function, loss):
        self.of_distributions = isinstance(function, DistributionMetric)
        if function is not None and not callable(function):
            raise ValueError(
                "Expected score to be a callable (y, outputs, mask) -> scalar, or None. "
                f"Received: {function!r}."
            )
        if function is not None and not self.of_distributions:
            _check_score(function)
        self.function, self.loss = function, loss
        self.name = getattr(function, "__name__", type(function).__name__)
        self.name = function.name if self.of_distributions else self.name
        self.name = "score" if self.name == "<lambda>" else self.name.replace("_", " ")

    def __call__(self, y, outputs, mask):
        function = self.function
        if function is None:
            function, self.name = default_score(self.loss, y, outputs)
        score = tf.convert_to_tensor(function(y, outputs, mask))
        if score.shape.rank != 0:
            raise ValueError(
                f"Expected {self.name} to be a scalar for one task. Received: shape {score.shape}."
            )
        return tf.cast(score, tf.float64)

    def of_rows(self, y, mean, scale, mask):
        """The mean of a score of distributions over real rows, float64."""
        values = self.function.of_rows(rows_of_targets(y, mean.dtype), mean, scale)
        return mean_over_rows(tf.cast(values, tf.float64), mask)


def _check_score(function):
    """A score is a function of three arguments that remembers nothing."""
    if isinstance(function, keras.metrics.Metric):
        raise ValueError(
            "Expected a function of one task. Received: a metric, which adds up what it has seen "
            f"of all tasks, {type(function).__name__}. Pass score=lambda y, outputs, mask: ..."
        )
    try:
        inspect.signature(function).bind(None, None, None)
    except TypeError:
        raise ValueError(
            "Expected a function score(y, outputs, mask). Received: one of the arguments "
            f"{inspect.signature(function)}. Pass score=lambda y, outputs, mask: ..."
        ) from None
    except ValueError:  # nothing is known of its arguments
        pass


def _check_finite(scores, first, learner, batch):
    bad = np.argwhere(~np.isfinite(scores))
    if len(bad):
        task = bad[0][0]
        data = causes.bad_parts(tf.nest.map_structure(lambda t: t[task], batch))
        advice = causes.cause(learner, data) or (
            "Lower the inner learning rate, or look at that episode: a query set without a single "
            "real row (mask 1) has no score."
        )
        raise FloatingPointError(
            f"Expected finite scores. Received: {scores[tuple(bad[0])]} in episode "
            f"{first + task}, counted from 0. {advice}"
        )


def _check_takes_inner_steps(learner):
    parameters = inspect.signature(learner.adapt).parameters
    if "inner_steps" not in parameters:
        raise ValueError(
            f"Expected inner_steps=None, as {type(learner).__name__} adapts without inner steps. "
            "Received: a number; leave inner_steps out."
        )
