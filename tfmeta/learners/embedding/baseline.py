"""Baseline: a pretrained network, and a linear head trained on the support set."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.arguments import check_integer, check_number
from tfmeta.engine.saving import default_argument
from tfmeta.hints import Nest
from tfmeta.inner import SGD, gradient_steps
from tfmeta.learners.embedding.base import EmbeddingLearner, hide_absent
from tfmeta.ops import class_means
from tfmeta.types import Examples


class Head(NamedTuple):
    """What `Baseline.adapt` and `BaselinePlusPlus.adapt` return.

    Attributes:
        weights: of the head, a list of tensors: kernel `[D, N]`, and bias `[N]` if it has one.
        present: `[N]`, 0 for a class without a support example.
    """

    weights: Any
    present: Any


def fit_head(learner, start, embeddings, support):
    """A head after its steps on the support set: what `Baseline` and `BaselinePlusPlus` adapt.

    Args:
        learner: the learner, with `logits`, `head_learning_rate`, `head_steps`, `weight_decay`.
        start: `Head` before its first step.
        embeddings: of the support set, `[S, D]`.
        support: `Examples` of the task.

    Returns:
        A `Head`.
    """

    def loss(weights, state, t):
        logits = hide_absent(
            learner.logits(start._replace(weights=weights), embeddings), start.present
        )
        values = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=support.y, logits=logits)
        mask = tf.cast(support.mask, values.dtype)
        penalty = learner.weight_decay * tf.add_n([tf.nn.l2_loss(w) for w in weights])
        return tf.reduce_sum(values * mask) / tf.reduce_sum(mask) + penalty, state

    path, _, _ = gradient_steps(
        loss, start.weights, (), SGD(learner.head_learning_rate), learner.head_steps,
        first_order=False, rolled=True,
    )  # fmt: skip
    return start._replace(weights=path[-1])


def head_search_space(cls, hp):
    """The arguments of a head's steps, drawn with the `hp` of keras-tuner."""
    return {
        "head_learning_rate": hp.Float(
            "head_learning_rate",
            1e-3,
            1.0,
            sampling="log",
            default=default_argument(cls, "head_learning_rate"),
        ),
        "head_steps": hp.Int(
            "head_steps", 10, 200, sampling="log", default=default_argument(cls, "head_steps")
        ),
        "weight_decay": hp.Float(
            "weight_decay", 1e-5, 0.1, sampling="log", default=default_argument(cls, "weight_decay")
        ),
    }


def check_head(learner, head_learning_rate, head_steps, weight_decay):
    """Keep the arguments of a head's steps, or raise a ValueError."""
    learner.head_learning_rate = check_number("head_learning_rate", head_learning_rate)
    learner.head_steps = check_integer("head_steps", head_steps, 1)
    learner.weight_decay = check_number("weight_decay", weight_decay, zero=True)


@keras.saving.register_keras_serializable("tfmeta")
class Baseline(EmbeddingLearner):
    """Pretrain a network on the base classes; for a new task train a linear head on top of it.

    First the network `f` learns to name the base classes, by ordinary `fit` of `classifier`. A new
    task leaves `f` as it is, and takes `T` steps on the head `h = (W, b)` alone:

        L(h) = mean over the support set of crossentropy(y, W f(x) + b) + d/2 |h|^2
        h_0 = 0,    h_{t+1} = h_t - a * grad L(h_t)
        outputs = W_T f(x) + b_T        (logits)

    Pretrained: the weights of `f`. Adapted: the head. Such a learner can be trained on episodes,
    too; the outer gradient then goes through all steps of the head into `f`.

    Differs from the paper: heads start at zero, not at random, so that no class is preferred; all
    of the support set in each of 100 steps, in the place of 100 passes in batches of 4 (200 steps
    for 5 examples, 700 for 25) with momentum 0.9, dampened by as much, which keeps `a` the size of
    a step; the network's batch normalisation is that of the learner, see `ProtoNet`.

    Args:
        network: a `keras.Model` that maps inputs to embeddings, `[rows, D]` (more axes are
            flattened), or None for a subclass with `call`.
        head_learning_rate: `a`, > 0. The authors' code: 0.01.
        head_steps: `T`, at least 1.
        weight_decay: `d`, >= 0. The authors' code: 0.001.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`; XLA runs the tasks one
            after another.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        Chen, Liu, Kira, Wang and Huang, "A Closer Look at Few-shot Classification", ICLR 2019,
        arXiv:1904.04232, section 3.2; `methods/baselinefinetune.py` of the authors' code.
    """

    needs_pretraining = True
    # pfor forgets the greatest number of steps, and the gradient of a loop without one is none of
    # XLA's.
    vectorizes_in_xla = False

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        head_learning_rate: float = 0.01,
        head_steps: int = 100,
        weight_decay: float = 1e-3,
        **kwargs,
    ):
        super().__init__(network, **kwargs)
        check_head(self, head_learning_rate, head_steps, weight_decay)

    @classmethod
    def search_space(cls, hp):
        """Arguments of the constructor, drawn with the `hp` of keras-tuner."""
        return head_search_space(cls, hp)

    def logits(self, adapted, embeddings):
        kernel, bias = adapted.weights
        return tf.matmul(embeddings, kernel) + bias

    def adapt(self, support: Examples, training: bool = False) -> Nest:
        embeddings, ways = self.embed(support.x, training), self.most_ways(support)
        means, present = class_means(embeddings, support.y, support.mask, ways)
        zeros = [tf.zeros_like(tf.transpose(means)), tf.zeros_like(present)]
        return fit_head(self, Head(zeros, present), embeddings, support)
