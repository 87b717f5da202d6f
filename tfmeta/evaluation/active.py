"""Active learning: which point to label next."""

import functools

import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_flag, check_integer
from tfmeta.engine.kept import kept
from tfmeta.engine.meta_model import MetaModel
from tfmeta.evaluation.calibration import check_predicts_distributions
from tfmeta.evaluation.report import ScoreCurve
from tfmeta.evaluation.scoring import is_transductive
from tfmeta.learners.gaussian import mean_over_rows, rows_of_targets


def active_curve(
    learner: MetaModel,
    episodes: tf.data.Dataset,
    labels: int = 10,
    count: int = 600,
    *,
    at_random: bool = False,
) -> ScoreCurve:
    """The error on a task against the number of labels, which the learner asks for one by one.

    The support set of each episode is a pool of points, of which one is labelled at first, the
    first. Then the point of the pool is labelled next whose prediction is least certain, by the
    sum of its variances, or, for comparison, the next one of the pool, whose order is random.

    Args:
        learner: a learner that predicts distributions, such as `tfmeta.learners.ALPaCA`.
        episodes: `tf.data.Dataset` of meta-batched `Episode` of numbers, with a seed of their own.
            The support sets are the pools, larger than `labels`.
        labels: how many points are labelled in the end.
        count: number of episodes, the first of the dataset.
        at_random: True labels points in the order of the pool.

    Returns:
        A `ScoreCurve` of query mean squared errors, after 1, 2, ..., `labels` labels.

    Raises:
        ValueError: the learner predicts no distributions, or cannot leave out rows; a pool is
            smaller than `labels`; the dataset ends before `count`.
    """
    labels, count = check_integer("labels", labels, 1), check_integer("count", count, 1)
    at_random = check_flag("at_random", at_random)
    _check_learner(learner)
    learner.prepare(episodes)

    def make():
        task = functools.partial(_label_one_more, learner, at_random)
        return tf.function(lambda *pool: learner.map_tasks(task, pool), autograph=False)

    one_more = kept(learner, ("active_curve", at_random), make)
    scores, done = [], 0
    for batch in episodes:
        pool = batch.support.mask
        _check_pool(pool.numpy(), labels)
        labelled, errors = tf.one_hot(tf.argmax(pool, axis=1), pool.shape[1]), []
        for _ in range(labels):
            error, labelled = one_more(batch, labelled)
            errors.append(error.numpy())
        scores.append(np.stack(errors, axis=1)[: count - done])
        done += len(scores[-1])
        if done == count:
            return ScoreCurve(
                np.concatenate(scores), "mean squared error", is_transductive(learner),
                step_name="label", first=1,
            )  # fmt: skip
    raise ValueError(
        f"Expected at least count={count} episodes. Received: a dataset that ends after {done}. "
        "Make the dataset with a larger count (None: endless), or lower count here."
    )


def _label_one_more(learner, at_random, element):
    """The query error of one task, and its pool's `labelled` `[S]` with one more label."""
    (support, query), labelled = element
    adapted = learner.adapt(support._replace(mask=support.mask * labelled))
    outputs = learner.predict_query(adapted, query.x)
    errors = tf.reduce_mean((outputs - rows_of_targets(query.y, outputs.dtype)) ** 2, axis=-1)
    _, scale = learner.predict_distribution(adapted, support.x)
    variance = tf.reduce_sum(scale**2, axis=-1)
    order = -tf.range(tf.size(labelled), dtype=tf.float32)
    wanted = order if at_random else tf.cast(variance, tf.float32)
    wanted = tf.where((labelled > 0) | (support.mask == 0), -np.inf, wanted)
    chosen = tf.one_hot(tf.argmax(wanted), tf.size(labelled))
    return tf.cast(mean_over_rows(errors, query.mask), tf.float64), labelled + chosen


def _check_learner(learner):
    check_predicts_distributions(learner)
    if not learner.supports_masks:
        raise ValueError(
            "Expected a learner that leaves out rows whose mask is 0, the points without a label. "
            f"Received: {type(learner).__name__}."
        )


def _check_pool(mask, labels):
    smallest = int(mask.sum(axis=1).min())
    if smallest < labels:
        raise ValueError(
            f"Expected pools of at least labels={labels} points, the support sets. Received: one "
            f"of {smallest}. Give the episodes more shots."
        )
