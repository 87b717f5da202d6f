"""What learners that predict a Gaussian at each query input share, and the likelihood of it."""

import math

import numpy as np
import tensorflow as tf

from tfmeta.engine.checks.input_shapes import check_input_shapes
from tfmeta.engine.inputs import as_targets, as_tensor
from tfmeta.engine.losses import one_output
from tfmeta.engine.meta_model import MetaModel
from tfmeta.engine.task import TaskResult
from tfmeta.hints import Nest


class GaussianLearner(MetaModel):
    """Base of the learners that predict a Gaussian for each query row, for targets `[rows, d]`.

    A subclass says in `adapt` what it takes from the support set, and in `predict_distribution`
    the mean and the standard deviation of what it predicts with that. `predict_query` gives the
    mean; the loss is the negative log-likelihood of the query set, whatever is compiled.

    Args:
        network: a `keras.Model` that maps inputs to features `[rows, F]` (more axes are
            flattened), which then take the place of the inputs; None for the inputs as they are.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.
    """

    supports_masks = True
    has_own_loss = True
    predicts_distributions = True

    def call(self, x, training=None):
        """The features of inputs: themselves, without a network."""
        return x if self.network is None else self.network(x, training=training)

    def features(self, x, training=False):
        """Features `[rows, F]`."""
        return features_of(self, x, training)

    def predict_distribution(
        self, adapted: Nest, x: Nest, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """What is expected at query inputs, and how sure that is.

        Args:
            adapted: the value that `adapt` returned.
            x: query inputs `[M, ...]`, or a nest of such.
            training: True inside a step of `fit`.

        Returns:
            `(mean, scale)`, the mean and the standard deviation of each target, `[M, d]`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define `predict_distribution`.")

    def adapt_and_predict(self, support, x, training=False):
        """`adapt` and then `predict_distribution`, of tensors: `(adapted, (mean, scale))`.

        What a step of `fit` runs, for a subclass that can do both in one go.
        """
        adapted = self.adapt(support, training=training)
        return adapted, self.predict_distribution(adapted, x, training)

    def query_log_likelihood(self, adapted, x, y):
        """How likely each query row is, `[M]`: the logarithm of its density.

        Args:
            adapted: the value that `adapt` returned.
            x: query inputs `[M, ...]`, or a nest of such.
            y: their targets, `[M]` or `[M, d]`.
        """
        mean, scale = self.predict_distribution(adapted, as_tensor(self, x))
        return log_likelihood(rows_of_targets(as_targets(self, y), mean.dtype), mean, scale)

    def predict_query(self, adapted: Nest, x: Nest, training: bool = False) -> Nest:
        return self.predict_distribution(adapted, x, training)[0]

    def score_task(self, episode, training):
        support, query = episode
        x = as_tensor(self, query.x)
        adapted, (mean, scale) = self.adapt_and_predict(support, x, training)
        values = log_likelihood(rows_of_targets(query.y, mean.dtype), mean, scale)
        loss = -mean_over_rows(values, query.mask)
        return TaskResult(loss, query.y, mean, query.mask, adapted=adapted, scale=scale)


def features_of(learner, x, training):
    """What a learner's `call` makes of inputs, as features `[rows, F]`."""
    if learner.network is not None:
        check_input_shapes(learner.network, x, 1)
    features = learner(x, training=training)
    if learner.network is not None:
        one_output(features)
    elif not tf.is_tensor(features):
        raise ValueError(
            f"Expected one tensor of inputs. Received: a {type(features).__name__}. Give the "
            "learner a network that maps its inputs to features [rows, F]."
        )
    if not features.dtype.is_floating:
        features = tf.cast(features, learner.compute_dtype)
    return tf.reshape(full_precision(features), (-1, int(np.prod(features.shape[1:]))))


def full_precision(values):
    """Float32 in the place of 16 bits: half precision is for layers."""
    half = values.dtype in (tf.float16, tf.bfloat16)
    return tf.cast(values, tf.float32) if half else values


def rows_of_targets(y, dtype):
    """Targets `[rows]` or `[rows, d]` as floats `[rows, d]`."""
    if y.shape.rank not in (1, 2):
        raise ValueError(f"Expected targets of shape [rows, d]. Received: y of shape {y.shape}.")
    return tf.cast(y[:, None] if y.shape.rank == 1 else y, dtype)


def mean_over_rows(values, mask):
    """The mean of `[rows]` over the real ones, a scalar; 0 without any."""
    mask = tf.cast(mask, values.dtype)
    return tf.math.divide_no_nan(tf.reduce_sum(values * mask), tf.reduce_sum(mask))


def log_likelihood(y, mean, scale):
    """`log N(y; mean, scale^2)`, summed over the targets of a row: `[rows, d]` to `[rows]`."""
    z = (y - mean) / scale
    return tf.reduce_sum(-0.5 * z * z - tf.math.log(scale) - 0.5 * math.log(2 * math.pi), axis=-1)


def mixture_log_likelihood(y, mean, scale):
    """How likely targets are to equal shares of Gaussians, all targets of a row together.

    Args:
        y: `[rows, d]`.
        mean, scale: of each Gaussian, `[G, rows, d]`.

    Returns:
        `[rows]`.
    """
    values = log_likelihood(y, mean, scale)
    return tf.reduce_logsumexp(values, axis=0) - math.log(mean.shape[0])


def mixture_moments(mean, scale):
    """Mean and standard deviation `[rows, d]` of equal shares of Gaussians `[G, rows, d]`."""
    of_all = tf.reduce_mean(mean, axis=0)
    variance = tf.reduce_mean(scale**2 + (mean - of_all) ** 2, axis=0)
    return of_all, tf.sqrt(variance)


def kl_divergence(mean, scale, other_mean, other_scale, axis=None):
    """`KL(N(mean, scale^2) || N(other_mean, other_scale^2))`, summed over `axis`, None for all."""
    squares = (scale**2 + (mean - other_mean) ** 2) / (2 * other_scale**2)
    return tf.reduce_sum(tf.math.log(other_scale / scale) + squares - 0.5, axis)
