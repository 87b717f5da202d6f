"""Conditional neural processes (CNP)."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.engine.saving import default_argument
from tfmeta.hints import Nest
from tfmeta.learners.context.base import (
    GaussianDecoder,
    check_layer,
    check_minimum_scale,
    check_widths,
    dense_layers,
    mean_of_rows,
)
from tfmeta.learners.gaussian import GaussianLearner, full_precision, rows_of_targets
from tfmeta.types import Examples


@keras.saving.register_keras_serializable("tfmeta")
class CNP(GaussianLearner):
    """Encode each context point, take the mean, and decode a Gaussian at each target input.

    With the support points `(x_i, y_i)`, the context, and query inputs `x`, the targets:

        r_i = h([x_i, y_i]),    r = mean of r_i over the context        `[R]`
        [m, u] = g([r, x]),     s = s_0 + (1 - s_0) softplus(u)         `[M, d]` each
        y ~ N(m, s^2),          loss = - mean over the query set of log N(y; m, s^2)

    Outputs are the means `m`; `predict_distribution` has `s`, too. For regression, with targets
    `[rows, d]`; their width, and that of the inputs, is seen at the first episode. A loss need not
    be compiled, and is not used; metrics compare `m` with targets.

    Meta-learned: the weights of `h`, of `g`, and of the network, if there is one. Adapted: `r`.

    Differs from the paper: the loss is that of the query points; in training the authors' code
    adds that of the context points. For the same, make episodes whose query sets hold the support
    points.

    Args:
        network: a `keras.Model` that maps inputs to features `[rows, F]` (more axes are flattened),
            which then stand for `x` in both `h` and `g`: for pictures, say. None for `x` itself.
        encoder: `h`, a `keras.Model` or layer from `[rows, F + d]` to `[rows, R]`; None for dense
            layers of the widths `(*hidden, representation)`.
        decoder: `g`, a `keras.Model` or layer from `[rows, R + F]` to `[rows, 2 d]`, means first;
            None for dense layers of the widths `(*hidden, 2 d)`.
        representation: `R` of the encoder that is made here. The authors' code: 128.
        hidden: widths of the hidden layers of what is made here. The authors' code: three of 128
            in the encoder, two in the decoder.
        minimum_scale: `s_0`, > 0 and < 1. The authors' code: 0.1.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        Garnelo et al., "Conditional Neural Processes", ICML 2018, arXiv:1807.01613, section 2;
        `conditional_neural_process.ipynb` of the authors' code.
    """

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        encoder: keras.Model | None = None,
        decoder: keras.Model | None = None,
        representation: int = 128,
        hidden: Sequence[int] = (128, 128),
        minimum_scale: float = 0.1,
        **kwargs,
    ):
        super().__init__(network, **kwargs)
        self.representation = check_integer("representation", representation, 1)
        self.hidden = check_widths(hidden)
        self.minimum_scale = check_minimum_scale(minimum_scale)
        self.encoder = check_layer("encoder", encoder)
        self.decoder = check_layer("decoder", decoder)
        widths, dtype = (*self.hidden, self.representation), self.dtype_policy
        self.encode = dense_layers(widths, dtype, "encoder") if encoder is None else encoder
        self.decode = GaussianDecoder(decoder, self.hidden, self.minimum_scale, dtype=dtype)

    def fixed_arguments(self):
        return {"decoder", "encoder", "hidden", "minimum_scale", "representation"}

    @classmethod
    def search_space(cls, hp):
        """Arguments of the constructor, drawn with the `hp` of keras-tuner."""
        size = hp.Int(
            "representation",
            16,
            512,
            sampling="log",
            default=default_argument(cls, "representation"),
        )
        scale = hp.Float(
            "minimum_scale",
            1e-3,
            0.3,
            sampling="log",
            default=default_argument(cls, "minimum_scale"),
        )
        return {"representation": size, "minimum_scale": scale}

    def adapt(self, support: Examples, training: bool = False) -> Nest:
        x = self.features(support.x, training)
        y = rows_of_targets(support.y, x.dtype)
        points = full_precision(self.encode(tf.concat([x, y], axis=-1), training=training))
        mean = mean_of_rows(points, support.mask)
        if not self.decode.built:  # here it sees the width of targets
            self.decode(_beside(mean, x), y)
        return mean

    def predict_distribution(
        self, adapted: Nest, x: Nest, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        x = self.features(x, training)
        return self.decode(_beside(adapted, x), training=training)


def _beside(representation, x):
    """`[r, x]` for each row of x: `[R]` and `[rows, F]` to `[rows, R + F]`."""
    rows = tf.ones_like(x[:, :1]) * tf.cast(representation, x.dtype)
    return tf.concat([rows, x], axis=-1)
