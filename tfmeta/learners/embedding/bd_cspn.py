"""BD-CSPN: prototypes that are rectified by the query set."""

import keras
import tensorflow as tf

from tfmeta.arguments import check_integer, check_number
from tfmeta.engine.saving import default_argument
from tfmeta.hints import Nest
from tfmeta.learners.embedding.base import EmbeddingLearner, hide_absent
from tfmeta.ops import cosine_similarity
from tfmeta.types import Examples


@keras.saving.register_keras_serializable("tfmeta")
class BDCSPN(EmbeddingLearner):
    """Move query examples to the support set, and prototypes to what looks like them. Transductive.

    With the network `f`, pretrained on the names of the base classes, and the prototypes `c_k`,
    means of `f(x)` over the support examples of class `k`:

        x' = f(x) + (mean of the support set - mean of the query set)     for query examples
        Q_k = the query examples whose nearest prototype is c_k, the `Z` most similar ones
        v_i = exp(e cos(x_i, c_k)) for the examples of S_k and Q_k
        p_k = sum of v_i x_i / sum of v_i
        outputs_k = e cos(x', p_k)        (logits)

    Pretrained: the weights of `f`. Adapted: nothing; the support set is kept. A prediction depends
    on the other query examples, so that scores are those of whole query sets. The learner can be
    trained on episodes, too, through all of this but the choice of `Q_k`.

    Differs from the paper: nothing in the head; the paper's network is pretrained with a head of
    cosines, which is the classifier of `BaselinePlusPlus`.

    Args:
        network: a `keras.Model` that maps inputs to embeddings, `[rows, D]` (more axes are
            flattened), or None for a subclass with `call`.
        scale: `e`, > 0.
        confident: `Z`, at least 1; None for all.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        Liu, Song and Qin, "Prototype Rectification for Few-Shot Learning", ECCV 2020,
        arXiv:1911.10713, section 3.
    """

    transductive = True
    needs_pretraining = True

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        scale: float = 10.0,
        confident: int = 8,
        **kwargs,
    ):
        super().__init__(network, **kwargs)
        self.scale = check_number("scale", scale)
        if confident is not None:
            confident = check_integer("confident", confident, 1)
        self.confident = confident

    @classmethod
    def search_space(cls, hp):
        """Arguments of the constructor, drawn with the `hp` of keras-tuner."""
        return {
            "scale": hp.Float(
                "scale", 1.0, 30.0, sampling="log", default=default_argument(cls, "scale")
            )
        }

    def adapt(self, support: Examples, training: bool = False) -> Nest:
        return self.embedded_support(support, training)

    def predict_query(
        self, adapted: Nest, x: Nest, mask: Nest = None, training: bool = False
    ) -> Nest:
        queries = self.embed(x, training)
        mask = tf.ones_like(queries[:, 0]) if mask is None else tf.cast(mask, queries.dtype)
        support, members, present = adapted
        real = tf.reduce_sum(members, axis=-1)
        queries += _mean(support, real) - _mean(queries, mask)
        prototypes = tf.math.divide_no_nan(
            tf.matmul(members, support, transpose_a=True), tf.reduce_sum(members, 0)[:, None]
        )
        similar = hide_absent(cosine_similarity(queries, prototypes), present)
        of_queries = self._pseudo_labels(tf.stop_gradient(similar), mask)
        # Cosines are at most 1: no exponent can overflow.
        of_support = members * tf.exp(self.scale * (cosine_similarity(support, prototypes) - 1))
        of_queries *= tf.exp(self.scale * (tf.maximum(similar, -1.0) - 1))
        sums = tf.matmul(of_support, support, transpose_a=True)
        sums += tf.matmul(of_queries, queries, transpose_a=True)
        rectified = tf.math.divide_no_nan(
            sums, (tf.reduce_sum(of_support, 0) + tf.reduce_sum(of_queries, 0))[:, None]
        )
        return hide_absent(self.scale * cosine_similarity(queries, rectified), present)

    def _pseudo_labels(self, similar, mask):
        """`[M, N]`, 1 where a query example is of `Q_k`, from cosines `[M, N]`."""
        nearest = tf.one_hot(tf.argmax(similar, axis=-1), tf.shape(similar)[-1])
        nearest = tf.cast(nearest, similar.dtype) * mask[:, None]
        if self.confident is None:
            return nearest
        own = tf.transpose(tf.where(nearest > 0, similar, similar.dtype.min))
        size = own.shape[-1] or tf.shape(own)[-1]
        known = isinstance(size, int)
        count = min(self.confident, size) if known else tf.minimum(self.confident, size)
        least = tf.math.top_k(own, count).values[:, -1]
        return nearest * tf.cast(similar >= least[None], similar.dtype)


def _mean(rows, mask):
    """The mean of the real rows, `[D]`."""
    return tf.linalg.matvec(rows, mask, transpose_a=True) / tf.reduce_sum(mask)
