"""How well a learner tells examples of an episode's classes from those of none."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.engine.meta_model import MetaModel
from tfmeta.evaluation.report import EvaluationReport
from tfmeta.evaluation.scoring import evaluate_episodes
from tfmeta.reading import reader
from tfmeta.types import Episode, Examples, check_class_dataset


def score_rejection(
    learner: MetaModel,
    episodes: tf.data.Dataset,
    outside: tf.data.Dataset,
    count: int = 600,
    *,
    rows: int = 50,
    confidence: Callable | None = None,
    seed: int = 0,
    verbose: int = 1,
) -> EvaluationReport:
    """Scores each episode by the area under the ROC curve (AUROC) of known against outside.

    The learner adapts to an episode's support set; then its query examples, and as many `outside`
    ones as asked, get a number each that says how sure it is. The AUROC is the chance that a query
    example gets more than one from outside: 1 is best, 0.5 is no better than chance, and no
    threshold has to be chosen.

    Args:
        learner: a `tfmeta.MetaModel` with one output a class.
        episodes: `tf.data.Dataset` of meta-batched `Episode`, of classes that were not trained on.
        outside: `ClassDataset` of examples that are of none of these classes.
        count: number of episodes, the first of the dataset.
        rows: number of outside examples for each episode, drawn by `seed`: all of them in turn.
        confidence: function from outputs `[rows, classes]` to numbers `[rows]`. By default the
            largest output: nearness to the nearest prototype, say. For outputs that are logits of
            a head, `lambda outputs: tf.reduce_max(tf.nn.softmax(outputs), axis=-1)` is usual, too.
        seed: of the draw of outside examples.
        verbose: 1 for a progress bar, 0 for silence.

    Returns:
        An `EvaluationReport` of `count` scores.

    Raises:
        ValueError: `outside` is no data set, or its examples are of another shape than those of
            the episodes; the dataset ends before `count`; an argument is out of its range.
        FloatingPointError: a score is not finite.

    Reference:
        Hendrycks and Gimpel, "A Baseline for Detecting Misclassified and Out-of-Distribution
        Examples in Neural Networks", ICLR 2017, arXiv:1610.02136, section 2.
    """
    check_class_dataset(outside)
    rows, seed = check_integer("rows", rows, 1), check_integer("seed", seed, 0)
    if confidence is not None and not callable(confidence):
        raise ValueError(
            "Expected confidence to be a function of outputs, or None. Received: "
            f"{confidence!r:.80}."
        )
    confidence = confidence or _largest

    def auroc(y, outputs, mask):
        sure, nan = tf.cast(confidence(outputs), tf.float64), tf.constant(np.nan, tf.float64)
        # An output that is not a number would be beaten by all, and count as a fair loss.
        sure = tf.where(tf.reduce_all(tf.math.is_finite(outputs), axis=-1), sure, nan)
        known, unknown, real = sure[:-rows, None], sure[-rows:][None], mask[:-rows] > 0
        wins = tf.cast(known > unknown, tf.float64) + 0.5 * tf.cast(known == unknown, tf.float64)
        wins = tf.where(tf.math.is_nan(known + unknown), nan, wins)
        wins = tf.where(real, tf.reduce_mean(wins, axis=1), 0.0)
        return tf.reduce_sum(wins) / tf.reduce_sum(tf.cast(real, tf.float64))

    auroc.__name__ = "AUROC"
    mixed = _with_outside(episodes, outside, rows, seed)
    return evaluate_episodes(learner, mixed, count, score=auroc, verbose=verbose)


def _with_outside(episodes, outside, rows, seed):
    """Episodes whose last `rows` query rows are of `outside`; their y, 0, means nothing."""
    order = np.random.default_rng(seed).permutation(outside.num_examples)
    with tf.device("CPU:0"):  # where tf.data runs
        order = tf.constant(order, tf.int64)
    read = reader(outside)

    def mix(first, *episode):
        support, query = (Examples(*part) for part in episode)
        tasks = tf.shape(query.y, tf.int64)[0]
        numbers = (first + tf.range(tasks * rows)) % outside.num_examples
        drawn = tf.reshape(tf.gather(order, numbers), [-1, rows])
        (x,) = read(drawn)
        _check_alike(x, query.x)
        more = Examples(x, tf.zeros([tasks, rows], query.y.dtype), tf.ones([tasks, rows]))
        query = tf.nest.map_structure(lambda *t: tf.concat(t, 1), query, more)
        return first + tasks * rows, Episode(support, query)

    return episodes.scan(tf.constant(0, tf.int64), lambda first, episode: mix(first, *episode))


def _check_alike(x, query):
    """A ValueError unless outside examples `[B, R, ...]` are like query examples `[B, M, ...]`."""
    found, wanted = (
        tf.nest.map_structure(lambda t: (tuple(t.shape[2:]), t.dtype.name), nest)
        for nest in (x, query)
    )
    if found != wanted:
        raise ValueError(
            f"Expected outside examples like those of the episodes, {wanted}. Received: {found}. "
            "Make both in the same way."
        )


def _largest(outputs):
    return tf.reduce_max(outputs, axis=-1)
