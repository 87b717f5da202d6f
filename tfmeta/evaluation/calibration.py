"""Whether learners are as sure of numbers as they may be: Keras metrics that are scores, too."""

import statistics
from typing import Any

import keras
import tensorflow as tf

from tfmeta.arguments import is_number
from tfmeta.engine.metrics import scale_of_outputs
from tfmeta.learners.gaussian import log_likelihood, rows_of_targets


def is_learner(thing):
    """True if it declares what a `MetaModel` does; a Keras model, an adapted one, too, does not."""
    return hasattr(thing, "prepare")


def check_predicts_distributions(learner):
    """A ValueError for a learner that predicts numbers alone, or classes."""
    if not (is_learner(learner) and learner.predicts_distributions):
        raise ValueError(
            "Expected a learner that predicts distributions, such as tfmeta.learners.CNP. "
            f"Received: {type(learner).__name__}; use evaluate_episodes without this score."
        )


class DistributionMetric(keras.metrics.Mean):
    """Base of what is measured of Gaussians that a learner predicts, the mean over real rows.

    It goes into `compile(metrics=[...])` and is a score of `evaluate_episodes`, which gives its
    interval. A learner whose prediction is no Gaussian is taken for the Gaussian of the same mean
    and standard deviation.
    """

    of_distributions = True

    def of_rows(self, y, mean, scale):
        """A number for each row: targets, means and standard deviations `[rows, d]` to `[rows]`."""
        raise NotImplementedError

    def update_state(self, y_true, y_pred, sample_weight=None):
        scale = scale_of_outputs()
        if scale is None:
            raise ValueError(
                f"Expected a learner that predicts distributions, for the metric {self.name}. "
                "Received: outputs without standard deviations. Leave the metric out."
            )
        rows = (
            rows_of_targets(tf.convert_to_tensor(t), y_pred.dtype) for t in (y_true, y_pred, scale)
        )
        return super().update_state(self.of_rows(*rows), sample_weight)


@keras.saving.register_keras_serializable("tfmeta")
class NegativeLogLikelihood(DistributionMetric):
    """How unlikely targets are: the mean over rows of `-log N(y; mean, scale^2)`, lower is better.

    `score_likelihood` has the likelihood of what a learner predicts where that is no Gaussian.
    """

    def __init__(self, name: str = "negative_log_likelihood", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)

    def of_rows(self, y, mean, scale):
        return -log_likelihood(y, mean, scale)

    def get_config(self):
        return {"name": self.name, "dtype": self.dtype}


@keras.saving.register_keras_serializable("tfmeta")
class Coverage(DistributionMetric):
    """The share of targets in the central interval of a level: that level, if it is calibrated.

    Args:
        level: the probability of the interval, > 0 and < 1.
        name: by default "coverage_95" and the like.
        dtype: as in `keras.metrics.Metric`.

    Raises:
        ValueError: the level is none.
    """

    def __init__(self, level: float = 0.95, name: str | None = None, dtype: Any = None):
        if not is_number(level) or not 0 < level < 1:
            raise ValueError(f"Expected level > 0 and < 1, such as 0.95. Received: {level!r}.")
        super().__init__(name=name or f"coverage_{100 * level:.4g}", dtype=dtype)
        self.level = float(level)

    def of_rows(self, y, mean, scale):
        # Half the width of the interval, in standard deviations.
        width = statistics.NormalDist().inv_cdf((1 + self.level) / 2)
        inside = tf.abs(y - mean) <= width * scale
        return tf.reduce_mean(tf.cast(inside, mean.dtype), axis=-1)

    def get_config(self):
        return {"level": self.level, "name": self.name, "dtype": self.dtype}
