"""Baseline++: a pretrained network, and a cosine head trained on the support set."""

import keras
import tensorflow as tf

from tfmeta.arguments import check_number
from tfmeta.engine.saving import default_argument
from tfmeta.hints import Nest
from tfmeta.learners.embedding.base import EmbeddingLearner
from tfmeta.learners.embedding.baseline import Head, check_head, fit_head, head_search_space
from tfmeta.ops import class_means
from tfmeta.types import Examples


@keras.saving.register_keras_serializable("tfmeta")
class BaselinePlusPlus(EmbeddingLearner):
    """As `Baseline`, with a head that compares directions, not lengths.

    Both in pretraining and for a new task the head is one vector `w_k` a class:

        outputs_k = s * cos(f(x), w_k) = s * f(x) . w_k / (|f(x)| |w_k|)        (logits)

    A new task starts from the mean direction of each class, and takes `T` steps as `Baseline`:

        w_0k = mean of f(x) / |f(x)| over S_k,    w_{t+1} = w_t - a * grad L(w_t)

    Pretrained: the weights of `f`. Adapted: the class vectors.

    Differs from the paper: class vectors start at the class means, not at random (a cosine has no
    direction at zero); their lengths do not count, where the authors' code also learns a length
    for each class; steps as in `Baseline`.

    Args:
        network: a `keras.Model` that maps inputs to embeddings, as in `Baseline`.
        scale: `s`, > 0. The authors' code: 2 for up to 200 classes, 10 for more.
        **kwargs: `head_learning_rate`, `head_steps` and `weight_decay`, as in `Baseline`, and
            `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        Chen, Liu, Kira, Wang and Huang, "A Closer Look at Few-shot Classification", ICLR 2019,
        arXiv:1904.04232, section 3.3; `distLinear` in `backbone.py` of the authors' code.
    """

    needs_pretraining = True
    vectorizes_in_xla = False  # as in `Baseline`

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        scale: float = 2.0,
        head_learning_rate: float = 0.01,
        head_steps: int = 100,
        weight_decay: float = 1e-3,
        **kwargs,
    ):
        super().__init__(network, **kwargs)
        check_head(self, head_learning_rate, head_steps, weight_decay)
        self.scale = check_number("scale", scale)

    @classmethod
    def search_space(cls, hp):
        """Arguments of the constructor, drawn with the `hp` of keras-tuner."""
        scale = hp.Float("scale", 2.0, 30.0, sampling="log", default=default_argument(cls, "scale"))
        return head_search_space(cls, hp) | {"scale": scale}

    def adapt(self, support: Examples, training: bool = False) -> Nest:
        embeddings, ways = self.embed(support.x, training), self.most_ways(support)
        directions = tf.math.l2_normalize(embeddings, axis=-1)
        means, present = class_means(directions, support.y, support.mask, ways)
        return fit_head(self, Head([tf.transpose(means)], present), embeddings, support)

    def logits(self, adapted, embeddings):
        (vectors,) = adapted.weights
        directions = tf.math.l2_normalize(embeddings, axis=-1)
        return self.scale * tf.matmul(directions, tf.math.l2_normalize(vectors, axis=0))

    def pretraining_head(self, classes):
        # Plain layers: the constraint puts each class vector back to length 1 after a step.
        unit = keras.constraints.UnitNorm(axis=0)
        return [
            keras.layers.UnitNormalization(),
            keras.layers.Dense(classes, use_bias=False, kernel_constraint=unit, name="head"),
            keras.layers.Rescaling(self.scale),
        ]
