"""What learners with an embedding for their network share."""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.engine.building import network_input_shape, network_inputs
from tfmeta.engine.checks.input_shapes import check_input_shapes
from tfmeta.engine.inputs import network_dtype
from tfmeta.engine.losses import one_output
from tfmeta.engine.meta_model import MetaModel
from tfmeta.engine.serving import known_ways
from tfmeta.hints import Nest


class EmbeddedSupport(NamedTuple):
    """A support set as it is embedded.

    Attributes:
        embeddings: of the support rows, `[S, D]`.
        members: `[S, N]`, 1 where a row is of a class, 0 for padding.
        present: `[N]`, 0 for a class without a support example.
    """

    embeddings: Any
    members: Any
    present: Any


class EmbeddingLearner(MetaModel):
    """Base of the learners that put a classifier of their own on top of an embedding.

    A subclass says in `adapt` what it takes from the support set, `present` `[N]` among it, and in
    `logits` how it scores embeddings with that. What it learns besides the network it makes in
    `make_weights`, which is called once.

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

    def __init__(self, network: keras.Model | None = None, **kwargs):
        super().__init__(network, **kwargs)
        self._has_weights = False

    def ready(self):
        # A network that came built: what a subclass makes besides is made at once, too.
        if self.built:
            self.build(network_input_shape(self.network))

    def build(self, input_shape):
        super().build(input_shape)
        if not self._has_weights and self._makes_weights():
            self._has_weights = True
            x = network_inputs(input_shape, self.input_dtype)
            features = one_output(self.inner_network().compute_output_spec(x))
            self.make_weights(tuple(features.shape[1:]))

    def make_weights(self, shape):
        """Make what is learned besides the network: weights, and layers, which are built here.

        Args:
            shape: of the network's outputs for one row, a tuple.
        """

    def _makes_weights(self):
        return type(self).make_weights is not EmbeddingLearner.make_weights

    def add_number(self, name, first):
        """A learned number that starts at `first`, of the network's dtype."""
        initializer = keras.initializers.Constant(first)
        return self.add_weight((), initializer, network_dtype(self), name=name)

    def predicts_logits(self):
        return True

    def check_episodes(self, first):
        super().check_episodes(first)
        check_input_shapes(self.inner_network(), first.query.x, 2)

    def logits(self, adapted: Nest, embeddings: tf.Tensor) -> tf.Tensor:
        """Outputs `[M, N]` for embeddings `[M, D]`, of absent classes, too."""
        raise NotImplementedError(f"{type(self).__name__} does not define `logits`.")

    def predict_query(self, adapted: Nest, x: Nest, training: bool = False) -> Nest:
        logits = self.logits(adapted, self.embed(x, training))
        return hide_absent(logits, adapted.present)

    def most_ways(self, support):
        """`N`: the number of ways where it is known, else that of support rows."""
        return most_ways(support)

    def features(self, x, training=False):
        """Outputs of the network `[rows, ...]`, float32 if it computes in 16 bits."""
        features = one_output(self(x, training=training))
        half = features.dtype in (tf.float16, tf.bfloat16)  # half precision is for layers
        return tf.cast(features, tf.float32) if half else features

    def embed(self, x: Nest, training: bool = False) -> tf.Tensor:
        """Embeddings `[rows, D]`, which are the features made flat."""
        features = self.features(x, training)
        return tf.reshape(features, (-1, int(np.prod(features.shape[1:]))))

    def embedded_support(self, support, training=False):
        """The support set, `EmbeddedSupport`: what `adapt` of a learner returns that keeps it."""
        embeddings, ways = self.embed(support.x, training), self.most_ways(support)
        members = tf.one_hot(support.y, ways, dtype=embeddings.dtype)
        members *= tf.cast(support.mask, embeddings.dtype)[:, None]
        return EmbeddedSupport(embeddings, members, tf.reduce_max(members, axis=0))

    def predict(self, x, **kwargs):
        return without_absent(super().predict(x, **kwargs))

    def classifier(self, classes: int) -> keras.Model:
        """A plain Keras model to pretrain the network with, on the names of the base classes.

        It is the learner's own network, not a copy, under a new head: what `fit` teaches the one
        is there in the other.

        ```python
        classifier = learner.classifier(train.num_classes)
        classifier.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        classifier.fit(tfmeta.datasets.labelled(train), epochs=10)
        ```

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


def most_ways(support):
    """The number of ways of one task where it is known, else that of support rows."""
    if known_ways() is not None:
        return known_ways()
    if tf.executing_eagerly():
        return int(tf.reduce_max(support.y)) + 1
    # Keras forgets the number of rows once it has seen two of them.
    return support.y.shape[0] or tf.shape(support.y)[0]


def without_absent(outputs):
    """Outputs of `predict`, NumPy arrays, without the columns of classes that no task has."""
    return outputs[..., (outputs > np.finfo(outputs.dtype).min / 4).any(axis=(0, 1))]


def hide_absent(logits, present):
    """`logits` `[M, N]`, with a large negative number where `present` `[N]` is 0."""
    return tf.where(present[None] > 0, logits, logits.dtype.min / 2)


def with_ones(embeddings):
    """`[rows, D]` with a column of ones behind, for the bias: `[rows, D + 1]`."""
    return tf.concat([embeddings, tf.ones_like(embeddings[:, :1])], axis=1)
