"""Relation networks (RelationNet)."""

import keras
import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.engine.saving import default_argument
from tfmeta.engine.serving import known_ways
from tfmeta.engine.task import TaskResult
from tfmeta.hints import Nest
from tfmeta.learners.embedding.base import EmbeddingLearner
from tfmeta.learners.embedding.protonet import Prototypes
from tfmeta.ops import class_means
from tfmeta.types import Examples


@keras.saving.register_keras_serializable("tfmeta")
class RelationNet(EmbeddingLearner):
    """Learn the comparison, too: a network scores how well a query goes with a class.

    With the network `f`, whose outputs may be feature maps, the support examples `S_k` of class
    `k`, and the relation module `g`:

        c_k = mean of f(x) over S_k
        u_k = g([c_k, f(x)]),    r_k = sigmoid(u_k)
        outputs_k = u_k        (logits)
        loss = mean over query rows and classes of (r_k - [y = k])^2

    Channels of `c_k` and `f(x)` stand side by side in what `g` sees. A loss need not be compiled,
    and is not used. Meta-learned: the weights of `f` and `g`. Adapted: the `c_k`.

    Give it a network that ends in feature maps, `keras.Model(n.input, n.get_layer("relu4").output)`
    of a `conv4`, say; the paper's has no pooling in its last two blocks, so that the maps of 28x28
    pictures are 7x7. The relation module that is made for maps is the paper's: two
    blocks of 3x3 convolution and 2x2 max pooling, a dense layer of 8, one of 1; for flat embeddings
    it has dense layers of `filters` and of 8 before the last.

    Differs from the paper: the class feature is the mean of its examples', where the paper takes
    their sum, so that `g` sees features of one size whatever the number of shots; a block of `g`
    normalises each pair for itself (group normalisation of one group, batch normalisation in the
    paper), so that no pair depends on the others, nor on classes that are not there.

    In a compiled step each query is paired with as many classes as there are support rows, unless
    `ways` says how many there are at most: five times fewer pairs with five shots.

    Args:
        network: a `keras.Model` that maps inputs to features, `[rows, height, width, C]` or
            `[rows, D]`, or None for a subclass with `call`.
        relation: `g`, a `keras.Model` or layer from `[rows, height, width, 2 C]`, or `[rows, 2 D]`,
            to `[rows, 1]`, without a sigmoid at its end; None for the one above.
        filters: of the convolutions of `g`, or the width of its first dense layer.
        ways: the largest number of classes of an episode; None for any.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range, or an episode has more classes than `ways`.

    Reference:
        Sung, Yang, Zhang, Xiang, Torr and Hospedales, "Learning to Compare: Relation Network for
        Few-Shot Learning", CVPR 2018, arXiv:1711.06025, equations 1 and 2, figure 2.
    """

    has_own_loss = True

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        relation: keras.Model | None = None,
        filters: int = 64,
        ways: int | None = None,
        **kwargs,
    ):
        super().__init__(network, **kwargs)
        if relation is not None and not isinstance(relation, keras.layers.Layer):
            raise ValueError(
                f"Expected relation to be a Keras model or layer. Received: {relation!r}."
            )
        self.relation = relation
        self.filters = check_integer("filters", filters, 1)
        self.ways = ways if ways is None else check_integer("ways", ways, 2)

    def fixed_arguments(self):
        return {"filters", "relation"}

    @classmethod
    def search_space(cls, hp):
        """Arguments of the constructor, drawn with the `hp` of keras-tuner."""
        return {
            "filters": hp.Int(
                "filters", 8, 128, sampling="log", default=default_argument(cls, "filters")
            )
        }

    def make_weights(self, shape):
        self.pairs = (*shape[:-1], 2 * shape[-1])
        if self.relation is None:
            self.compare = relation_module(self.pairs, self.filters, self.dtype_policy)
        else:
            self.compare = self.relation
            if not self.compare.built:
                self.compare.build((None, *self.pairs))

    def check_episodes(self, first):
        super().check_episodes(first)
        ways = int(max(first.support.y.max(), first.query.y.max())) + 1
        if self.ways is not None and ways > self.ways:
            raise ValueError(
                f"Expected episodes of at most ways={self.ways} classes. Received: {ways} classes. "
                "Make the learner with a larger `ways`, or with ways=None."
            )

    def most_ways(self, support):
        if self.ways is None or tf.executing_eagerly() or known_ways() is not None:
            return super().most_ways(support)
        return self.ways

    def adapt(self, support: Examples, training: bool = False) -> Nest:
        embeddings, ways = self.embed(support.x, training), self.most_ways(support)
        return Prototypes(*class_means(embeddings, support.y, support.mask, ways))

    def logits(self, adapted, embeddings):
        shape = (*self.pairs[:-1], self.pairs[-1] // 2)
        queries, classes = tf.shape(embeddings)[0], tf.shape(adapted.means)[0]
        query = tf.repeat(tf.reshape(embeddings, (-1, *shape)), classes, axis=0)
        means = tf.reshape(adapted.means, (-1, *shape))
        means = tf.tile(means, [queries] + [1] * len(shape))
        scores = self.compare(tf.concat([means, query], axis=-1))
        return tf.reshape(tf.cast(scores, embeddings.dtype), (queries, classes))

    def score_task(self, episode, training):
        adapted = self.adapt(episode.support, training=training)
        query = episode.query
        outputs = self.predict_query(adapted, query.x, training=training)
        labels = tf.one_hot(query.y, tf.shape(outputs)[-1], dtype=outputs.dtype)
        present = adapted.present
        errors = tf.reduce_sum(present * (tf.sigmoid(outputs) - labels) ** 2, axis=-1)
        mask = tf.cast(query.mask, outputs.dtype)
        count = tf.reduce_sum(mask) * tf.reduce_sum(present)
        loss = tf.math.divide_no_nan(tf.reduce_sum(errors * mask), count)
        return TaskResult(loss, query.y, outputs, query.mask, adapted=adapted)


def relation_module(pairs, filters, dtype):
    """The paper's relation module for maps of the shape `pairs`, or one for flat embeddings."""
    x = inputs = keras.Input(pairs)
    if len(pairs) == 3:
        for i in (1, 2):
            x = keras.layers.Conv2D(filters, 3, padding="same", dtype=dtype, name=f"conv{i}")(x)
            x = keras.layers.GroupNormalization(groups=1, dtype=dtype, name=f"norm{i}")(x)
            x = keras.layers.ReLU(name=f"relu{i}")(x)
            size = tuple(min(side, 2) for side in x.shape[1:3])
            x = keras.layers.MaxPooling2D(size, name=f"pool{i}")(x)
        x = keras.layers.Flatten()(x)
    else:
        x = keras.layers.Flatten()(x)
        x = keras.layers.Dense(filters, "relu", dtype=dtype, name="dense0")(x)
    x = keras.layers.Dense(8, "relu", dtype=dtype, name="dense1")(x)
    outputs = keras.layers.Dense(1, dtype=dtype, name="dense2")(x)
    return keras.Model(inputs, outputs, name="relation")
