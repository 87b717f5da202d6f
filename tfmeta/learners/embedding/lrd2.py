"""LR-D2: logistic regression on a learned embedding, by Newton's method."""

import math

import keras
import tensorflow as tf

from tfmeta.arguments import check_integer, check_number
from tfmeta.engine.saving import default_argument
from tfmeta.hints import Nest
from tfmeta.learners.embedding.base import EmbeddingLearner, with_ones
from tfmeta.learners.embedding.r2d2 import LinearHead
from tfmeta.ops import class_means, logistic
from tfmeta.types import Examples


@keras.saving.register_keras_serializable("tfmeta")
class LRD2(EmbeddingLearner):
    """Solve logistic regressions on top of a learned embedding, for each task, by Newton's method.

    With the network `f` and the matrix `X` `[S, D + 1]` of support embeddings `f(x)` and a column
    of ones, a regression for each class, that class against all others:

        w_k = argmin of sum over the support set of log(1 + exp(-t_k w . [f(x), 1])) + l/2 |w|^2

    with `t_k` 1 for class `k` and -1 for others, in `T` steps of iteratively reweighted least
    squares from zero, through which the outer gradient goes (`tfmeta.ops.logistic`):

        outputs_k = a * w_k . [f(x), 1]        (logits)

    Meta-learned: the weights of `f`, the regularisation `l` and the scale `a`. Adapted: the `w_k`.

    Differs from the paper: `l` is the exponential of a weight, so that it stays positive; the
    outer loss is that of a softmax over the classes, as in the authors' code with more than two
    ways, for two ways, too; the scale is R2-D2's, which the authors' code leaves out here.

    Args:
        network: a `keras.Model` that maps inputs to embeddings, `[rows, D]` (more axes are
            flattened), or None for a subclass with `call`.
        regularization: where `l` starts, > 0.
        scale: where `a` starts, > 0.
        steps: `T`, at least 1.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        Bertinetto, Henriques, Torr and Vedaldi, "Meta-learning with Differentiable Closed-form
        Solvers", ICLR 2019, arXiv:1805.08136, section 3.3;
        `fewshots/models/lrd2.py` of the authors' code.
    """

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        regularization: float = 1.0,
        scale: float = 1.0,
        steps: int = 5,
        **kwargs,
    ):
        super().__init__(network, **kwargs)
        self.regularization = check_number("regularization", regularization)
        self.scale = check_number("scale", scale)
        self.steps = check_integer("steps", steps, 1)

    def fixed_arguments(self):
        return {"regularization", "scale"}

    @classmethod
    def search_space(cls, hp):
        """Arguments of the constructor, drawn with the `hp` of keras-tuner."""
        return {
            "regularization": hp.Float(
                "regularization",
                1e-2,
                1e2,
                sampling="log",
                default=default_argument(cls, "regularization"),
            ),
            "scale": hp.Float(
                "scale", 0.1, 100.0, sampling="log", default=default_argument(cls, "scale")
            ),
            "steps": hp.Int("steps", 1, 10, default=default_argument(cls, "steps")),
        }

    def make_weights(self, shape):
        first = math.log(self.regularization)
        self.log_regularization = self.add_number("log_regularization", first)
        self.output_scale = self.add_number("output_scale", self.scale)

    def adapt(self, support: Examples, training: bool = False) -> Nest:
        embeddings, ways = self.embed(support.x, training), self.most_ways(support)
        _, present = class_means(embeddings, support.y, support.mask, ways)
        targets = tf.one_hot(support.y, ways, dtype=embeddings.dtype)
        regularization = tf.exp(tf.cast(self.log_regularization, embeddings.dtype))
        x = with_ones(embeddings)
        weights = logistic(x, targets, regularization, self.steps, mask=support.mask)
        return LinearHead(weights, present)

    def logits(self, adapted, embeddings):
        scores = tf.matmul(with_ones(embeddings), adapted.weights)
        return tf.cast(self.output_scale, embeddings.dtype) * scores
