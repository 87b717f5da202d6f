"""What a learner relies on when it meets a new task: measured on episodes."""

import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.engine import outer_loop
from tfmeta.engine.kept import kept
from tfmeta.engine.meta_model import MetaModel
from tfmeta.engine.purity import task_scope
from tfmeta.engine.task import task_layers
from tfmeta.evaluation.default_score import default_score
from tfmeta.evaluation.diagnosis.diagnosis import Diagnosis
from tfmeta.evaluation.diagnosis.similarity import LayerOutputs, head_positions, linear_cka
from tfmeta.evaluation.diagnosis.smaller import smaller
from tfmeta.evaluation.report import EvaluationReport
from tfmeta.evaluation.scoring import is_transductive
from tfmeta.learners.gradient.base import GradientLearner
from tfmeta.learners.gradient.inner_loop import OnlyThese, adaptation_path
from tfmeta.learners.policies.base import PolicyLearner

_ALIGNED = 16  # tasks whose outer gradients are compared


def diagnose(learner: MetaModel, episodes: tf.data.Dataset, count: int = 100) -> Diagnosis:
    """Is it meta-learning, feature reuse, or memory? Measured on new tasks, and said in words.

    Scores, of the same episodes:

    - `adapted`: as in `evaluate_episodes`;
    - `support left out`: what is known without the support set of the task (memorisation, Yin et
      al.): with that of another episode, before any inner step or, of a learner without such a
      start, after adaptation;
    - `labels shuffled`: the support labels are permuted among the rows;
    - `head alone`: the inner loop changes the last layer only (Raghu et al.);
    - `chance`, or of numbers `support mean`: what is known without the inputs.

    Beside them: linear CKA of the outputs of each layer before and after adaptation, 1 where a
    layer says the same; the score with fewer shots, and with fewer ways; the mean cosine between
    the outer gradients of two tasks, of 16. A learner has those that it can have.

    Args:
        learner: a compiled `tfmeta.MetaModel` that adapts to single episodes: no policy.
        episodes: a `tf.data.Dataset` of meta-batched `Episode`, of classes or functions that were
            not trained on. Its meta-batches are traced for up to five shapes.
        count: number of episodes, the first of the dataset.

    Returns:
        A `Diagnosis`: `print` it, ask for its `verdict`, or `plot` it.

    Raises:
        ValueError: the dataset ends before `count`; the learner adapts to no episodes.

    Reference:
        Raghu, Raghu, Bengio and Vinyals, "Rapid Learning or Feature Reuse? Towards Understanding
        the Effectiveness of MAML", ICLR 2020, arXiv:1909.09157; Yin, Tucker, Zhou, Levine and Finn,
        "Meta-Learning without Memorization", ICLR 2020, arXiv:1912.03820.
    """
    count = check_integer("count", count, 2)
    if not isinstance(learner, MetaModel) or isinstance(learner, PolicyLearner):
        raise ValueError(
            "Expected a learner that adapts to single episodes, such as tfmeta.learners.MAML. "
            f"Received: {type(learner).__name__}."
        )
    learner.prepare(episodes)
    asked, done = _Asked(learner), 0
    found: dict = {}
    gradients: list = []
    for batch in _of_several(episodes):
        for name, values in asked.answers(batch).items():
            found.setdefault(name, []).append(values[: count - done])
        gradients += asked.gradients(batch, min(_ALIGNED, count) - len(gradients))
        done += batch.query.mask.shape[0]
        if done >= count:
            return asked.diagnosis({k: np.concatenate(v) for k, v in found.items()}, gradients)
    raise ValueError(
        f"Expected at least count={count} episodes. Received: a dataset that ends after {done}. "
        "Make the dataset with a larger count (None: endless), or lower count here."
    )


def _of_several(episodes):
    """Meta-batches of more than one episode: each needs the support set of another one."""
    first = tf.nest.flatten(episodes.element_spec)[0].shape[0]
    return episodes if (first or 1) > 1 else episodes.rebatch(4)


class _Asked:
    """The questions that a learner can be asked."""

    def __init__(self, learner):
        self.learner, self.score_name, self.before = learner, None, None
        places = head_positions(learner) if isinstance(learner, GradientLearner) else None
        self.layers = None if places is None else LayerOutputs.of(learner.inner_network())
        # Where the head is all that adapts, or no part of it, there is nothing to compare.
        some = places is not None and 0 < len(places) < len(learner.adapted_positions())
        self.head = places if some else None

    def answers(self, batch):
        """Of a meta-batch a dict from a name to scores, or similarities of layers, `[B, ...]`."""
        # The support set before it; of the first one, the last of the meta-batch.
        ends = batch if self.before is None else self.before
        others = tf.nest.map_structure(
            lambda end, t: tf.concat([end[-1:], t[:-1]], axis=0), ends.support, batch.support
        )
        self.before = batch
        found = {
            name: values.numpy()
            for name, values in self._run("all", self._all, (batch, others)).items()
        }
        for key, episodes in smaller(batch).items():
            found[key] = self._run("fewer", self._adapted, episodes).numpy()
        return found

    def gradients(self, batch, number):
        """The outer gradients of the first tasks of a meta-batch, flat arrays, at most `number`."""
        learner = self.learner
        if type(learner).train_step is not MetaModel.train_step:
            return []

        def gradient(episodes):
            gradients = outer_loop.results_and_gradients(learner, episodes)[1]
            return tf.concat([tf.reshape(tf.cast(g, tf.float32), [-1]) for g in gradients], 0)

        tasks = range(min(number, batch.query.mask.shape[0]))
        ones = (tf.nest.map_structure(lambda t, i=i: t[i : i + 1], batch) for i in tasks)
        return [self._run("gradient", gradient, one, False).numpy() for one in ones]

    def diagnosis(self, found, gradients):
        """A `Diagnosis` of all answers."""
        similarity = found.pop("similarity", None)
        reports = {
            name: EvaluationReport(values, self.score_name, is_transductive(self.learner))
            for name, values in found.items()
        }
        by = {"shots": {}, "ways": {}}
        for kind, number in [key for key in reports if isinstance(key, tuple)]:
            by[kind][number] = reports.pop((kind, number))
        layers = {} if similarity is None else dict(
            zip(self.layers.names(), map(EvaluationReport, similarity.T), strict=True)
        )  # fmt: skip
        return Diagnosis(reports, layers, by["shots"], by["ways"], _cosines(gradients))

    def _run(self, name, function, element, maps=True):
        learner = self.learner

        def make():
            def run(element):
                return learner.map_tasks(function, element) if maps else function(element)

            return tf.function(run, autograph=False), self

        # The functions of one call: `self` knows the name of the score.
        run, asked = kept(learner, ("diagnose", name), make)
        result = run.get_concrete_function(element)(element)
        self.score_name = self.score_name or asked.score_name
        return result

    # In the graph, for one task.

    def _all(self, element):
        (support, query), other = element
        learner, found = self.learner, {}
        with task_layers(learner), task_scope(learner):
            adapted, start = learner.adapt(support), learner.unadapted(support)
            # A start may be made of the support set: prototypes, a memory, statistics.
            left = learner.adapt(other) if start is None else learner.unadapted(other)
            mixed = support._replace(y=tf.gather(support.y, _permutation(support.y.shape[0])))
            found["adapted"] = self._score(adapted, support, query)
            found["support left out"] = self._score(left, support, query)
            found["labels shuffled"] = self._score(learner.adapt(mixed), support, query)
            if self.head is not None:
                watched = OnlyThese(self.head)
                path = adaptation_path(learner, support, None, False, True, watched=watched)
                found["head alone"] = self._score(path[-1], support, query)
            if self.layers is not None:
                before, after = (self.layers(learner, a, query.x) for a in (start, adapted))
                pairs = zip(before, after, strict=True)
                found["similarity"] = tf.stack([linear_cka(a, b) for a, b in pairs])
        return found | self._baseline(support, query)

    def _adapted(self, episode):
        with task_layers(self.learner), task_scope(self.learner):
            return self._score(self.learner.adapt(episode.support), *episode)

    def _score(self, adapted, support, query):
        outputs = self.learner.predict_query(adapted, query.x, mask=query.mask)
        function, self.score_name = default_score(self.learner.query_loss, query.y, outputs)
        if support.y.dtype.is_integer and outputs.shape.rank == 2:
            # The network may have outputs for more ways than there are.
            known = tf.range(tf.shape(outputs)[1]) <= tf.cast(tf.reduce_max(support.y), tf.int32)
            outputs = tf.where(known, outputs, outputs.dtype.min / 2)
        return tf.cast(function(query.y, outputs, query.mask), tf.float64)

    def _baseline(self, support, query):
        """What a learner scores that knows nothing of the inputs."""
        if self.score_name == "accuracy":
            if not support.y.dtype.is_integer:
                return {}
            ways = tf.cast(tf.reduce_max(support.y), tf.float64) + 1
            return {"chance": 1 / ways}
        rows = tf.reshape(support.mask, [-1] + [1] * (support.y.shape.rank - 1))
        rows = tf.cast(rows, support.y.dtype)
        mean = tf.reduce_sum(support.y * rows, axis=0) / tf.reduce_sum(rows)
        function, _ = default_score(self.learner.query_loss, query.y, query.y)
        guess = mean + tf.zeros_like(query.y)
        return {"support mean": tf.cast(function(query.y, guess, query.mask), tf.float64)}


def _permutation(rows):
    """A permutation, the same at each call, that leaves no row in its place."""
    order = np.random.default_rng(0).permutation(rows)
    # Around one circle through all rows.
    return np.roll(order, 1)[np.argsort(order)]


def _cosines(gradients):
    """The cosine of the outer gradients of each two tasks; None if there are fewer than two."""
    if len(gradients) < 2:
        return None
    rows = np.stack(gradients).astype(np.float64)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)
    cosines = rows @ rows.T
    number = len(rows)
    # One a task, its mean with the others: those of pairs would not be independent.
    return EvaluationReport((cosines.sum(axis=1) - 1) / (number - 1), "cosine")
