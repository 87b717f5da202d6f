"""MetaOptNet: a convex classifier on a learned embedding, solved and differentiated."""

import keras
import tensorflow as tf

from tfmeta.arguments import check_integer, check_number
from tfmeta.engine.saving import default_argument
from tfmeta.hints import Nest
from tfmeta.learners.embedding.base import EmbeddingLearner
from tfmeta.learners.embedding.r2d2 import LinearHead
from tfmeta.ops import class_means, ridge, svm
from tfmeta.types import Examples

HEADS = ("svm", "ridge")


@keras.saving.register_keras_serializable("tfmeta")
class MetaOptNet(EmbeddingLearner):
    """Train a support vector machine on top of a learned embedding, to its end, for each task.

    With the network `f`, the matrix `X` `[S, D]` of support embeddings and one-hot labels `Y`:

        W = argmin of 1/2 |W|^2 + C sum over S of max over k of (1 - [k = y] + (w_k - w_y) . f(x))
        W = argmin of |X W - Y|^2 + l |W|^2                     with head="ridge"

        outputs_k = a * w_k . f(x)        (logits)

    The machine, that of Crammer and Singer, is a quadratic program in its dual, which
    `tfmeta.ops.svm` solves; the outer gradient is that of its solution, not of the steps to it.

    Meta-learned: the weights of `f`, and the scale `a`. Adapted: `W`.

    Differs from the paper: the solver, an alternating direction method in the place of an interior
    point method (the solution is the same); the ridge head's targets are 0 and 1 and its weights
    half as large, which the scale takes up. Label smoothing and the larger number of shots in
    training are the caller's, in the loss and in the episodes.

    Args:
        network: a `keras.Model` that maps inputs to embeddings, `[rows, D]` (more axes are
            flattened), or None for a subclass with `call`.
        head: "svm" or "ridge".
        capacity: `C` of the machine, > 0. The authors' code, for embeddings of 16,000 numbers: 0.1;
            those of tens of numbers learn faster with more.
        regularization: `l` of the ridge regression, > 0. The authors' code, for such: 50.
        scale: where `a` starts, > 0.
        steps: of the machine's solver, at least 1.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an unknown head, or an argument that is out of its range.

    Reference:
        Lee, Maji, Ravichandran and Soatto, "Meta-Learning with Differentiable Convex
        Optimization", CVPR 2019, arXiv:1904.03758, section 3;
        `models/classification_heads.py` of the authors' code.
    """

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        head: str = "svm",
        capacity: float = 1.0,
        regularization: float = 1.0,
        scale: float = 1.0,
        steps: int = 60,
        **kwargs,
    ):
        super().__init__(network, **kwargs)
        if head not in HEADS:
            raise ValueError(f"Expected head in {HEADS}. Received: {head!r}.")
        self.head = head
        self.capacity = check_number("capacity", capacity)
        self.regularization = check_number("regularization", regularization)
        self.scale = check_number("scale", scale)
        self.steps = check_integer("steps", steps, 1)

    def fixed_arguments(self):
        return {"scale"}

    @classmethod
    def search_space(cls, hp):
        """Arguments of the constructor, drawn with the `hp` of keras-tuner."""
        return {
            "capacity": hp.Float(
                "capacity", 1e-2, 1e2, sampling="log", default=default_argument(cls, "capacity")
            ),
            "scale": hp.Float(
                "scale", 0.1, 100.0, sampling="log", default=default_argument(cls, "scale")
            ),
        }

    def make_weights(self, shape):
        self.output_scale = self.add_number("output_scale", self.scale)

    def adapt(self, support: Examples, training: bool = False) -> Nest:
        x, ways = self.embed(support.x, training), self.most_ways(support)
        _, present = class_means(x, support.y, support.mask, ways)
        y = tf.one_hot(support.y, ways, dtype=x.dtype)
        if self.head == "ridge":
            weights = ridge(x, y, self.regularization, mask=support.mask)
        else:
            weights = svm(x, y, self.capacity, self.steps, support.mask, present)
        return LinearHead(weights, present)

    def logits(self, adapted, embeddings):
        scores = tf.matmul(embeddings, adapted.weights)
        return tf.cast(self.output_scale, embeddings.dtype) * scores
