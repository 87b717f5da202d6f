"""Label propagation over a graph of all examples of a task (TPN)."""

import keras
import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_flag, check_integer, check_number
from tfmeta.backend.solve import solve
from tfmeta.engine.saving import default_argument
from tfmeta.hints import Nest
from tfmeta.learners.embedding.base import EmbeddingLearner, hide_absent
from tfmeta.ops import squared_euclidean
from tfmeta.types import Examples


@keras.saving.register_keras_serializable("tfmeta")
class LabelPropagation(EmbeddingLearner):
    """Spread the labels of the support set over a graph of all examples. Transductive.

    With the network `f`, `z = f(x)` of width `D` for all examples, of the support and of the query
    set, and a length scale `s_i` for each that a network `g` reads off its embedding:

        W_ij = exp(-1/2 |z_i / s_i - z_j / s_j|^2 / D),    s_i = softplus(g(z_i))
        W_ij stays where one is among the `k` nearest of the other, and is 0 elsewhere
        L = E^{-1/2} W E^{-1/2},    E the diagonal of the sums of W's rows
        F = (I - a L)^{-1} Y        Y one-hot labels, 0 for query examples
        outputs of a query example = its row of F        (logits)

    Meta-learned: the weights of `f` and of `g`. Adapted: nothing; the support set is kept. A
    prediction depends on the other query examples, so that scores are those of whole query sets:
    train it with as many query examples as it will meet, which are most of the graph.

    Differs from the paper: `g` is two dense layers on the embedding, where the paper has two blocks
    of convolution before them; the loss is that of the query examples, the paper's is that of all.

    Args:
        network: a `keras.Model` that maps inputs to embeddings, `[rows, D]` (more axes are
            flattened), or None for a subclass with `call`.
        spread: `a`, > 0 and < 1. The authors' code: 0.99.
        neighbours: `k`, at least 1. The authors' code: 20.
        learn_scale: False leaves all length scales at 1.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        Liu, Lee, Park, Kim, Yang, Hwang and Yang, "Learning to Propagate Labels: Transductive
        Propagation Network for Few-Shot Learning", ICLR 2019, arXiv:1805.10002, section 3;
        `models.py` of the authors' code.
    """

    transductive = True

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        spread: float = 0.99,
        neighbours: int = 20,
        learn_scale: bool = True,
        **kwargs,
    ):
        super().__init__(network, **kwargs)
        self.spread = check_number("spread", spread)
        if self.spread >= 1:
            raise ValueError(f"Expected spread < 1. Received: {spread!r}.")
        self.neighbours = check_integer("neighbours", neighbours, 1)
        self.learn_scale = check_flag("learn_scale", learn_scale)

    def fixed_arguments(self):
        return {"learn_scale"}

    @classmethod
    def search_space(cls, hp):
        """Arguments of the constructor, drawn with the `hp` of keras-tuner."""
        return {
            "neighbours": hp.Int(
                "neighbours", 5, 50, sampling="log", default=default_argument(cls, "neighbours")
            )
        }

    def make_weights(self, shape):
        if self.learn_scale:
            self.scales = keras.Sequential(
                [
                    keras.layers.Dense(8, "relu", dtype=self.dtype_policy),
                    keras.layers.Dense(1, dtype=self.dtype_policy),
                ],
                name="scales",
            )
            self.scales.build((None, int(np.prod(shape))))

    def adapt(self, support: Examples, training: bool = False) -> Nest:
        return self.embedded_support(support, training)

    def predict_query(
        self, adapted: Nest, x: Nest, mask: Nest = None, training: bool = False
    ) -> Nest:
        queries = self.embed(x, training)
        mask = tf.ones_like(queries[:, 0]) if mask is None else tf.cast(mask, queries.dtype)
        rows = tf.concat([adapted.embeddings, queries], axis=0)
        real = tf.concat([tf.reduce_sum(adapted.members, axis=-1), mask], axis=0)
        unlabelled = tf.zeros_like(queries[:, :1]) * adapted.present
        labels = tf.concat([adapted.members, unlabelled], axis=0)
        spread = self._propagated(self._graph(rows, real), labels)
        return hide_absent(spread[tf.shape(adapted.members)[0] :], adapted.present)

    def _graph(self, rows, real):
        """`W` `[R, R]`, 0 for padded rows."""
        if self.learn_scale:
            scales = tf.nn.softplus(tf.cast(self.scales(rows), rows.dtype))
            rows = rows / tf.maximum(scales, 1e-6)
        weights = tf.exp(-0.5 * squared_euclidean(rows, rows) / rows.shape[-1])
        weights *= real[:, None] * real[None]
        size = weights.shape[0] or tf.shape(weights)[0]
        known = isinstance(size, int)
        count = min(self.neighbours, size) if known else tf.minimum(self.neighbours, size)
        least = tf.math.top_k(tf.stop_gradient(weights), count).values[:, -1]
        near = tf.cast(weights >= least[:, None], weights.dtype)
        return weights * tf.stop_gradient(tf.maximum(near, tf.transpose(near)))

    def _propagated(self, weights, labels):
        degrees = tf.reduce_sum(weights, axis=-1)
        safe = tf.where(degrees > 0, degrees, tf.ones_like(degrees))
        roots = tf.where(degrees > 0, tf.math.rsqrt(safe), tf.zeros_like(safe))
        system = tf.eye(tf.shape(weights)[0], dtype=weights.dtype)
        spread = self.spread * weights * roots[:, None] * roots[None]
        # A NaN would stop the solver with a message of its own; it comes to the outputs, too.
        finite = tf.reduce_all(tf.math.is_finite(spread))
        system -= tf.where(finite, spread, tf.zeros_like(spread))
        return solve(system, labels) + 0.0 * tf.reduce_sum(spread)
