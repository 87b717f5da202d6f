"""What learners with an embedding for their network share."""

import keras
import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.engine.building import network_input_shape
from tfmeta.engine.input_shapes import check_input_shapes
from tfmeta.engine.losses import one_output
from tfmeta.engine.meta_model import MetaModel


class EmbeddingLearner(MetaModel):
    """Base of the learners that put a classifier of their own on top of an embedding.

    A subclass says in `adapt` what it takes from the support set, `present` `[N]` among it, and in
    `logits` how it scores embeddings with that.

    In a compiled step the number of ways is not known, so `N` is the number of support rows,
    `ways * shots`; the columns of classes that are not there hold a large negative number, which
    neither a softmax nor an argmax sees. `predict` cuts them off.

    Args:
        network: a `keras.Model` that maps inputs to embeddings, `[rows, D]` (more axes are
            flattened), or None for a subclass with `call`.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.
    """

    supports_masks = True
    integer_labels = True
    one_label_a_row = True

    def ready(self):
        # A network that came built: what a subclass adds in `build` is made at once, too.
        if self.built:
            self.build(network_input_shape(self.network))

    def predicts_logits(self):
        return True

    def check_episodes(self, first):
        super().check_episodes(first)
        check_input_shapes(self.inner_network(), first.query.x, 2)

    def logits(self, adapted, embeddings):
        """Outputs `[M, N]` for embeddings `[M, D]`, of absent classes, too."""
        raise NotImplementedError(f"{type(self).__name__} does not define `logits`.")

    def predict_query(self, adapted, x, training=False):
        logits = self.logits(adapted, self.embed(x, training))
        return hide_absent(logits, adapted.present)

    def most_ways(self, support):
        """`N`: the number of ways where it is known, else that of support rows."""
        if tf.executing_eagerly():
            return int(tf.reduce_max(support.y)) + 1
        # Keras forgets the number of rows once it has seen two of them.
        return support.y.shape[0] or tf.shape(support.y)[0]

    def embed(self, x, training=False):
        """Embeddings `[rows, D]`, float32 if the network computes in 16 bits."""
        embeddings = one_output(self(x, training=training))
        if embeddings.dtype in (tf.float16, tf.bfloat16):  # half precision is for layers
            embeddings = tf.cast(embeddings, tf.float32)
        return tf.reshape(embeddings, (-1, int(np.prod(embeddings.shape[1:]))))

    def predict(self, x, **kwargs):
        outputs = super().predict(x, **kwargs)
        return outputs[..., (outputs > np.finfo(outputs.dtype).min / 4).any(axis=(0, 1))]

    def classifier(self, classes):
        """A plain Keras model to pretrain the network with, on the names of the base classes.

        It is the learner's own network, not a copy, under a new head: what `fit` teaches the one
        is there in the other.

            classifier = learner.classifier(train.num_classes)
            classifier.compile("adam", SparseCategoricalCrossentropy(from_logits=True))
            classifier.fit(tfmeta.datasets.labelled(train), epochs=10)

        Args:
            classes: number of base classes.

        Returns:
            A `keras.Model`, inputs `[rows, ...]` to logits `[rows, classes]`.

        Raises:
            ValueError: `classes` is no integer from 1.
        """
        check_integer("classes", classes, 1)
        layers = [self.inner_network(), keras.layers.Flatten(), *self.pretraining_head(classes)]
        return keras.Sequential(layers, name=f"{self.name}_classifier")

    def pretraining_head(self, classes):
        """The layers that `classifier` puts on top of embeddings, a list."""
        return [keras.layers.Dense(classes, name="head")]


def hide_absent(logits, present):
    """`logits` `[M, N]`, with a large negative number where `present` `[N]` is 0."""
    return tf.where(present[None] > 0, logits, logits.dtype.min / 2)
