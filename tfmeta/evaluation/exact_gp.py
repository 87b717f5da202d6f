"""The posterior of a Gaussian process whose kernel is known: what no learner can be better than."""

import functools

import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_number
from tfmeta.hints import Nest
from tfmeta.learners.gaussian import GaussianLearner, rows_of_targets
from tfmeta.ops.gaussian_process import check_kernel, covariance, gaussian_posterior
from tfmeta.types import Examples


class ExactGP(GaussianLearner):
    """Predict with the posterior of a Gaussian process of known kernel. Learns nothing.

    On episodes of `tfmeta.episodes.gaussian_process` with the same arguments, the expected
    log-likelihood of a target is the highest that any prediction from the context has: the bound
    for neural processes.

    ```python
    episodes = tfmeta.episodes.gaussian_process("rbf", length=0.4, seed=1, count=600)
    exact = tfmeta.evaluation.ExactGP("rbf", length=0.4)
    bound = tfmeta.evaluation.score_likelihood(exact, episodes)
    print(bound.difference(tfmeta.evaluation.score_likelihood(learner, episodes)))
    ```

    It is a learner like others, for `score_likelihood`, `plot_episode` and `predict_distribution`,
    but nothing of it can be trained. It computes in float64.

    Args:
        kernel: "rbf", "matern52" or "periodic".
        length, scale, period: of the kernel, > 0.
        noise: standard deviation of the noise of targets, >= 0.
        **kwargs: `task_batching` and `name`, as in `MetaModel`.

    Raises:
        ValueError: there is no such kernel, or an argument is out of range.
    """

    def __init__(
        self,
        kernel: str = "rbf",
        *,
        length: float = 0.4,
        scale: float = 1.0,
        period: float = 1.0,
        noise: float = 0.02,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.kernel = check_kernel(kernel)
        self.length, self.scale = check_number("length", length), check_number("scale", scale)
        self.period = check_number("period", period)
        self.noise = check_number("noise", noise, zero=True)

    def ready(self):
        self.built = True

    def adapt(self, support: Examples, training: bool = False) -> Nest:
        x = self.features(support.x)
        y = rows_of_targets(support.y, x.dtype)
        if self.noise == 0:
            _check_once(x, support.mask)
        return Examples(*(tf.cast(t, tf.float64) for t in (x, y, support.mask)))

    def predict_distribution(
        self, adapted: Nest, x: Nest, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        x = self.features(x, training)
        kernel = functools.partial(
            covariance, self.kernel, length=self.length, scale=self.scale, period=self.period
        )
        query_x = tf.cast(x, tf.float64)
        known_x, y, mask = adapted
        mean, variance = gaussian_posterior(kernel, known_x, y, mask, query_x, self.noise)
        # Rounding may leave a variance below 0 where there is no noise.
        scale = tf.sqrt(tf.maximum(variance + self.noise**2, 1e-12))
        scale = tf.repeat(scale[:, None], mean.shape[1], axis=1)
        return tf.cast(mean, x.dtype), tf.cast(scale, x.dtype)


def _check_once(x, mask):
    """Without noise, a point that is there twice makes the covariances singular."""
    if not tf.executing_eagerly():
        return
    rows = x.numpy()[mask.numpy() > 0]
    if len(np.unique(rows, axis=0)) < len(rows):
        raise ValueError(
            "Expected each point once, as noise=0. Received: a support set that has a point twice. "
            "Give a small noise, such as 1e-3."
        )
