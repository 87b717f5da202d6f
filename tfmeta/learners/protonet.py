"""Prototypical networks (ProtoNet)."""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfmeta.learners.base import MetaModel
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
class ProtoNet(MetaModel):
    """Classify by the nearest class mean in a learned embedding.

    With the network `f` and the support examples `S_k` of class `k`:

        c_k = mean of f(x) over S_k
        outputs_k = -|f(x) - c_k|^2        (logits)

    Meta-learned: the weights of `f`. Adapted: the prototypes; no weight changes. BatchNormalization
    uses batch statistics in training, which the moving averages follow, and those averages
    outside it, so that a prediction does not depend on the other query examples.

    In a compiled step the number of ways is not known, so `N` is the number of support rows,
    `ways * shots`; the columns of classes that are not there hold a large negative number, which
    neither a softmax nor an argmax sees. `predict` cuts them off.

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

    supports_masks = True
    integer_labels = True

    def predicts_logits(self):
        return True

    def adapt(self, support, training=False):
        if tf.executing_eagerly():
            ways = int(tf.reduce_max(support.y)) + 1
        else:  # Keras forgets the number of rows once it has seen two of them
            ways = support.y.shape[0] or tf.shape(support.y)[0]
        embeddings = self.embed(support.x, training)
        return Prototypes(*class_means(embeddings, support.y, support.mask, ways))

    def predict_query(self, adapted, x, training=False):
        logits = -squared_euclidean(self.embed(x, training), adapted.means)
        return tf.where(adapted.present[None] > 0, logits, logits.dtype.min / 2)

    def embed(self, x, training=False):
        """Embeddings `[rows, D]`."""
        embeddings = self(x, training=training)
        return tf.reshape(embeddings, (-1, int(np.prod(embeddings.shape[1:]))))

    def predict(self, x, **kwargs):
        outputs = super().predict(x, **kwargs)
        return outputs[..., (outputs > np.finfo(outputs.dtype).min / 4).any(axis=(0, 1))]
