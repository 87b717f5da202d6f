"""SimpleShot: the nearest class mean of normalised features."""

from operator import itemgetter

import keras
import numpy as np
import tensorflow as tf

from tfmeta.engine.inputs import as_tensor
from tfmeta.engine.saving import default_argument
from tfmeta.hints import Nest
from tfmeta.learners.embedding.base import EmbeddingLearner
from tfmeta.learners.embedding.protonet import Prototypes
from tfmeta.ops import class_means, squared_euclidean
from tfmeta.rows import map_parts
from tfmeta.types import ClassDataset, Examples, check_class_dataset

TRANSFORMS = ("CL2N", "L2N", "UN")
_CHUNK_ROWS = 256


@keras.saving.register_keras_serializable("tfmeta")
class SimpleShot(EmbeddingLearner):
    """Pretrain a network on the base classes; for a new task take the nearest class mean.

    First the network `f` learns to name the base classes, by ordinary `fit` of `classifier`; then
    `center_on` measures `m`, the mean of `f` over all their examples. With `S_k` the support
    examples of class `k`:

        z(x) = (f(x) - m) / |f(x) - m|      "CL2N", centred, then of length 1
        z(x) = f(x) / |f(x)|                "L2N"
        z(x) = f(x)                         "UN", which is `ProtoNet` with squared distances

        c_k = mean of z(x) over S_k
        outputs_k = -|z(x) - c_k|^2         (logits)

    Pretrained: the weights of `f`, and `m`, which is saved with them. Adapted: the class means.
    Until `center_on` is called `m` is zero, and "CL2N" the same as "L2N".

    Differs from the paper: nothing in the nearest mean; pretraining is as the caller compiles it.
    The learner can be trained on episodes, too, as `ProtoNet`: `m` does not follow, so call
    `center_on` again afterwards.

    Args:
        network: a `keras.Model` that maps inputs to embeddings, `[rows, D]` (more axes are
            flattened), or None for a subclass with `call`.
        transform: "CL2N", "L2N" or "UN".
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an unknown transform.

    Reference:
        Wang, Chao, Weinberger and van der Maaten, "SimpleShot: Revisiting Nearest-Neighbor
        Classification for Few-Shot Learning", 2019, arXiv:1911.04623, section 2.
    """

    needs_pretraining = True

    def __init__(self, network: keras.Model | None = None, *, transform: str = "CL2N", **kwargs):
        super().__init__(network, **kwargs)
        if transform not in TRANSFORMS:
            raise ValueError(f"Expected transform in {TRANSFORMS}. Received: {transform!r}.")
        self.transform = transform

    @classmethod
    def search_space(cls, hp):
        """Arguments of the constructor, drawn with the `hp` of keras-tuner."""
        return {
            "transform": hp.Choice(
                "transform", list(TRANSFORMS), default=default_argument(cls, "transform")
            )
        }

    def make_weights(self, shape):
        self.base_mean = self.add_weight(
            shape=(int(np.prod(shape)),), initializer="zeros", trainable=False, name="base_mean"
        )

    def adapt(self, support: Examples, training: bool = False) -> Nest:
        embeddings, ways = self.embed(support.x, training), self.most_ways(support)
        return Prototypes(*class_means(embeddings, support.y, support.mask, ways))

    def logits(self, adapted, embeddings):
        return -squared_euclidean(embeddings, adapted.means)

    def embed(self, x, training=False):
        embeddings = super().embed(x, training)
        if self.transform == "UN":
            return embeddings
        if self.transform == "CL2N":
            embeddings -= tf.cast(self.base_mean, embeddings.dtype)
        return tf.math.l2_normalize(embeddings, axis=-1)

    def center_on(self, dataset: ClassDataset) -> None:
        """Set `m` to the mean embedding of all examples of the base classes.

        Call it once the network is pretrained.

        Args:
            dataset: `ClassDataset` of the base classes.

        Raises:
            ValueError: `dataset` is no `ClassDataset`.
        """
        check_class_dataset(dataset)
        if not self.built:
            self.build(map_parts(lambda part: (None, *part.shape[1:]), dataset.rows))
        embed = tf.function(super().embed, autograph=False, reduce_retracing=True)
        total = np.zeros(self.base_mean.shape)
        for start in range(0, dataset.num_examples, _CHUNK_ROWS):
            rows = map_parts(itemgetter(slice(start, start + _CHUNK_ROWS)), dataset.rows)
            total += np.sum(embed(as_tensor(self, rows)), axis=0, dtype=np.float64)
        self.base_mean.assign(total / dataset.num_examples)
