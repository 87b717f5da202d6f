"""FEAT: prototypes that are adapted to one another by self-attention."""

import keras
import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_number
from tfmeta.engine.saving import default_argument
from tfmeta.engine.task import TaskResult
from tfmeta.hints import Nest
from tfmeta.learners.embedding.base import EmbeddingLearner, hide_absent
from tfmeta.learners.embedding.protonet import Prototypes
from tfmeta.ops import class_means, squared_euclidean
from tfmeta.types import Examples


@keras.saving.register_keras_serializable("tfmeta")
class FEAT(EmbeddingLearner):
    """Adapt the prototypes of a task to one another by self-attention, then take the nearest.

    With the network `f` and the prototypes `c_k`, means of `f(x)` over the support examples of
    class `k`, one head of attention over the prototypes `C` `[N, D]` of the task:

        A = softmax(C W_q (C W_k)^T / sqrt(D)),    g(C) = norm(C + dropout(A C W_v W_o + b_o))
        outputs_k = -|f(x) - g(C)_k|^2 / T_1        (logits)

    In training a second loss is added, with the weight `balance`. The support and query examples of
    a class together, `E_k`, are transformed among themselves, and should lie near their own mean:

        loss = L_query + balance * mean over all examples of crossentropy(
            y, softmax over k of -|f(x) - mean of g(E_k)|^2 / T_2)

    Meta-learned: the weights of `f` and of the attention. Adapted: the prototypes. The paper
    pretrains the network on the names of the base classes: `classifier`.

    Differs from the paper: nothing in the head; in the authors' code temperatures and balance are
    chosen for each data set and number of shots.

    Args:
        network: a `keras.Model` that maps inputs to embeddings, `[rows, D]` (more axes are
            flattened), or None for a subclass with `call`.
        temperature: `T_1`, > 0. The authors' code: 32 for four
            convolutions, 128 for a residual network.
        balance: of the second loss, >= 0.
        balance_temperature: `T_2`, > 0.
        dropout: the rate behind the attention, >= 0 and < 1. The authors' code: 0.5.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        Ye, Hu, Zhan and Sha, "Few-Shot Learning via Embedding Adaptation with Set-to-Set
        Functions", CVPR 2020, arXiv:1812.03664, section 3;
        `model/models/feat.py` of the authors' code.
    """

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        temperature: float = 8.0,
        balance: float = 0.1,
        balance_temperature: float = 8.0,
        dropout: float = 0.5,
        **kwargs,
    ):
        super().__init__(network, **kwargs)
        self.temperature = check_number("temperature", temperature)
        self.balance = check_number("balance", balance, zero=True)
        self.balance_temperature = check_number("balance_temperature", balance_temperature)
        self.dropout = check_number("dropout", dropout, zero=True)
        if self.dropout >= 1:
            raise ValueError(f"Expected dropout < 1. Received: {dropout!r}.")

    def fixed_arguments(self):
        return {"dropout"}

    @classmethod
    def search_space(cls, hp):
        """Arguments of the constructor, drawn with the `hp` of keras-tuner."""
        return {
            "temperature": hp.Float(
                "temperature",
                1.0,
                128.0,
                sampling="log",
                default=default_argument(cls, "temperature"),
            ),
            "balance": hp.Float(
                "balance", 1e-3, 1.0, sampling="log", default=default_argument(cls, "balance")
            ),
        }

    def make_weights(self, shape):
        self.attention = SetAttention(self.dropout, dtype=self.dtype_policy, name="attention")
        self.attention.build((None, int(np.prod(shape))))

    def adapt(self, support: Examples, training: bool = False) -> Nest:
        return self._prototypes(self.embed(support.x, training), support, training)

    def _prototypes(self, embeddings, support, training):
        means, present = class_means(embeddings, support.y, support.mask, self.most_ways(support))
        means = self.attention(means, present[None], training=training)
        return Prototypes(tf.cast(means, embeddings.dtype), present)

    def logits(self, adapted, embeddings):
        return -squared_euclidean(embeddings, adapted.means) / self.temperature

    def score_task(self, episode, training):
        if not (training and self.balance):
            return super().score_task(episode, training)
        support, query = episode
        of_support, of_query = (self.embed(part.x, training) for part in episode)
        adapted = self._prototypes(of_support, support, training)
        outputs = hide_absent(self.logits(adapted, of_query), adapted.present)
        loss = self.task_loss(query, outputs)
        rows, labels, mask = (
            tf.concat(pair, axis=0)
            for pair in (
                (of_support, of_query), (support.y, query.y), (support.mask, query.mask)
            )
        )  # fmt: skip
        contrast = self._contrast(rows, labels, mask, self.most_ways(support), training)
        objective = loss + self.balance * contrast
        return TaskResult(loss, query.y, outputs, query.mask, objective=objective, adapted=adapted)

    def _contrast(self, rows, labels, mask, ways, training):
        """The second loss, of all rows of the task."""
        mask = tf.cast(mask, rows.dtype)
        same = tf.cast(labels[:, None] == labels[None], rows.dtype) * mask[None]
        transformed = tf.cast(self.attention(rows, same, training=training), rows.dtype)
        centres, present = class_means(transformed, labels, mask, ways)
        logits = -squared_euclidean(rows, centres) / self.balance_temperature
        values = tf.nn.sparse_softmax_cross_entropy_with_logits(
            labels=labels, logits=hide_absent(logits, present)
        )
        return tf.reduce_sum(values * mask) / tf.reduce_sum(mask)


class SetAttention(keras.layers.Layer):
    """One head of self-attention over the rows of a set, which are added, and normalised.

    Args:
        rate: of the dropout.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.
    """

    def __init__(self, rate, **kwargs):
        super().__init__(**kwargs)
        self.dropout = keras.layers.Dropout(rate, dtype=self.dtype_policy)

    def build(self, shape):
        width, policy = shape[-1], self.dtype_policy
        self.query, self.key, self.value, self.out = (
            keras.layers.Dense(
                width, use_bias=name == "out", dtype=policy, name=name,
                kernel_initializer="glorot_normal",
            )
            for name in ("query", "key", "value", "out")
        )  # fmt: skip
        self.norm = keras.layers.LayerNormalization(epsilon=1e-5, dtype=policy, name="norm")
        for layer in (self.query, self.key, self.value, self.out, self.norm):
            layer.build(shape)

    def call(self, rows, seen, training=False):
        """Rows `[R, D]` to `[R, D]`; `seen` `[R or 1, R]`, 1 where a row sees another."""
        scores = tf.matmul(self.query(rows), self.key(rows), transpose_b=True)
        scores /= rows.shape[-1] ** 0.5
        scores = tf.where(tf.cast(seen, scores.dtype) > 0, scores, scores.dtype.min / 4)
        read = self.out(tf.matmul(tf.nn.softmax(scores, axis=-1), self.value(rows)))
        return self.norm(rows + self.dropout(read, training=training))
