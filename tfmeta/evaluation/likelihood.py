"""How likely targets are to learners that predict distributions."""

import tensorflow as tf

from tfmeta.engine.meta_model import MetaModel
from tfmeta.evaluation.calibration import check_predicts_distributions
from tfmeta.evaluation.report import EvaluationReport
from tfmeta.evaluation.scoring import is_transductive, score_all
from tfmeta.learners.gaussian import mean_over_rows


def score_likelihood(
    learner: MetaModel, episodes: tf.data.Dataset, count: int = 600, verbose: int = 1
) -> EvaluationReport:
    """Scores each episode by the mean log-likelihood of its real query points.

    Each target counts on its own, given the context; what a learner says of targets together is
    not scored. With targets of several columns, a point's log-likelihood is the sum over them.

    Args:
        learner: one that predicts distributions, such as `tfmeta.learners.CNP`, or `ExactGP`.
        episodes: `tf.data.Dataset` of meta-batched `Episode`, with a seed of their own.
        count: number of episodes, the first of the dataset.
        verbose: 1 for a progress bar, 0 for silence.

    Returns:
        An `EvaluationReport` of `count` scores.

    Raises:
        ValueError: the learner predicts no distributions; the dataset ends before `count`.
        FloatingPointError: a score is not finite.
    """
    check_predicts_distributions(learner)

    def task_score(episode):
        adapted, query = learner.adapt(episode.support), episode.query
        values = learner.query_log_likelihood(adapted, query.x, query.y)
        return mean_over_rows(tf.cast(values, tf.float64), query.mask)

    key = ("score_likelihood",)
    scores, _ = score_all(learner, episodes, count, None, lambda _: task_score, key, verbose)
    return EvaluationReport(scores, "target log-likelihood", is_transductive(learner))
