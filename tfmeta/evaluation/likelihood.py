"""How likely targets are to learners that predict distributions."""

import tensorflow as tf

from tfmeta.evaluation.report import EvaluationReport
from tfmeta.evaluation.scoring import is_transductive, score_all
from tfmeta.learners.context.base import NeuralProcess


def score_likelihood(learner, episodes, count=600, verbose=1):
    """Scores each episode by the mean log-likelihood of its real query points.

    Each target counts on its own, given the context; what a learner says of targets together is
    not scored. With targets of several columns, a point's log-likelihood is the sum over them.

    Args:
        learner: a neural process, such as `tfmeta.learners.CNP`, or `ExactGP`.
        episodes: `tf.data.Dataset` of meta-batched `Episode`, with a seed of their own.
        count: number of episodes, the first of the dataset.
        verbose: 1 for a progress bar, 0 for silence.

    Returns:
        An `EvaluationReport` of `count` scores.

    Raises:
        ValueError: the learner predicts no distributions; the dataset ends before `count`.
        FloatingPointError: a score is not finite.
    """
    if not isinstance(learner, NeuralProcess):
        raise ValueError(
            "Expected a learner that predicts distributions, such as tfmeta.learners.CNP. "
            f"Received: {type(learner).__name__}; use evaluate_episodes."
        )

    def task_score(episode):
        return -tf.cast(learner.score_task(episode, training=False).loss, tf.float64)

    key = ("score_likelihood",)
    scores, _ = score_all(learner, episodes, count, None, lambda _: task_score, key, verbose)
    return EvaluationReport(scores, "target log-likelihood", is_transductive(learner))
