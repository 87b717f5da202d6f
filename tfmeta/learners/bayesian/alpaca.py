"""ALPaCA: Bayesian linear regression on learned features."""

import math
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.arguments import check_flag, check_number
from tfmeta.backend.solve import in_double
from tfmeta.engine.saving import default_argument
from tfmeta.hints import Nest
from tfmeta.inner.rule import Learned
from tfmeta.learners.gaussian import GaussianLearner, rows_of_targets
from tfmeta.ops.cholesky import cholesky
from tfmeta.types import Examples


class LinearPosterior(NamedTuple):
    """What `ALPaCA.adapt` returns, float64.

    Attributes:
        mean: of the weights, `K` `[F, d]`.
        whitening: `G^-1` `[F, F]`, of the Cholesky factor `G` of the precision, `L = G G^T`.
    """

    mean: Any
    whitening: Any


@keras.saving.register_keras_serializable("tfmeta")
class ALPaCA(GaussianLearner):
    """Learn features, and a prior of the linear regression on them whose posterior is exact.

    With features `f(x)` `[F]`, targets `[d]`, the support set's matrices `X` `[S, F]` and `Y`:

        y = K^T f(x) + e,  e ~ N(0, s^2),   prior: K_j ~ N(K_0j, s_j^2 L_0^-1) for each target j
        posterior:   L = L_0 + X^T X,   K = L^-1 (L_0 K_0 + X^T Y)
        prediction:  mean K^T f(x),   variance s^2 (1 + f(x)^T L^-1 f(x))
        loss = - mean over the query set of the log-likelihood of the prediction

    Outputs are means; `predict_distribution` has standard deviations, too. For regression, with
    targets `[rows, d]`. No loss needs to be compiled. Everything behind the features is
    computed in float64: the prior's precision is small beside that of the points.

    Meta-learned: the weights of `f`, `K_0`, `L_0`, and `s` if asked. Adapted: `K` and `L`.

    Differs from the paper: how many support points a task has is up to the episodes, while the
    authors' code draws their number anew at each step; `L_0` is the product of a triangular factor
    with positive diagonal, so that it stays invertible.

    Args:
        network: a `keras.Model` that maps inputs to features `[rows, F]` (more axes are
            flattened); None for the inputs themselves. The authors' code: 128-128-32, tanh.
        noise: `s`, the standard deviation of targets around the function, > 0.
        learn_noise: True learns `s`, which then starts at `noise`, one number for each target.
        precision: `L_0` starts as this number times the identity, > 0. A weight's standard
            deviation starts at `noise / sqrt(precision)`. The authors' code: the identity; 0.01
            learns much faster on sinusoids.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        Harrison, Sharma and Pavone, "Meta-Learning Priors for Efficient Online Bayesian
        Regression", WAFR 2018, arXiv:1807.08912, equations 4 to 9, algorithms 1 and 2.
    """

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        noise: float = 0.02,
        learn_noise: bool = False,
        precision: float = 0.01,
        **kwargs,
    ):
        super().__init__(network, **kwargs)
        self.noise, self.precision = check_noise(noise), check_number("precision", precision)
        self.learn_noise = check_flag("learn_noise", learn_noise)
        self.prior = LinearPrior(
            self.noise, self.learn_noise, self.precision, dtype=self.dtype_policy
        )

    def fixed_arguments(self):
        return {"learn_noise", "noise", "precision"}

    @classmethod
    def search_space(cls, hp):
        """Arguments of the constructor, drawn with the `hp` of keras-tuner."""
        return {
            "noise": hp.Float(
                "noise", 1e-3, 1.0, sampling="log", default=default_argument(cls, "noise")
            ),
            "learn_noise": hp.Boolean("learn_noise", default=default_argument(cls, "learn_noise")),
            "precision": hp.Float(
                "precision", 1e-3, 10.0, sampling="log", default=default_argument(cls, "precision")
            ),
        }

    def adapt(self, support: Examples, training: bool = False) -> Nest:
        x = self.features(support.x, training)
        y = rows_of_targets(support.y, x.dtype)
        return self.prior(x, y, tf.cast(support.mask, x.dtype))

    def predict_distribution(
        self, adapted: Nest, x: Nest, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        x = self.features(x, training)
        rows, weights, whitening = (in_double(t) for t in (x, adapted.mean, adapted.whitening))
        mean = tf.matmul(rows, weights)
        half = tf.matmul(rows, whitening, transpose_b=True)
        spread = tf.sqrt(1.0 + tf.reduce_sum(half**2, axis=1))
        scale = spread[:, None] * self.prior.scale()
        return tf.cast(mean, x.dtype), tf.cast(scale, x.dtype)


class LinearPrior(Learned):
    """What ALPaCA learns behind the features: `K_0`, `L_0` and `s`.

    Args:
        noise, learn_noise, precision: as in `ALPaCA`.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.
    """

    def __init__(self, noise, learn_noise, precision, name="prior", **kwargs):
        super().__init__(name=name, **kwargs)
        self.noise, self.learn_noise, self.precision = noise, learn_noise, precision

    def build(self, x_shape, y_shape, real_shape):
        width, targets = x_shape[-1], y_shape[-1]
        constant, half = keras.initializers.Constant, 0.5 * math.log(self.precision)
        self.mean = self.add_weight((width, targets), "zeros", name="mean")
        self.below = self.add_weight((width, width), "zeros", name="below_the_diagonal")
        self.log_diagonal = self.add_weight((width,), constant(half), name="log_diagonal")
        self.log_scale = self.add_weight(
            (targets,), constant(math.log(self.noise)), trainable=self.learn_noise, name="log_scale"
        )

    def scale(self):
        """`s`, `[d]`, float64."""
        return tf.exp(in_double(self.log_scale))

    def call(self, x, y, real):
        """The posterior of features `[S, F]` and targets `[S, d]`: `LinearPosterior`, float64."""
        mean, below, diagonal, x, y, real = (
            in_double(t) for t in (self.mean, self.below, self.log_diagonal, x, y, real[:, None])
        )
        root = tf.linalg.set_diag(tf.linalg.band_part(below, -1, 0), tf.exp(diagonal))
        precision = tf.matmul(root, root, transpose_b=True)
        x, y = x * real, y * real
        factor = cholesky(precision + tf.matmul(x, x, transpose_a=True))
        right = tf.matmul(precision, mean) + tf.matmul(x, y, transpose_a=True)
        whitening = tf.linalg.triangular_solve(factor, tf.eye(tf.shape(factor)[0], dtype=x.dtype))
        return LinearPosterior(tf.linalg.cholesky_solve(factor, right), whitening)


def check_noise(noise):
    """The noise of targets as a float; a ValueError unless it is > 0."""
    if noise == 0 and not isinstance(noise, bool):
        raise ValueError(
            "Expected noise > 0: without noise a point that is there twice, with two targets, has "
            f"no posterior. Received: noise={noise!r}. Give a small one, such as 1e-3."
        )
    return check_number("noise", noise)
