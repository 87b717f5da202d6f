"""Neural processes with a latent variable (NP)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.engine.inputs import as_targets, as_tensor
from tfmeta.engine.saving import default_argument
from tfmeta.engine.task import TaskResult
from tfmeta.hints import Nest
from tfmeta.learners.context.base import (
    GaussianDecoder,
    check_layer,
    check_minimum_scale,
    check_widths,
    dense_layers,
    mean_of_rows,
)
from tfmeta.learners.gaussian import (
    GaussianLearner,
    full_precision,
    kl_divergence,
    mixture_log_likelihood,
    mixture_moments,
    rows_of_targets,
)
from tfmeta.ops.noise import standard_normal
from tfmeta.types import Examples


class LatentContext(NamedTuple):
    """What `LatentNP.adapt` returns.

    Attributes:
        mean, scale: of `q(z)` given the context, `[Z]` each.
        points: what else the decoder is given of the context: nothing, `()`, in `LatentNP`.
    """

    mean: Any
    scale: Any
    points: Any = ()


@keras.saving.register_keras_serializable("tfmeta")
class LatentNP(GaussianLearner):
    """Encode the context as a distribution over functions, and decode each function drawn from it.

    With the context `C`, points `(x_i, y_i)`, the targets `T` and a latent variable `z` `[Z]`:

        q(z | C) = N(a, b^2),   [a, u] = l(mean of h([x_i, y_i]) over C),  b = 0.1 + 0.9 sigmoid(u)
        y ~ N(m, s^2),          [m, v] = g([z, x]),  s = s_0 + (1 - s_0) softplus(v)
        loss in training = - (sum over T of log N(y; m, s^2) - KL(q(z | C, T) || q(z | C))) / |T|

    with one `z` from `q(z | C, T)`. Outside training the loss is the negative log-likelihood of a
    target under the mixture of several draws of `q(z | C)`, the mean of it over the targets; it is
    no bound, and is to be compared with that of other neural processes. The draws are the same for
    every task and call, so that predictions are, too. Outputs are the mixture's means;
    `predict_distribution` has its standard deviation. For regression, as in `CNP`.

    Meta-learned: the weights of `h`, `l`, `g`, and of the network, if there is one. Adapted:
    `a` and `b`.

    Differs from the paper: the loss is divided by the number of targets, as in the authors' code,
    which also adds the context points to the targets. That code has a deterministic path beside
    the latent one, which `AttentiveNP` has.

    Args:
        network: a `keras.Model` that maps inputs to features, as in `CNP`.
        encoder: `h`, a `keras.Model` or layer from `[rows, F + d]` to `[rows, R]`; None for dense
            layers of the widths `(*hidden, representation)`.
        decoder: `g`, a `keras.Model` or layer from `[rows, Z + F]` to `[rows, 2 d]`, means first;
            None for dense layers of the widths `(*hidden, 2 d)`.
        representation: `R`, and the width of the hidden layer of `l`. The authors' code: 128.
        latent_size: `Z`. The authors' code: 128.
        evaluation_draws: how many `z` are drawn outside training.
        hidden: widths of the hidden layers of what is made here.
        minimum_scale: `s_0`, > 0 and < 1. The authors' code: 0.1.
        seed: int, of the draws in training.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        Garnelo et al., "Neural Processes", ICML workshop 2018, arXiv:1807.01622, equations 8 and 9;
        `attentive_neural_process.ipynb` of the authors' code.
    """

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        encoder: keras.Model | None = None,
        decoder: keras.Model | None = None,
        representation: int = 128,
        latent_size: int = 128,
        evaluation_draws: int = 16,
        hidden: Sequence[int] = (128, 128),
        minimum_scale: float = 0.1,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(network, **kwargs)
        self.representation = check_integer("representation", representation, 1)
        self.latent_size = check_integer("latent_size", latent_size, 1)
        self.evaluation_draws = check_integer("evaluation_draws", evaluation_draws, 1)
        self.hidden = check_widths(hidden)
        self.minimum_scale = check_minimum_scale(minimum_scale)
        self.encoder, self.decoder = (
            check_layer("encoder", encoder),
            check_layer("decoder", decoder),
        )
        widths, dtype = (*self.hidden, self.representation), self.dtype_policy
        self.encode = dense_layers(widths, dtype, "encoder") if encoder is None else encoder
        widths = (self.representation, 2 * self.latent_size)
        self.encode_latent = dense_layers(widths, dtype, "latent_encoder")
        self.decode = GaussianDecoder(decoder, self.hidden, self.minimum_scale, dtype=dtype)
        self.seed = check_integer("seed", seed, 0)
        self.seeds = keras.random.SeedGenerator(self.seed)

    def fixed_arguments(self):
        return {
            "decoder",
            "encoder",
            "hidden",
            "latent_size",
            "minimum_scale",
            "representation",
            "seed",
        }

    @classmethod
    def search_space(cls, hp):
        """Arguments of the constructor, drawn with the `hp` of keras-tuner."""
        return {
            "representation": hp.Int(
                "representation",
                16,
                512,
                sampling="log",
                default=default_argument(cls, "representation"),
            ),
            "latent_size": hp.Int(
                "latent_size", 4, 256, sampling="log", default=default_argument(cls, "latent_size")
            ),
            "minimum_scale": hp.Float(
                "minimum_scale",
                1e-3,
                0.3,
                sampling="log",
                default=default_argument(cls, "minimum_scale"),
            ),
        }

    def adapt(self, support: Examples, training: bool = False) -> Nest:
        x = self.features(support.x, training)
        y = rows_of_targets(support.y, x.dtype)
        mean, scale = self.latent(x, y, support.mask, training)
        points = self.context_points(x, y, support.mask, training)
        if not self.decode.built:  # here it sees the width of targets
            rows = self.query_rows(points, x, training)
            self.decode(_with_latent(mean[None], rows), y)
        return LatentContext(mean, scale, points)

    def latent(self, x, y, mask, training):
        """`q(z)` given points, features `[S, F]` and targets `[S, d]`: `(mean, scale)` `[Z]`."""
        points = full_precision(self.encode(tf.concat([x, y], axis=-1), training=training))
        mean = mean_of_rows(points, mask)[None]
        outputs = full_precision(self.encode_latent(mean, training=training))[0]
        mean, raw = tf.split(outputs, 2)
        return mean, 0.1 + 0.9 * tf.sigmoid(raw)

    def context_points(self, x, y, mask, training):
        """What `query_rows` is given of the context, beside the latent variable."""
        return ()

    def query_rows(self, points, x, training):
        """What the decoder is given of query points beside the latent variable, `[M, ...]`."""
        return x

    def predict_draws(self, adapted, x, draws, training=False):
        """`(mean, scale)` `[draws, M, d]`, for standard normal `draws` `[draws, Z]`."""
        rows = self.query_rows(adapted.points, self.features(x, training), training)
        latents = adapted.mean + adapted.scale * tf.cast(draws, adapted.mean.dtype)
        mean, scale = self.decode(_with_latent(latents, rows), training=training)
        shape = (draws.shape[0], -1, mean.shape[-1])
        return tf.reshape(mean, shape), tf.reshape(scale, shape)

    def evaluation_noise(self):
        """The numbers of all predictions outside training, `[evaluation_draws, Z]`."""
        with tf.init_scope():  # once, as numbers: LiteRT cannot draw any
            noise = standard_normal((self.evaluation_draws, self.latent_size), (0, 0))
        return tf.constant(noise.numpy())

    def predict_distribution(
        self, adapted: Nest, x: Nest, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return mixture_moments(*self.predict_draws(adapted, x, self.evaluation_noise(), training))

    def query_log_likelihood(self, adapted, x, y):
        mean, scale = self.predict_draws(adapted, as_tensor(self, x), self.evaluation_noise())
        y = rows_of_targets(as_targets(self, y), mean.dtype)
        return mixture_log_likelihood(y, mean, scale)

    def score_task(self, episode, training):
        adapted, query = self.adapt(episode.support, training=training), episode.query
        x = as_tensor(self, query.x)
        y = rows_of_targets(query.y, adapted.mean.dtype)
        divergence = 0.0
        if training:
            posterior = self._posterior(episode, x, y)
            divergence = kl_divergence(*posterior, adapted.mean, adapted.scale)
            draws = standard_normal((1, self.latent_size), self.seeds.next())
            adapted = LatentContext(*posterior, adapted.points)
        else:
            draws = self.evaluation_noise()
        mean, scale = self.predict_draws(adapted, x, draws, training)
        values = mixture_log_likelihood(y, mean, scale)
        mask = tf.cast(query.mask, values.dtype)
        bound = tf.reduce_sum(values * mask) - divergence
        loss = -tf.math.divide_no_nan(bound, tf.reduce_sum(mask))
        mean, scale = mixture_moments(mean, scale)
        return TaskResult(loss, query.y, mean, query.mask, adapted=adapted, scale=scale)

    def _posterior(self, episode, x, y):
        """`q(z | C, T)`."""
        support = episode.support
        of_support = self.features(as_tensor(self, support.x), True)
        x = tf.concat([of_support, self.features(x, True)], axis=0)
        y = tf.concat([rows_of_targets(support.y, y.dtype), y], axis=0)
        return self.latent(x, y, tf.concat([support.mask, episode.query.mask], axis=0), True)


def _with_latent(latents, rows):
    """`[z, row]` for each z and row: `[draws, Z]` and `[M, F]` to `[draws M, Z + F]`."""
    draws, number = latents.shape[0], tf.shape(rows)[0]
    latents = tf.repeat(tf.cast(latents, rows.dtype)[:, None], number, axis=1)
    rows = tf.repeat(rows[None], draws, axis=0)
    both = tf.concat([latents, rows], axis=-1)
    return tf.reshape(both, (-1, both.shape[-1]))
