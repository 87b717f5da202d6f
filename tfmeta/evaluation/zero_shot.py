"""Zero-shot scores: classes that are known by their descriptions alone."""

import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_integer, check_number
from tfmeta.engine.meta_model import MetaModel
from tfmeta.learners.embedding.zero_shot_protonet import ZeroShotProtoNet
from tfmeta.rows import map_parts
from tfmeta.types import ClassDataset, Examples, check_class_dataset, count_rows


class ZeroShotScores:
    """The accuracy in each class, of unseen ones and of seen ones.

    Classes count alike, however many examples they have, and intervals are over classes: 1.96
    standard errors to either side of a mean; that of the harmonic mean follows from the two, to
    first order.

    Attributes:
        alone: accuracy of each unseen class where only unseen ones can be answered, `[unseen]`:
            the zero-shot score.
        unseen: the same where all classes can be answered, `[unseen]`; None without seen classes.
        seen: the accuracy of each seen class, `[seen]`, where all can be answered; or None.
        harmonic: harmonic mean of the means of `seen` and `unseen`: the generalised zero-shot
            score; or None.
    """

    def __init__(self, alone, unseen=None, seen=None):
        self.alone, self.unseen, self.seen = alone, unseen, seen
        self.harmonic = None if seen is None else _harmonic(seen.mean(), unseen.mean())

    def __str__(self):
        lines = [f"unseen classes alone: {_line(self.alone)}"]
        if self.seen is not None:
            s, u = self.seen.mean(), self.unseen.mean()
            sides = [2 * (b / max(a + b, 1e-12)) ** 2 for a, b in ((s, u), (u, s))]
            spread = np.hypot(sides[0] * _interval(self.seen), sides[1] * _interval(self.unseen))
            lines += [
                f"unseen among all:     {_line(self.unseen)}",
                f"seen among all:       {_line(self.seen)}",
                f"harmonic mean:        {100 * self.harmonic:.2f} ± {100 * spread:.2f} %",
            ]
        return "\n".join(lines)

    def __repr__(self):
        return f"<ZeroShotScores: {'; '.join(str(self).splitlines())}>"


def score_zero_shot(
    learner: MetaModel,
    unseen: ClassDataset,
    seen: ClassDataset | None = None,
    *,
    seen_penalty: float = 0.0,
    batch_size: int = 512,
) -> ZeroShotScores:
    """Scores classes that were not trained on, by their descriptions.

    With `seen`, the generalised score, too: all classes, trained on or not, can be answered to
    every example. A learner prefers what it has seen; `seen_penalty` takes as much from each
    output of a seen class. Choose it on validation classes.

    Args:
        learner: a `tfmeta.learners.ZeroShotProtoNet`.
        unseen: `ClassDataset` from `tfmeta.datasets.described`, classes that were not trained on.
        seen: the same of classes that were trained on, examples that were not; or None.
        seen_penalty: >= 0, in units of the outputs.
        batch_size: rows that are predicted at a time.

    Returns:
        `ZeroShotScores`.

    Raises:
        ValueError: the learner reads no descriptions; a data set has none; a class is in both; an
            argument is out of its range.
        FloatingPointError: an output is not finite.

    Reference:
        Xian, Lampert, Schiele and Akata, "Zero-Shot Learning - A Comprehensive Evaluation of the
        Good, the Bad and the Ugly", arXiv:1707.00600, section 4.3 (accuracy by class, harmonic
        mean); Chao, Changpinyo, Gong and Sha, "An Empirical Study and Analysis of Generalized
        Zero-Shot Learning", ECCV 2016, arXiv:1605.04253, equation 3 (the penalty).
    """
    if not isinstance(learner, ZeroShotProtoNet):
        raise ValueError(
            "Expected a learner that reads descriptions, tfmeta.learners.ZeroShotProtoNet. "
            f"Received: {type(learner).__name__}; use evaluate_episodes."
        )
    check_number("seen_penalty", seen_penalty, zero=True)
    check_integer("batch_size", batch_size, 1)
    adapted = learner.adapt(_support(unseen, seen))
    few = unseen.num_classes
    by_unseen = _outputs(learner, adapted, unseen, batch_size)
    alone = _accuracies(by_unseen[:, :few], unseen, 0)
    if seen is None:
        return ZeroShotScores(alone)
    by_seen = _outputs(learner, adapted, seen, batch_size)
    penalty = np.where(np.arange(by_seen.shape[1]) < few, 0.0, seen_penalty)
    of_unseen = _accuracies(by_unseen - penalty, unseen, 0)
    return ZeroShotScores(alone, of_unseen, _accuracies(by_seen - penalty, seen, few))


def _support(unseen, seen):
    """The descriptions of all classes, the unseen ones first: what the learner adapts to."""
    rows = _descriptions("unseen", unseen)
    if seen is not None:
        parts = rows, _descriptions("seen", seen)
        shared = sorted(set(unseen.class_names) & set(seen.class_names))
        if shared:
            raise ValueError(
                "Expected classes that are seen or unseen, not both. Received: "
                f"{len(shared)} that are both, {', '.join(shared[:5])}."
            )
        rows = tf.nest.map_structure(lambda *part: np.concatenate(part), *parts)
    return Examples(rows, np.arange(count_rows(rows), dtype=np.int32))


def _descriptions(name, dataset):
    """One description a class, `[classes, ...]`."""
    check_class_dataset(dataset)
    if not isinstance(dataset.rows, dict) or set(dataset.rows) != {"x", "description"}:
        raise ValueError(
            f"Expected {name} to be a data set with a description of each class, from "
            f"tfmeta.datasets.described. Received: {dataset}."
        )
    return map_parts(lambda part: part[dataset.starts], dataset.rows["description"])


def _outputs(learner, adapted, dataset, batch_size):
    """Outputs for every example of a data set, `[examples, classes]`."""

    def rows(first):
        return map_parts(lambda part: part[first : first + batch_size], dataset.rows["x"])

    firsts = range(0, dataset.num_examples, batch_size)
    return np.concatenate([learner.predict_query(adapted, rows(first)) for first in firsts])


def _accuracies(outputs, dataset, first):
    """The accuracy of each class of a data set, whose columns begin with `first`."""
    if not np.isfinite(outputs).all():
        raise FloatingPointError("Expected finite outputs. Received: NaN or infinity.")
    right = outputs.argmax(axis=1) == dataset.class_ids + first
    return np.bincount(dataset.class_ids, right) / dataset.counts


def _harmonic(a, b):
    return float(2 * a * b / max(a + b, 1e-12))


def _interval(scores):
    return 1.96 * scores.std(ddof=1) / np.sqrt(len(scores)) if len(scores) > 1 else np.nan


def _line(scores):
    mean, half = 100 * scores.mean(), 100 * _interval(scores)
    return f"accuracy {mean:.2f} ± {half:.2f} % (95 % interval, {len(scores)} classes)"
