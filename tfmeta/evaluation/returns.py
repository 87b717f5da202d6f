"""Scores of policies: what they earn in tasks that they were not trained on."""

import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.engine.kept import kept
from tfmeta.engine.meta_model import MetaModel
from tfmeta.evaluation.report import EvaluationReport
from tfmeta.learners.policies.base import PolicyLearner


def evaluate_returns(
    learner: MetaModel,
    tasks: tf.data.Dataset,
    count: int = 600,
    *,
    episode: int | None = None,
    inner_steps: int | None = None,
) -> EvaluationReport:
    """Lets a policy live through tasks, and reports what it earned in each.

    Args:
        learner: a policy, such as `tfmeta.learners.RL2`.
        tasks: `learner.environment.tasks(...)`, with a seed of its own. A task's score is the mean
            over its rows (`trajectories`).
        count: number of tasks, the first of the dataset.
        episode: number of the episode that counts, from 0, or None for the sum of all episodes of a
            task. Early and late ones tell what was learned in between.
        inner_steps: number of gradient steps before the query rows are lived through, for policies
            that take them (0 is before adaptation); None for the learner's own.

    Returns:
        An `EvaluationReport` of `count` returns, sums of rewards that are not discounted.

    Raises:
        ValueError: the learner is no policy; there is no such episode; the dataset ends before
            `count`.
        FloatingPointError: a return is not finite.
    """
    check_integer("count", count, 1)
    _check(learner, episode)
    learner.prepare(tasks)
    by_episode = _returns_of(learner, tasks, count, inner_steps)
    bad = ~np.isfinite(by_episode).all(axis=0)
    if bad.any():
        raise FloatingPointError(
            f"Expected finite rewards of {learner.environment!r}. Received: a return of "
            f"{by_episode[:, bad.argmax()].sum()} in task {bad.argmax()} of the dataset."
        )
    scores = by_episode.sum(axis=0) if episode is None else by_episode[episode]
    return EvaluationReport(scores, "return")


def _check(learner, episode):
    """A ValueError unless the learner is a policy that lives through this episode of a task."""
    if not isinstance(learner, PolicyLearner):
        raise ValueError(
            "Expected a policy, such as tfmeta.learners.RL2. Received: "
            f"{type(learner).__name__}, which evaluate_episodes scores."
        )
    if episode is not None and check_integer("episode", episode, 0) >= learner.episodes:
        raise ValueError(
            f"Expected episode < {learner.episodes}, the episodes of a task. Received: "
            f"episode={episode}."
        )


def _returns_of(learner, tasks, count, inner_steps):
    """What each episode of the first `count` tasks earned, `[episodes, count]`."""

    def returns(meta_batch):
        rewards = learner.trial(meta_batch, inner_steps=inner_steps).rewards
        rows = tf.shape(meta_batch.query.y)
        shape = (learner.episodes, learner.environment.horizon, rows[0], rows[1])
        return tf.reduce_mean(tf.reduce_sum(tf.reshape(rewards, shape), axis=1), axis=-1)

    key = "evaluate_returns", inner_steps
    run = kept(learner, key, lambda: tf.function(returns, reduce_retracing=True))
    found, number = [], 0
    for meta_batch in tasks:
        with learner.environment.readable_errors():
            found.append(run(meta_batch).numpy())
        number += found[-1].shape[1]
        if number >= count:
            return np.concatenate(found, axis=1)[:, :count]
    raise ValueError(f"Expected at least {count} tasks. Received: {number}. Lower count.")
