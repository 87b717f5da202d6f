"""Adaptive deep kernel learning (ADKL): a kernel that the task itself conditions."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.engine.inputs import as_tensor
from tfmeta.engine.saving import default_argument
from tfmeta.engine.task import TaskResult
from tfmeta.hints import Nest
from tfmeta.learners.bayesian.base import GaussianProcess
from tfmeta.learners.context.base import check_widths, dense_layers, mean_of_rows
from tfmeta.learners.gaussian import (
    GaussianLearner,
    full_precision,
    mean_over_rows,
    rows_of_targets,
)
from tfmeta.types import Examples

HEADS = ("gp", "ridge")


@keras.saving.register_keras_serializable("tfmeta")
class ADKL(GaussianLearner):
    """Encode a task, condition a deep kernel on it, and solve the task with that kernel.

    With features `f(x)` and the support points `(x_i, y_i)`:

        z = mean of h([f(x_i), y_i]) over the support set    `[R]`
        g(x) = r([f(x), z])                                  `[E]`
        prediction: k(g(x), g(X)) (k(g(X), g(X)) + s^2 I)^-1 y

    which is kernel ridge regression of regularisation `s^2`, and the mean of a Gaussian process of
    noise `s`. With `head="ridge"` the loss is the query set's mean squared error, and there is no
    distribution; with `head="gp"` it is the negative log-likelihood of the query set, and
    `predict_distribution` has the process's standard deviation, noise included.

    Meta-learned: the weights of `f`, `h` and `r`, the kernel's numbers, `s`, and a constant that
    predictions start from. Adapted: `z`, and the posterior. Behind the features, computed in
    float64.

    Differs from the paper: its bound on the information that `z` has of the task, which compares
    the tasks of a meta-batch with each other, is left out of the loss.

    Args:
        network: `f`, a `keras.Model` that maps inputs to features `[rows, F]` (more axes are
            flattened); None for the inputs themselves.
        head: "gp" or "ridge".
        kernel: "rbf", "matern52", "periodic", "cosine" or "linear". On sinusoids of many
            frequencies, 10 points each, "linear" had an error of 0.12 and "rbf" of 0.5.
        representation: `R`.
        embedding: `E`.
        hidden: widths of the hidden layers of `h` and `r`, which are dense with ReLU. The paper:
            three layers of 40.
        length, scale: where the kernel's length and scale start, > 0.
        noise: where `s` starts, > 0.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: there is no such head or kernel, or an argument is out of its range.

    Reference:
        Tossou, Dura, Laviolette, Marchand and Lacoste, "Adaptive Deep Kernel Learning", 2019,
        arXiv:1905.12131, section 3.
    """

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        head: str = "gp",
        kernel: str = "rbf",
        representation: int = 40,
        embedding: int = 40,
        hidden: Sequence[int] = (40, 40),
        length: float = 1.0,
        scale: float = 1.0,
        noise: float = 0.1,
        **kwargs,
    ):
        super().__init__(network, **kwargs)
        if head not in HEADS:
            raise ValueError(f"Expected head in {HEADS}. Received: head={head!r}.")
        self.head, self.hidden = head, check_widths(hidden)
        self.representation = check_integer("representation", representation, 1)
        self.embedding = check_integer("embedding", embedding, 1)
        dtype = self.dtype_policy
        self.process = GaussianProcess(kernel, length, scale, noise, dtype=dtype)
        self.kernel, self.length, self.scale = kernel, self.process.length, self.process.scale
        self.noise = self.process.noise
        self.encode = dense_layers((*self.hidden, self.representation), dtype, "encoder")
        self.condition = dense_layers((*self.hidden, self.embedding), dtype, "conditioned")

    def fixed_arguments(self):
        return {"embedding", "hidden", "kernel", "length", "noise", "representation", "scale"}

    @property
    def predicts_distributions(self):
        """False of kernel ridge regression, whose loss knows no standard deviations."""
        return self.head == "gp"

    @classmethod
    def search_space(cls, hp):
        """Arguments of the constructor, drawn with the `hp` of keras-tuner."""
        return {
            "head": hp.Choice("head", list(HEADS), default=default_argument(cls, "head")),
            "kernel": hp.Choice(
                "kernel",
                ["rbf", "matern52", "cosine", "linear"],
                default=default_argument(cls, "kernel"),
            ),
            "representation": hp.Int(
                "representation",
                8,
                256,
                sampling="log",
                default=default_argument(cls, "representation"),
            ),
            "noise": hp.Float(
                "noise", 1e-3, 1.0, sampling="log", default=default_argument(cls, "noise")
            ),
        }

    def adapt(self, support: Examples, training: bool = False) -> Nest:
        x = self.features(support.x, training)
        y = rows_of_targets(support.y, x.dtype)
        points = full_precision(self.encode(tf.concat([x, y], axis=-1), training=training))
        task = mean_of_rows(points, support.mask)
        return self.process.known(self.conditioned(x, task, training), y, support.mask, task)

    def conditioned(self, features, task, training=False):
        """`g(x)`: features `[rows, F]` and the task's `z` `[R]` to `[rows, E]`."""
        rows = tf.ones_like(features[:, :1]) * tf.cast(task, features.dtype)
        rows = tf.concat([features, rows], axis=-1)
        return full_precision(self.condition(rows, training=training))

    def predict_distribution(
        self, adapted: Nest, x: Nest, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        features = self.features(x, training)
        features = self.conditioned(features, adapted.task, training)
        mean, scale = self.process.posterior(adapted, features)
        return tf.cast(mean, features.dtype), tf.cast(scale, features.dtype)

    def score_task(self, episode, training):
        if self.head == "gp":
            return super().score_task(episode, training)
        adapted, query = self.adapt(episode.support, training=training), episode.query
        outputs = self.predict_distribution(adapted, as_tensor(self, query.x), training)[0]
        errors = tf.reduce_mean((outputs - rows_of_targets(query.y, outputs.dtype)) ** 2, axis=-1)
        loss = mean_over_rows(errors, query.mask)
        return TaskResult(loss, query.y, outputs, query.mask, adapted=adapted)
