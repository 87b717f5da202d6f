"""What learners with a Gaussian process on learned features share."""

import math
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.arguments import check_number
from tfmeta.backend.solve import in_double
from tfmeta.inner.rule import Learned
from tfmeta.learners.bayesian.alpaca import check_noise
from tfmeta.ops.gaussian_process import (
    check_kernel,
    conditioned,
    covariance,
    marginal_likelihood,
    posterior_at,
)

#: Kernels of features that are none of their differences.
PRODUCTS = ("cosine", "linear")


class KnownValues(NamedTuple):
    """Where a Gaussian process is known, and its posterior: what a learner adapts.

    With `K` the covariances of the noisy values, and `K = G G^T` its Cholesky factor:

    Attributes:
        features: `[S, F]`.
        values: `[S, d]`.
        weights: `K^-1 (values - c)`, `[S, d]`, float64; 0 for padding.
        whitening: `G^-1`, `[S, S]`, float64; columns of 0 for padding.
        task: what else is known of the task, a nest of tensors.
        present: `[d]`, 0 for a class without a support example; ones in regression.
    """

    features: Any
    values: Any
    weights: Any
    whitening: Any
    task: Any = ()
    present: Any = ()


@keras.saving.register_keras_serializable("tfmeta")
class GaussianProcess(Learned):
    """A Gaussian process of features whose few numbers are learned; computed in float64.

    Values are `c + g(x) + e`, with `g` of mean 0 and covariance `k`, and `e ~ N(0, s^2)`. Learned:
    `c`, the length and the scale of `k`, and `s`. The first two kernels are of features' angles,
    the others those of `tfmeta.ops.covariance`:

        "cosine": a^2 cos(f, f'),    "linear": a^2 f . f' / F,    "rbf", "matern52", "periodic"

    Args:
        kernel: one of these.
        length, scale: where the kernel's length and its scale `a` start, > 0.
        noise: where `s` starts, > 0.
        learn_noise: False keeps it there.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.

    Raises:
        ValueError: there is no such kernel, or a number is out of range.
    """

    def __init__(
        self, kernel, length=1.0, scale=1.0, noise=0.1, learn_noise=True, name="process", **kwargs
    ):
        super().__init__(name=name, **kwargs)
        self.kernel = kernel if kernel in PRODUCTS else check_kernel(kernel)
        self.length, self.scale = check_number("length", length), check_number("scale", scale)
        self.noise, self.learn_noise = check_noise(noise), learn_noise
        if kernel not in PRODUCTS:  # those have no length
            self.log_length = self._number("log_length", math.log(length))
        self.log_scale = self._number("log_scale", math.log(scale))
        self.log_noise = self._number("log_noise", math.log(noise), learn_noise)
        self.offset = self._number("offset", 0.0)
        self.built = True

    def _number(self, name, first, trainable=True):
        first = keras.initializers.Constant(first)
        return self.add_weight((), first, trainable=trainable, name=name)

    def covariance(self, a, b):
        """The covariances of function values, float64: `[..., A, F]`, `[..., B, F]` to `[A, B]`."""
        scale = _exp(self.log_scale)
        if self.kernel not in PRODUCTS:
            length = _exp(self.log_length)
            return covariance(self.kernel, a, b, length=length, scale=scale)
        if self.kernel == "cosine":
            a, b = _unit(a), _unit(b)
        else:
            scale /= math.sqrt(a.shape[-1])
        return scale**2 * tf.matmul(a, b, transpose_b=True)

    def known(self, features, values, mask, task=(), present=()):
        """`KnownValues` of features `[S, F]`, values `[S, d]` and a mask `[S]`, 0 for padding."""
        wanted = in_double(values) - in_double(self.offset)
        weights, whitening = conditioned(
            self.covariance, in_double(features), wanted, mask, _exp(self.log_noise)
        )
        return KnownValues(features, values, weights, whitening, task, present)

    def posterior(self, known, features):
        """What is expected at features `[M, F]`, given `KnownValues`.

        Returns:
            `(mean, scale)` `[M, d]`, float64, of another noisy value.
        """
        points, weights, whitening, features = (
            in_double(t) for t in (known.features, known.weights, known.whitening, features)
        )
        mean, variance = posterior_at(self.covariance, points, weights, whitening, features)
        # Rounding may leave a variance below 0 at a point that is known.
        scale = tf.sqrt(tf.maximum(variance, 0.0) + _exp(self.log_noise) ** 2)
        columns = mean.shape[1] or tf.shape(mean)[1]  # as many as classes, where these are counted
        return mean + in_double(self.offset), tf.repeat(scale[:, None], columns, axis=1)

    def log_marginal(self, features, values, mask):
        """The log-likelihood of all noisy values together, `[d]`, float64."""
        values = in_double(values) - in_double(self.offset)
        return marginal_likelihood(
            self.covariance, in_double(features), values, mask, _exp(self.log_noise)
        )

    def get_config(self):
        names = ("kernel", "length", "scale", "noise", "learn_noise")
        return super().get_config() | {name: getattr(self, name) for name in names}


def _exp(values):
    return tf.exp(in_double(values))


def _unit(rows):
    # The square root has an infinite derivative at 0.
    return rows / tf.sqrt(tf.reduce_sum(rows**2, axis=-1, keepdims=True) + 1e-12)
