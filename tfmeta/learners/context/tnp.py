"""Transformer neural processes (TNP-D)."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.engine.saving import default_argument
from tfmeta.hints import Nest
from tfmeta.learners.context.attention import Attention
from tfmeta.learners.context.base import GaussianDecoder, check_minimum_scale, dense_layers
from tfmeta.learners.gaussian import GaussianLearner, full_precision, rows_of_targets
from tfmeta.types import Examples


class ContextStates(NamedTuple):
    """What `TNP.adapt` returns.

    Attributes:
        points: for each of the L blocks keys and values of the context points,
            `[heads, S, D / heads]` each.
        mask: `[S]`, 0 for rows that nothing looks at.
        blank: zeros `[d]`, in the place of a target that is not known.
    """

    points: Any
    mask: Any
    blank: Any


@keras.saving.register_keras_serializable("tfmeta")
class TNP(GaussianLearner):
    """A transformer over the points, in which every point looks at the context points.

    With an embedding `e` of points, and of targets with zeros in the place of y:

        h_i = e([x_i, y_i]) for the context,    h = e([x, 0]) for a target
        L times:  h <- norm(h + attention(h, context's h_i)),   h <- norm(h + MLP(h))     `[D]`
        [m, v] = g(h of a target),              s = s_0 + (1 - s_0) softplus(v)
        y ~ N(m, s^2),            loss = - mean over the query set of log N(y; m, s^2)

    Targets look at the context, and not at each other (TNP-D, D for diagonal): each is predicted
    on its own. So the context is run through the blocks once, in `adapt`. For regression, as in
    `CNP`.

    Meta-learned: all weights. Adapted: the states of the context points.

    Differs from the paper: the standard deviation is a softplus with a smallest value, the authors'
    code has an exponential for curves.

    Args:
        network: a `keras.Model` that maps inputs to features, as in `CNP`.
        width: `D`, of the points' states.
        heads: of the attention; they divide `width`.
        blocks: `L`.
        feedforward: width of the hidden layer of the blocks' MLP, and of `g`.
        embedding_layers: how many dense layers `e` has.
        minimum_scale: `s_0`, > 0 and < 1.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    The defaults are the authors' for curves.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        Nguyen and Grover, "Transformer Neural Processes: Uncertainty-Aware Meta Learning Via
        Sequence Modeling", ICML 2022, arXiv:2207.04179, section 4.2; `models/tnpd.py` of the
        authors' code.
    """

    gains_in_xla = False  # as in `AttentiveNP`

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        width: int = 64,
        heads: int = 4,
        blocks: int = 6,
        feedforward: int = 128,
        embedding_layers: int = 4,
        minimum_scale: float = 0.01,
        **kwargs,
    ):
        super().__init__(network, **kwargs)
        self.width, self.heads = check_integer("width", width, 1), check_integer("heads", heads, 1)
        if self.width % self.heads:
            raise ValueError(f"Expected heads that divide width={width}. Received: heads={heads}.")
        self.blocks = check_integer("blocks", blocks, 1)
        self.feedforward = check_integer("feedforward", feedforward, 1)
        self.embedding_layers = check_integer("embedding_layers", embedding_layers, 1)
        self.minimum_scale = check_minimum_scale(minimum_scale)
        dtype = self.dtype_policy
        self.embed = dense_layers([self.width] * self.embedding_layers, dtype, "embedding")
        sizes = (self.width, self.heads, self.feedforward)
        self.transform = [Block(*sizes, dtype=dtype) for _ in range(self.blocks)]
        self.decode = GaussianDecoder(None, (self.feedforward,), self.minimum_scale, dtype=dtype)

    def fixed_arguments(self):
        return {"blocks", "embedding_layers", "feedforward", "heads", "minimum_scale", "width"}

    @classmethod
    def search_space(cls, hp):
        """Arguments of the constructor, drawn with the `hp` of keras-tuner."""
        return {
            "width": hp.Choice("width", [32, 64, 128], default=default_argument(cls, "width")),
            "blocks": hp.Int("blocks", 2, 8, default=default_argument(cls, "blocks")),
            "feedforward": hp.Choice(
                "feedforward", [64, 128, 256], default=default_argument(cls, "feedforward")
            ),
        }

    def adapt(self, support: Examples, training: bool = False) -> Nest:
        x = self.features(support.x, training)
        y = rows_of_targets(support.y, x.dtype)
        rows = self.embed(tf.concat([x, y], axis=-1), training=training)
        rows, context = self._through_blocks(rows, support)
        if not self.decode.built:  # here it sees the width of targets
            self.decode(full_precision(rows), y)
        return context._replace(blank=tf.zeros_like(y[0]))

    def predict_distribution(
        self, adapted: Nest, x: Nest, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        x = self.features(x, training)
        unknown = tf.ones_like(x[:, :1]) * tf.cast(adapted.blank, x.dtype)
        rows = self.embed(tf.concat([x, unknown], axis=-1), training=training)
        for block, points in zip(self.transform, adapted.points, strict=True):
            rows, _ = block(rows, points, adapted.mask)
        return self.decode(full_precision(rows), training=training)

    def adapt_and_predict(self, support, x, training=False):
        # One pass for context and targets together: half the operations of a step.
        if not self.decode.built:
            return super().adapt_and_predict(support, x, training)
        known, x = self.features(support.x, training), self.features(x, training)
        y = rows_of_targets(support.y, x.dtype)
        blank = tf.zeros_like(y[0])
        unknown = tf.ones_like(x[:, :1]) * blank
        pairs = (tf.concat(t, axis=0) for t in ((known, x), (y, unknown)))
        rows = self.embed(tf.concat(list(pairs), axis=-1), training=training)
        rows, context = self._through_blocks(rows, support)
        targets = tf.split(rows, [tf.shape(y)[0], -1], axis=0)[1]
        mean_and_scale = self.decode(full_precision(targets), training=training)
        return context._replace(blank=blank), mean_and_scale

    def _through_blocks(self, rows, support):
        """Rows `[.., D]`, the context points first, after all blocks; and `ContextStates`."""
        number, points = support.y.shape[0] or tf.shape(support.y)[0], []
        for block in self.transform:
            # Not `rows[:number]`, whose gradient takes several times as long.
            context = tf.slice(rows, (0, 0), (number, rows.shape[-1]))
            rows, looked_up = block(rows, context, support.mask)
            points.append(looked_up)
        return rows, ContextStates(tuple(points), support.mask, None)


class Block(keras.layers.Layer):
    """Points `[rows, D]` that look at the context, each followed by an MLP of its own.

    Args:
        width, heads, feedforward: as in `TNP`.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.
    """

    def __init__(self, width, heads, feedforward, **kwargs):
        super().__init__(**kwargs)
        dtype = self.dtype_policy
        self.attend = Attention(width, heads, dtype=dtype)
        self.widen = keras.layers.Dense(feedforward, "relu", dtype=dtype)
        self.narrow = keras.layers.Dense(width, dtype=dtype)
        self.norms = [keras.layers.LayerNormalization(epsilon=1e-5, dtype=dtype) for _ in range(2)]

    def build(self, rows_shape):
        self.attend.build(rows_shape, rows_shape, rows_shape)
        self.widen.build(rows_shape)
        self.narrow.build(self.widen.compute_output_shape(rows_shape))
        for norm in self.norms:
            norm.build(rows_shape)

    def call(self, rows, context, mask):
        """Points `[rows, D]` that look at the context points `[S, D]`, whose mask is `[S]`.

        Returns:
            `(rows, looked_up)`: what becomes of the points, and of the context points keys and
            values, which may be given in their place.
        """
        if not isinstance(context, tuple):
            context = self.attend.looked_up(context, context)
        rows = self.norms[0](rows + self.attend.look(rows, context, mask))
        return self.norms[1](rows + self.narrow(self.widen(rows))), context
