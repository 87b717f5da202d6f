"""Attentive neural processes (ANP)."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.engine.saving import default_argument
from tfmeta.learners.context.attention import Attention
from tfmeta.learners.context.base import dense_layers
from tfmeta.learners.context.latent_np import LatentNP
from tfmeta.learners.gaussian import full_precision


class AttendedPoints(NamedTuple):
    """What `AttentiveNP` keeps of the context.

    Attributes:
        keys: `[S, H]`, of its inputs.
        values: `[S, R]`, of its points.
        mask: `[S]`, 0 for rows that no target looks at.
    """

    keys: Any
    values: Any
    mask: Any


@keras.saving.register_keras_serializable("tfmeta")
class AttentiveNP(LatentNP):
    """A latent neural process whose targets look at the context points that are like them.

    Beside the latent variable `z` of `LatentNP`, the decoder is given what each target finds in
    the context, by attention with several heads:

        v_i = h'([x_i, y_i]),    r(x) = attention(query k(x), keys k(x_i), values v_i)      `[R]`
        y ~ N(m, s^2),           [m, v] = g([z, r(x), x])

    `h` of the latent variable, the loss in training, and the mixture of draws outside training are
    those of `LatentNP`.

    Meta-learned: the weights of `h`, `h'`, `k`, of the attention, of `l`, `g`, and of the network,
    if there is one. Adapted: the keys and values of the context points, and the distribution of
    `z`.

    Differs from the paper: the context points do not look at each other (the paper's
    self-attention), which the authors' code does without for curves, too. The loss as in
    `LatentNP`. The smallest standard deviation is 0.01, not the 0.1 of the authors' code: with
    that no likelihood can be better than a normal density's of 0.1.

    Args:
        network: a `keras.Model` that maps inputs to features, as in `CNP`.
        encoder: `h`, as in `LatentNP`. `h'` is made like the one that is made for None.
        decoder: `g`, a `keras.Model` or layer from `[rows, Z + R + F]` to `[rows, 2 d]`, means
            first; None for dense layers of the widths `(*hidden, 2 d)`.
        representation, latent_size, evaluation_draws: as in `LatentNP`.
        heads: of the attention; they divide `representation`. The authors' code: 8.
        hidden: widths of the hidden layers of what is made here; `k` has them all, and one of
            `representation`.
        minimum_scale: `s_0`, > 0 and < 1.
        seed: int, of the draws in training.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        Kim et al., "Attentive Neural Processes", ICLR 2019, arXiv:1901.05761, section 3;
        `attentive_neural_process.ipynb` of the authors' code.
    """

    gains_in_xla = False  # a step takes as long, and the first one three times as long

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        heads: int = 8,
        minimum_scale: float = 0.01,
        **kwargs,
    ):
        super().__init__(network, minimum_scale=minimum_scale, **kwargs)
        self.heads = check_integer("heads", heads, 1)
        if self.representation % self.heads:
            raise ValueError(
                f"Expected heads that divide representation={self.representation}. Received: "
                f"heads={heads}."
            )
        widths, dtype = (*self.hidden, self.representation), self.dtype_policy
        self.encode_values = dense_layers(widths, dtype, "value_encoder")
        self.encode_keys = dense_layers(widths, dtype, "key_encoder")
        self.attend = Attention(self.representation, self.heads, dtype=dtype)

    def fixed_arguments(self):
        return super().fixed_arguments() | {"heads"}

    @classmethod
    def search_space(cls, hp):
        """Arguments of the constructor, drawn with the `hp` of keras-tuner."""
        sizes = {name: [64, 128, 256] for name in ("representation", "latent_size")}
        space = {
            name: hp.Choice(name, values, default=default_argument(cls, name))
            for name, values in sizes.items()
        }
        scale = hp.Float(
            "minimum_scale",
            1e-3,
            0.3,
            sampling="log",
            default=default_argument(cls, "minimum_scale"),
        )
        return space | {"minimum_scale": scale}

    def context_points(self, x, y, mask, training):
        keys = self.encode_keys(x, training=training)
        values = self.encode_values(tf.concat([x, y], axis=-1), training=training)
        return AttendedPoints(keys, values, mask)

    def query_rows(self, points, x, training):
        queries = self.encode_keys(x, training=training)
        found = self.attend(queries, points.keys, points.values, points.mask)
        return tf.concat([full_precision(found), x], axis=-1)
