"""Scores by class and by number of shots, for the pages of a report."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.backend.private import sources
from tfmeta.engine.meta_model import MetaModel
from tfmeta.evaluation.report import EvaluationReport
from tfmeta.evaluation.scoring import evaluate_episodes, is_transductive, score_all
from tfmeta.inputs import as_inputs


def score_shots(
    learner: MetaModel,
    episodes: tf.data.Dataset,
    shots: Sequence[int] = (1, 5),
    count: int = 600,
    *,
    score: Callable | None = None,
    verbose: int = 1,
) -> dict[int, EvaluationReport]:
    """Scores with the first few support examples of each class, of the same episodes.

    Args:
        learner: a `tfmeta.MetaModel`.
        episodes: `tf.data.Dataset` of meta-batched `Episode` with integer labels, of as many shots
            for each class, no padding.
        shots: numbers of shots, none larger than that of the episodes.
        count, score, verbose: as in `evaluate_episodes`.

    Returns:
        dict from a number of shots to its `EvaluationReport`; what `report.by_shots` may hold.

    Raises:
        ValueError: a number of shots is none, or larger than that of the episodes.
    """
    numbers = [check_integer("each of shots", number, 1) for number in shots]
    y = next(iter(episodes)).support.y.numpy()
    ways = int(y.max()) + 1
    if max(numbers) * ways > y.shape[1] or not np.issubdtype(y.dtype, np.integer):
        raise ValueError(
            f"Expected shots of at most {y.shape[1] // ways}, as the episodes have. "
            f"Received: shots={tuple(shots)}."
        )
    found = {}
    for n in numbers:
        few = episodes.map(_with_shots(n, ways))
        found[n] = evaluate_episodes(learner, few, count, score=score, verbose=verbose)
    return found


def _with_shots(number, ways):
    def fewer(episode):
        order = tf.argsort(episode.support.y, axis=1, stable=True)  # class by class
        rows = tf.reshape(order, [tf.shape(order)[0], ways, -1])[:, :, :number]
        rows = tf.reshape(rows, [-1, ways * number])
        support = tf.nest.map_structure(lambda t: tf.gather(t, rows, batch_dims=1), episode.support)
        return episode._replace(support=support)

    return fewer


def score_classes(
    learner: MetaModel, episodes: tf.data.Dataset, count: int = 600, *, verbose: int = 1
) -> dict[str, EvaluationReport]:
    """The accuracy of the query examples of each class of the data set, over the episodes it is in.

    An episode's labels are drawn anew: which class a label stands for is known of what
    `tfmeta.episodes.classification` makes, as long as its order and its pictures are not changed.

    Args:
        learner: a `tfmeta.MetaModel` of classes.
        episodes: what `classification` returns.
        count: number of episodes, the first of the dataset.
        verbose: 1 for a progress bar, 0 for silence.

    Returns:
        dict from the name of a class to its `EvaluationReport`, the hardest class first; what
        `report.by_class` may hold. A class that was never drawn is not in it.

    Raises:
        ValueError: the episodes are others, or come in another order; the dataset ends before
            `count`.
    """
    dataset, class_ids = _drawn_from(episodes, check_integer("count", count, 1))
    ways = class_ids.shape[1]

    def counts_of(_):
        def counts(episode):
            query = episode.query
            adapted = learner.adapt(episode.support)
            outputs = learner.predict_query(adapted, query.x, mask=query.mask)
            y = tf.cast(tf.reshape(query.y, [-1]), tf.int64)
            members = tf.one_hot(y, ways, dtype=tf.float64)
            members *= tf.cast(query.mask, tf.float64)[:, None]
            right = tf.cast(tf.argmax(outputs, axis=-1) == y, tf.float64)
            of_class = tf.reduce_sum(right[:, None] * members, axis=0)
            return tf.stack([of_class, tf.reduce_sum(members, axis=0)], axis=1)

        return counts

    key = "score_classes", ways
    sums, _ = score_all(learner, episodes, count, None, counts_of, key, verbose)
    transductive, reports = is_transductive(learner), {}
    for class_id in np.unique(class_ids[class_ids >= 0]):
        right, number = sums[class_ids == class_id].T
        scores = right / number
        reports[dataset.class_names[class_id]] = EvaluationReport(scores, "accuracy", transductive)
    return dict(sorted(reports.items(), key=lambda pair: pair[1].mean))


def _drawn_from(episodes, count):
    """The `ClassDataset` of a pipeline, and the class of each label, `[count, ways]`."""
    found = (getattr(source, "tfmeta_classes", None) for source in sources(episodes))
    classes = next((c for c in found if c is not None and c.drawn is not None), None)
    if classes is None:
        raise ValueError(
            "Expected what tfmeta.episodes.classification returns. Received: a dataset that does "
            "not say which classes it draws from."
        )
    class_ids = classes.drawn(count)
    first = tf.nest.map_structure(lambda t: t.numpy(), next(iter(episodes)).support)
    of_label = _examples_of(classes.dataset, class_ids[0, first.y[0, 0]])
    row = [t[0, :1] for t in tf.nest.flatten(first.x)]
    same = [(a == b).reshape(len(a), -1).all(axis=1) for a, b in zip(of_label, row, strict=True)]
    if not np.all(same, axis=0).any():
        raise ValueError(
            "Expected the episodes of tfmeta.episodes.classification in their order, and their "
            "examples as they are. Received: others. Leave out shuffle, and what changes examples."
        )
    return classes.dataset, class_ids


def _examples_of(dataset, class_id):
    """All examples of a class as episodes have them, a list of arrays `[examples, ...]`."""
    parts = tf.nest.map_structure(tf.convert_to_tensor, dataset.of_class(int(class_id)))
    return [part.numpy() for part in tf.nest.flatten(as_inputs(parts))]
