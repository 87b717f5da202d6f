"""Whether learners are as sure of classes as they may be."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_flag, check_integer
from tfmeta.engine import losses
from tfmeta.engine.meta_model import MetaModel
from tfmeta.evaluation.pictures.plots import COLORS, figure_class, saved
from tfmeta.evaluation.scoring import is_transductive, score_all
from tfmeta.hints import Figure, Path

BOOTSTRAPS = 1000


class Reliability:
    """How often predictions are right, by how sure they are.

    A prediction is as sure as the probability of its class. With the share `p_b` of predictions in
    each of some bins of equal width, their mean confidence and their accuracy, the expected
    calibration error is `sum_b p_b |accuracy_b - confidence_b|`.

    Args:
        sums: of each episode and bin the number of predictions, the sum of their confidences and
            the number of right ones, `[episodes, bins, 3]`.
        transductive: as in `EvaluationReport`.

    Attributes:
        error: the expected calibration error.
        interval: half the width of its 95 % interval, by drawing the episodes anew.
        share, confidence, accuracy: arrays `[bins]`; the last two are nan for an empty bin.

    Reference:
        Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", ICML 2017,
        arXiv:1706.04599, section 2.
    """

    def __init__(self, sums, transductive=False):
        sums = np.asarray(sums, np.float64)
        self.episodes, self.transductive = len(sums), bool(transductive)
        counts, confidences, right = np.moveaxis(sums.sum(axis=0), -1, 0)
        with np.errstate(invalid="ignore"):
            self.share = counts / counts.sum()
            self.confidence, self.accuracy = confidences / counts, right / counts
        self.error = float(_error(sums.sum(axis=0)))
        draws = np.random.default_rng(0).integers(0, len(sums), (BOOTSTRAPS, len(sums)))
        errors = [_error(sums[draw].sum(axis=0)) for draw in draws]
        self.interval = float(1.96 * np.std(errors))

    def __repr__(self):
        more = ", transductive" if self.transductive else ""
        return (
            f"expected calibration error {100 * self.error:.2f} ± {100 * self.interval:.2f} % "
            f"(95 % interval, {self.episodes} episodes{more})"
        )


def _error(sums):
    counts, confidences, right = np.moveaxis(sums, -1, 0)
    return np.abs(right - confidences).sum() / counts.sum()


@keras.saving.register_keras_serializable("tfmeta")
class ExpectedCalibrationError(keras.metrics.Metric):
    """The expected calibration error of class predictions (`Reliability`), for integer labels.

    Args:
        bins: number of bins.
        from_logits: True if outputs are logits, False if they are probabilities.
        name, dtype: as in `keras.metrics.Metric`.
    """

    def __init__(
        self,
        bins: int = 15,
        from_logits: bool = True,
        name: str = "expected_calibration_error",
        dtype: Any = None,
    ):
        super().__init__(name=name, dtype=dtype)
        self.bins = check_integer("bins", bins, 1)
        self.from_logits = check_flag("from_logits", from_logits)
        self.sums = self.add_weight(shape=(self.bins, 3), initializer="zeros", name="sums")

    def update_state(self, y_true, y_pred, sample_weight=None):
        weight = tf.ones_like(y_pred[:, 0]) if sample_weight is None else sample_weight
        self.sums.assign_add(
            tf.cast(sums_of_bins(y_true, y_pred, weight, self.bins, self.from_logits), self.dtype)
        )

    def result(self):
        counts, confidences, right = tf.unstack(tf.convert_to_tensor(self.sums), axis=-1)
        gaps = tf.reduce_sum(tf.abs(right - confidences))
        return tf.math.divide_no_nan(gaps, tf.reduce_sum(counts))

    def get_config(self):
        return super().get_config() | {"bins": self.bins, "from_logits": self.from_logits}


def sums_of_bins(y, outputs, mask, bins, from_logits):
    """Number, confidences and right ones of the predictions in each bin, `[bins, 3]`.

    Args:
        y: labels `[rows]` or `[rows, 1]`, integers.
        outputs: `[rows, classes]`.
        mask: `[rows]`, 0 for rows that do not count.
        bins: their number.
        from_logits: as in `ExpectedCalibrationError`.
    """
    outputs = tf.convert_to_tensor(outputs)
    probabilities = tf.nn.softmax(outputs) if from_logits else outputs
    confidence = tf.reduce_max(probabilities, axis=-1)
    y = tf.reshape(tf.cast(y, tf.int64), [-1])
    right = tf.cast(tf.argmax(outputs, axis=-1) == y, confidence.dtype)
    place = tf.minimum(tf.cast(confidence * bins, tf.int32), bins - 1)
    members = tf.one_hot(place, bins, dtype=confidence.dtype)
    members *= tf.cast(mask, confidence.dtype)[:, None]
    values = tf.stack([tf.ones_like(confidence), confidence, right], axis=-1)
    return tf.matmul(members, values, transpose_a=True)


def score_reliability(
    learner: MetaModel,
    episodes: tf.data.Dataset,
    count: int = 600,
    *,
    bins: int = 15,
    verbose: int = 1,
) -> Reliability:
    """How sure a learner of classes is, and how often it is right, over many episodes.

    Args:
        learner: a `tfmeta.MetaModel` whose outputs are of classes: probabilities, if a loss of
            probabilities is compiled, else logits.
        episodes: `tf.data.Dataset` of meta-batched `Episode` with integer labels.
        count: number of episodes, the first of the dataset.
        bins: number of bins of confidence.
        verbose: 1 for a progress bar, 0 for silence.

    Returns:
        A `Reliability`.

    Raises:
        ValueError: labels are no integers; the dataset ends before `count`.
        FloatingPointError: outputs are not finite.
    """
    bins = check_integer("bins", bins, 1)

    def task_sums(episode):
        query = episode.query
        if not query.y.dtype.is_integer:
            raise ValueError(
                f"Expected integer labels. Received: targets of dtype {query.y.dtype.name}. For "
                "numbers, use evaluate_episodes(score=Coverage(0.95))."
            )
        outputs = learner.predict_query(learner.adapt(episode.support), query.x, mask=query.mask)
        from_logits = not losses.expects_probabilities(learner.query_loss)
        sums = sums_of_bins(query.y, outputs, query.mask, bins, from_logits)
        return tf.cast(sums, tf.float64)

    key = "score_reliability", bins
    sums, _ = score_all(learner, episodes, count, None, lambda _: task_sums, key, verbose)
    return Reliability(sums, is_transductive(learner))


def plot_reliability(
    reliabilities: Any, path: Path | None = None, title: str = "How sure, and how often right"
) -> Figure:
    """Draws accuracy against confidence, and the share of predictions in each bin below it.

    Args:
        reliabilities: what `score_reliability` returns, or a dict from a name to it.
        path: file to write, in the format of its ending (.png, .pdf, .svg).
        title: title of the figure.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: there is nothing to draw.
        ImportError: matplotlib is missing.
    """
    Figure = figure_class()
    if not isinstance(reliabilities, dict):
        reliabilities = {"": reliabilities}
    if not all(isinstance(r, Reliability) for r in reliabilities.values()) or not reliabilities:
        raise ValueError(
            "Expected what score_reliability returns, or a dict from a name to it. Received: "
            f"{reliabilities!r:.80}."
        )
    figure = Figure(figsize=(5.2, 5.6), layout="constrained")
    axes, below = figure.subplots(2, height_ratios=(3, 1), sharex=True)
    axes.plot([0, 1], [0, 1], color="black", lw=0.8, ls="--", label="calibrated")
    for i, (name, found) in enumerate(reliabilities.items()):
        color, bins = COLORS[i % len(COLORS)], len(found.share)
        label = f"{name} error {100 * found.error:.1f} %".strip()
        filled = found.share > 0
        axes.plot(
            found.confidence[filled], found.accuracy[filled], "o-", color=color, label=label,
            markersize=4,
        )  # fmt: skip
        edges = np.linspace(0, 1, bins + 1)
        below.stairs(found.share, edges, color=color, fill=i == 0, alpha=0.5 if i == 0 else 1)
    axes.set(ylabel="accuracy", title=title)
    axes.legend(frameon=False)
    below.set(xlabel="confidence", ylabel="share", xlim=(0, 1))
    for part in (axes, below):
        part.spines[["top", "right"]].set_visible(False)
    return saved(figure, path)
