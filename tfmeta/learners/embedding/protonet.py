"""Prototypical networks (ProtoNet)."""

from typing import Any, NamedTuple

import keras

from tfmeta.learners.embedding.base import EmbeddingLearner
from tfmeta.ops import class_means, squared_euclidean


class Prototypes(NamedTuple):
    """What `ProtoNet.adapt` returns.

    Attributes:
        means: one prototype a class, `[N, D]`.
        present: `[N]`, 0 for a class without a support example.
    """

    means: Any
    present: Any


@keras.saving.register_keras_serializable("tfmeta")
class ProtoNet(EmbeddingLearner):
    """Classify by the nearest class mean in a learned embedding.

    With the network `f` and the support examples `S_k` of class `k`:

        c_k = mean of f(x) over S_k
        outputs_k = -|f(x) - c_k|^2        (logits)

    Meta-learned: the weights of `f`. Adapted: the prototypes; no weight changes. BatchNormalization
    uses batch statistics in training, which the moving averages follow, and those averages
    outside it, so that a prediction does not depend on the other query examples.

    In a compiled step `N` is the number of support rows, and the columns of classes that are not
    there hold a large negative number, which neither a softmax nor an argmax sees. `predict` cuts
    them off. To pretrain the network on class names first: `classifier`.

    Differs from the paper: in training, support and query batches are normalised apart; episodes
    of one meta-batch may be several (`meta_batch_size`), the paper uses one.

    Args:
        network: a `keras.Model` that maps inputs to embeddings, `[rows, D]` (more axes are
            flattened), or None for a subclass with `call`.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Reference:
        Snell, Swersky and Zemel, "Prototypical Networks for Few-shot Learning", NeurIPS 2017,
        arXiv:1703.05175, equations 1 and 2.
    """

    def adapt(self, support, training=False):
        embeddings = self.embed(support.x, training)
        ways = self.most_ways(support)
        return Prototypes(*class_means(embeddings, support.y, support.mask, ways))

    def logits(self, adapted, embeddings):
        return -squared_euclidean(embeddings, adapted.means)
