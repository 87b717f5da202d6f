"""R2-D2: ridge regression on a learned embedding, in closed form."""

import math
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.arguments import check_number
from tfmeta.engine.meta_model import MetaModel
from tfmeta.engine.saving import default_argument
from tfmeta.hints import Nest
from tfmeta.learners.embedding.base import EmbeddingLearner, with_ones
from tfmeta.ops import ridge
from tfmeta.types import Examples


class LinearHead(NamedTuple):
    """What `R2D2.adapt` and `LRD2.adapt` return.

    Attributes:
        weights: `[D + 1, N]`, the last row that of the bias.
        present: `[N]`, 0 for a class without a support example; ones in regression.
    """

    weights: Any
    present: Any


@keras.saving.register_keras_serializable("tfmeta")
class R2D2(EmbeddingLearner):
    """Solve a ridge regression on top of a learned embedding, for each task, in closed form.

    With the network `f`, the matrix `X` `[S, D + 1]` of support embeddings `f(x)` and a column of
    ones, and their targets `Y` `[S, N]`:

        W = (X^T X + l I)^-1 X^T Y = X^T (X X^T + l I)^-1 Y       (the smaller system is solved)
        outputs = a * [f(x), 1] W + b

    In classification, where a sparse cross-entropy is compiled (or, if nothing is compiled yet,
    where targets are integers), `Y` holds one-hot labels, and outputs are logits; the columns of
    absent classes are hidden as in `ProtoNet`. Otherwise `Y` holds the targets `[S, d]` as they
    are, and outputs are predictions of them.

    Meta-learned: the weights of `f`, the regularisation `l`, the scale `a` and the offset `b`.
    All logits move by `b`, so that it counts in regression only. Adapted: `W`.

    Differs from the paper: `l` is the exponential of a weight, so that it stays positive; the
    authors' code keeps it fixed unless asked (`learn_lambda`), and multiplies it by the number of
    support rows, which the paper's equations do not. Support and query are normalised apart in
    training, see `ProtoNet`.

    Args:
        network: a `keras.Model` that maps inputs to embeddings, `[rows, D]` (more axes are
            flattened), or None for a subclass with `call`. In regression try a last layer without
            ReLU: on sinusoids of many frequencies, 10 points each, the error was 0.115 with a dense
            layer of 40 at the end and 0.272 without (of one frequency: 0.006 and 0.004).
        regularization: where `l` starts, > 0. The authors' code: 50, times the support rows.
        scale: where `a` starts, > 0: 1 suits regression, and 10 makes logits of one-hot labels
            that learn faster. The authors' code: 10 for Omniglot and CIFAR-FS, 0.0001 for
            miniImageNet. `b` starts at 0.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range, or targets have more than one axis a row.

    Reference:
        Bertinetto, Henriques, Torr and Vedaldi, "Meta-learning with Differentiable Closed-form
        Solvers", ICLR 2019, arXiv:1805.08136, section 3.2; `fewshots/models/r2d2.py` and
        `adjust.py` of the authors' code.
    """

    integer_labels = MetaModel.integer_labels  # as compiled: targets may be numbers, too

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        regularization: float = 1.0,
        scale: float = 1.0,
        **kwargs,
    ):
        super().__init__(network, **kwargs)
        self.regularization = check_number("regularization", regularization)
        self.scale = check_number("scale", scale)

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
        }

    def make_weights(self, shape):
        first = math.log(self.regularization)
        self.log_regularization = self.add_number("log_regularization", first)
        self.output_scale = self.add_number("output_scale", self.scale)
        self.output_offset = self.add_number("output_offset", 0.0)

    def adapt(self, support: Examples, training: bool = False) -> Nest:
        embeddings = self.embed(support.x, training)
        targets, present = self._targets(support, embeddings.dtype)
        regularization = tf.exp(tf.cast(self.log_regularization, embeddings.dtype))
        x = with_ones(embeddings)
        return LinearHead(ridge(x, targets, regularization, mask=support.mask), present)

    def logits(self, adapted, embeddings):
        scale, offset = (
            tf.cast(v, embeddings.dtype) for v in (self.output_scale, self.output_offset)
        )
        return scale * tf.matmul(with_ones(embeddings), adapted.weights) + offset

    def _targets(self, support, dtype):
        """`Y` `[S, N]`, and which of its columns are there `[N]`."""
        y = support.y
        compiled = self.query_loss is not None
        if self.integer_labels if compiled else y.dtype.is_integer:
            targets = tf.one_hot(y, self.most_ways(support), dtype=dtype)
            real = targets * tf.cast(support.mask, dtype)[:, None]
            return targets, tf.reduce_max(real, axis=0)
        if y.shape.rank not in (1, 2):
            raise ValueError(
                f"Expected targets of shape [S] or [S, d]. Received: support.y of shape {y.shape}."
            )
        targets = tf.cast(y[:, None] if y.shape.rank == 1 else y, dtype)
        return targets, tf.ones_like(targets[0])
