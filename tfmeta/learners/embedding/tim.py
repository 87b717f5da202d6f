"""TIM: class vectors that make the predictions of a query set informative."""

import keras
import tensorflow as tf

from tfmeta.arguments import check_integer, check_number
from tfmeta.backend.calls import of_each_task
from tfmeta.engine.saving import default_argument
from tfmeta.hints import Nest
from tfmeta.learners.embedding.base import EmbeddingLearner, hide_absent
from tfmeta.ops import squared_euclidean
from tfmeta.types import Examples


@keras.saving.register_keras_serializable("tfmeta")
class TIM(EmbeddingLearner):
    """Move class vectors until predictions of the query set are sure, and even. Transductive.

    With the network `f`, pretrained on the names of the base classes, `z = f(x) / |f(x)|`, and
    vectors `w_k`, which start at the mean of `z` over the support examples of class `k`:

        p_ik = softmax over k of -t/2 |z_i - w_k|^2
        loss(w) = l * crossentropy of the support set - H(mean of p over the query set)
                  + a * mean over the query set of H(p_i)

    It is descended by turns (TIM-ADM): with `q_ik` in proportion to `p_ik^(1+a) / (sum over i of
    p_ik^(1+a))^(1/2)`, and all sums divided by the number of their examples,

        w_k = [l / (1+a) sum over S of (y_ik z_i + p_ik (w_k - z_i))
               + sum over Q of (q_ik z_i + p_ik (w_k - z_i))]
              / [l / (1+a) sum over S of y_ik + sum over Q of q_ik]

        outputs_k = -t/2 |z - w_k|^2        (logits), after `T` turns

    Pretrained: the weights of `f`. Adapted: nothing; the support set is kept. A prediction depends
    on the other query examples, so that scores are those of whole query sets, and those of query
    sets with as many examples of each class are better than others can be. The learner can be
    trained on episodes, too: in a step of `fit` the vectors stay where they start.

    Differs from the paper: nothing in the method; the paper's pretraining smooths labels, and in
    the authors' code the mean of the base classes is taken from features, as in `SimpleShot`.

    Args:
        network: a `keras.Model` that maps inputs to embeddings, `[rows, D]` (more axes are
            flattened), or None for a subclass with `call`.
        temperature: `t`, > 0. The authors' code: 15.
        support_weight: `l`, > 0. The authors' code: 0.1.
        conditional_weight: `a`, >= 0. The authors' code: 0.1.
        steps: `T`, at least 1. The authors' code: 150.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        Boudiaf, Masud, Rony, Dolz, Piantanida and Ben Ayed, "Transductive Information Maximization
        For Few-Shot Learning", NeurIPS 2020, arXiv:2008.11297, section 2, proposition 1;
        `src/tim.py` of the authors' code.
    """

    transductive = True
    needs_pretraining = True

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        temperature: float = 15.0,
        support_weight: float = 0.1,
        conditional_weight: float = 0.1,
        steps: int = 150,
        **kwargs,
    ):
        super().__init__(network, **kwargs)
        self.temperature = check_number("temperature", temperature)
        self.support_weight = check_number("support_weight", support_weight)
        self.conditional_weight = check_number("conditional_weight", conditional_weight, zero=True)
        self.steps = check_integer("steps", steps, 1)

    @classmethod
    def search_space(cls, hp):
        """Arguments of the constructor, drawn with the `hp` of keras-tuner."""
        return {
            "temperature": hp.Float(
                "temperature",
                1.0,
                50.0,
                sampling="log",
                default=default_argument(cls, "temperature"),
            ),
            "support_weight": hp.Float(
                "support_weight",
                0.01,
                1.0,
                sampling="log",
                default=default_argument(cls, "support_weight"),
            ),
        }

    def embed(self, x, training=False):
        return tf.math.l2_normalize(super().embed(x, training), axis=-1)

    def adapt(self, support: Examples, training: bool = False) -> Nest:
        return self.embedded_support(support, training)

    def predict_query(
        self, adapted: Nest, x: Nest, mask: Nest = None, training: bool = False
    ) -> Nest:
        queries = self.embed(x, training)
        mask = tf.ones_like(queries[:, 0]) if mask is None else tf.cast(mask, queries.dtype)
        support, members, present = adapted
        counts = tf.reduce_sum(members, axis=0)
        vectors = tf.math.divide_no_nan(
            tf.matmul(members, support, transpose_a=True), counts[:, None]
        )
        if not training:
            vectors = self._turns(vectors, adapted, queries, mask)
        return hide_absent(self._logits(queries, vectors), present)

    def _logits(self, rows, vectors):
        return -0.5 * self.temperature * squared_euclidean(rows, vectors)

    def _turns(self, vectors, adapted, queries, mask):
        """The class vectors after `T` turns, `[N, D]`."""
        support, members, present = adapted
        real = tf.reduce_sum(members, axis=-1)
        weight = self.support_weight / (1.0 + self.conditional_weight) / tf.reduce_sum(real)
        labels = weight * members

        def probabilities(rows, vectors, mask):
            return tf.nn.softmax(hide_absent(self._logits(rows, vectors), present)) * mask[:, None]

        def pull(rows, wanted, found, vectors):
            """Sum of `wanted z + found (w - z)`, `[N, D]`."""
            return tf.matmul(wanted - found, rows, transpose_a=True) + (
                tf.reduce_sum(found, axis=0)[:, None] * vectors
            )

        def turn(t, vectors):
            of_support = weight * probabilities(support, vectors, real)
            of_queries = probabilities(queries, vectors, mask)
            powers = of_queries ** (1.0 + self.conditional_weight)
            sums = tf.sqrt(tf.reduce_sum(powers, axis=0))
            wanted = tf.math.divide_no_nan(powers, sums)
            wanted = tf.math.divide_no_nan(wanted, tf.reduce_sum(wanted, -1, keepdims=True))
            count = tf.reduce_sum(mask)
            wanted, of_queries = wanted / count, of_queries / count
            new = pull(support, labels, of_support, vectors)
            new += pull(queries, wanted, of_queries, vectors)
            norms = tf.reduce_sum(labels, axis=0) + tf.reduce_sum(wanted, axis=0)
            return t + 1, tf.math.divide_no_nan(new, norms[:, None])

        start = of_each_task(vectors + 0.0 * queries[:1], like=queries)
        return tf.while_loop(
            lambda t, _: t < self.steps,
            turn,
            (tf.constant(0), start),
            maximum_iterations=self.steps,
        )[1]
