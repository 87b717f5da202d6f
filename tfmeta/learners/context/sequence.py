"""What learners that read an episode row by row share."""

import keras
import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_flag, check_integer
from tfmeta.engine.checks import learner_checks
from tfmeta.engine.inputs import as_examples, check_labels
from tfmeta.engine.meta_model import MetaModel
from tfmeta.engine.serving import known_ways
from tfmeta.engine.task import TaskResult
from tfmeta.hints import Nest
from tfmeta.learners.gaussian import features_of, full_precision, rows_of_targets
from tfmeta.types import Examples


class SequenceLearner(MetaModel):
    """Base of the learners that read the support rows one after another.

    Each support row comes with its label, in the order given. Each query row is the next row after
    all of them, by itself: it sees no other query row, and its own label is not known. So the same
    learner predicts along a sequence (`predict_sequence`, each row from those before it and their
    labels) and answers N-way K-shot episodes. Integer targets are labels `0..ways-1`, and outputs
    their logits; others, `[rows]` or `[rows, d]`, are numbers that outputs predict. Padded rows are
    left out of the sequence, wherever they are.

    A subclass says in `read` how it reads the support rows, and in `answer` what comes next.

    Args:
        network: a `keras.Model` that maps inputs to features `[rows, F]` (more axes are
            flattened), which then take the place of the inputs; None for the inputs as they are.
        ways: number of classes that labels may name; not used where targets are numbers.
        score_support: True trains each support row's prediction from the rows before it, too;
            False those of the query rows alone. Loss and metrics are of the query rows.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.
    """

    supports_masks = True
    one_label_a_row = True
    order_matters = True
    predicts_sequences = True

    def __init__(self, network=None, *, ways=5, score_support=True, **kwargs):
        super().__init__(network, **kwargs)
        self.supports_jit = False  # by default: XLA takes minutes over sequences on a CPU
        self.ways = check_integer("ways", ways, 2)
        self.score_support = check_flag("score_support", score_support)
        self.head = Head(dtype=self.dtype_policy)

    def call(self, x, training=None):
        """The features of inputs: themselves, without a network."""
        return x if self.network is None else self.network(x, training=training)

    def read(self, x, y, mask, training=False):
        """Read the support rows.

        Args:
            x: features `[S, F]`.
            y: one-hot labels or targets `[S, d]`.
            mask: `[S]`, ones, then zeros.
            training: True inside a step of `fit`.

        Returns:
            `(outputs, memory)`: a prediction for each row from those before it, `[S, d]`, and a
            nest of tensors for `answer`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define `read`.")

    def answer(self, memory, x, training=False):
        """Outputs `[M, d]` for features `[M, F]`, each the next row after those that were read."""
        raise NotImplementedError(f"{type(self).__name__} does not define `answer`.")

    def adapt(self, support: Examples, training: bool = False) -> Nest:
        return self._read(support, training)[1]

    def predict_query(self, adapted: Nest, x: Nest, training: bool = False) -> Nest:
        return self.answer(adapted, self.features(x, training), training)

    def predict_sequence(self, examples):
        """Predict each row of a sequence from the rows before it and their targets.

        Args:
            examples: `Examples` of one task, in order.

        Returns:
            Outputs `[rows, ...]`; row t is `predict_query(adapt(first t rows), x[t])`.
        """
        learner_checks.check_built(self, "predict_sequence")
        return self._read(as_examples(self, examples), False)[0]

    def score_task(self, episode, training):
        support, query = as_examples(self, episode.support), episode.query
        before, adapted = self._read(support, training)
        outputs, objective = self.predict_query(adapted, query.x, training=training), None
        if self.score_support:
            y = tf.concat([support.y, query.y], axis=0)
            mask = tf.concat([support.mask, query.mask], axis=0)
            of_all = tf.concat([before, outputs], axis=0)
            objective = self.task_loss(Examples(None, y, mask), of_all)
        loss = self.task_loss(query, outputs)
        return TaskResult(loss, query.y, outputs, query.mask, objective, adapted=adapted)

    def check_episodes(self, first):
        for name, part in zip(first._fields, first, strict=True):
            if np.issubdtype(part.y.dtype, np.integer) and part.y.max() >= self.ways:
                raise ValueError(
                    f"Expected class labels 0..{self.ways - 1}, below the learner's ways. "
                    f"Received: {part.y.max()} in {name}.y. Make the learner with "
                    f"ways={part.y.max() + 1}, or the episodes with ways={self.ways}."
                )

    def features(self, x, training=False):
        """Features `[rows, F]`."""
        return features_of(self, x, training)

    def _read(self, support, training):
        x = self.features(support.x, training)
        y, mask = self._numbers(support.y, x.dtype), tf.cast(support.mask, x.dtype)
        # Padding behind the real rows, where no real row sees it.
        real = tf.cumsum(mask)
        place = tf.where(mask > 0, real, real[-1] + tf.cumsum(1 - mask)) - 1
        rows = y.shape[0] or tf.shape(y)[0]
        order = tf.one_hot(tf.cast(place, tf.int32), rows, dtype=x.dtype)
        x, y, in_front = (tf.matmul(order, t, transpose_a=True) for t in (x, y, mask[:, None]))
        outputs, memory = self.read(x, y, in_front[:, 0], training)
        return tf.matmul(order, outputs), memory

    def _numbers(self, y, dtype):
        """Targets `[rows, d]`: of labels, one-hot rows."""
        if not y.dtype.is_integer:
            return rows_of_targets(y, dtype)
        if tf.executing_eagerly():
            check_labels(y.numpy(), self.ways, "support.y")
        elif isinstance(known_ways(), int) and known_ways() > self.ways:
            raise ValueError(f"Expected at most {self.ways} classes. Received: {known_ways()}.")
        return tf.one_hot(y, self.ways, dtype=dtype)


class Head(keras.layers.Layer):
    """A dense layer as wide as the targets, which the first call is given, too."""

    def build(self, inputs_shape, y_shape):
        self.dense = keras.layers.Dense(y_shape[-1], dtype=self.dtype_policy)
        self.dense.build(inputs_shape)

    def call(self, inputs, y=None):
        """`[rows, F]` to `[rows, d]`."""
        return full_precision(self.dense(inputs))


def one_step_late(y):
    """The targets of the row before, zeros at the first: `[S, d]` to `[S, d]`."""
    return tf.concat([tf.zeros_like(y[:1]), y[:-1]], axis=0)


def last_real(y, mask):
    """The last row of `[S, d]` whose mask is 1, where ones come first: `[d]`."""
    last = mask - tf.concat([mask[1:], tf.zeros_like(mask[:1])], axis=0)
    return tf.reduce_sum(y * last[:, None], axis=0)


def for_each(rows, values):
    """A nest of tensors `[...]`, repeated for each of the rows `[M, ...]`: `[M, ...]`."""
    number = tf.shape(rows)[0]
    return tf.nest.map_structure(lambda t: tf.repeat(t[None], number, axis=0), values)
