"""Prototypical networks (ProtoNet)."""

import math
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.arguments import check_flag, check_number
from tfmeta.engine import saving
from tfmeta.hints import Nest
from tfmeta.learners.embedding.base import EmbeddingLearner
from tfmeta.ops import class_means, cosine_similarity, euclidean, squared_euclidean
from tfmeta.types import Examples

#: Name -> (closeness of rows of embeddings to rows of prototypes, the temperature that it is for).
DISTANCES = {
    "euclidean": (lambda a, b: -euclidean(a, b), 1.0),
    "squared_euclidean": (lambda a, b: -squared_euclidean(a, b), 1.0),
    "cosine": (cosine_similarity, 0.1),
}


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
        outputs_k = -d(f(x), c_k) / T        (logits)

        d(a, b) = |a - b|               "euclidean"
        d(a, b) = |a - b|^2             "squared_euclidean", the paper's
        d(a, b) = -a . b / (|a| |b|)    "cosine"

    Squared distances of wide embeddings are large, so that the softmax of an untrained network is
    all but decided: plain ones, the default, learn faster with many ways or pictures with colour,
    and as fast elsewhere. Take the squared ones for the paper's method, whose prototypes are the
    best ones of a mixture of Gaussians; cosines where the lengths of embeddings mean nothing. A
    learned temperature changed little in any of them.

    Meta-learned: the weights of `f`, and `T` if `learn_temperature`. Adapted: the prototypes; no
    weight changes. BatchNormalization uses batch statistics in training, which the moving averages
    follow, and those averages outside it, so that a prediction does not depend on the other query
    examples.

    In a compiled step `N` is the number of support rows, and the columns of classes that are not
    there hold a large negative number, which neither a softmax nor an argmax sees. `predict` cuts
    them off. To pretrain the network on class names first: `classifier`.

    Differs from the paper: the default distance; in training, support and query batches are
    normalised apart; episodes of one meta-batch may be several (`meta_batch_size`), the paper uses
    one. The temperature is not the paper's; a learned one is that of TADAM.

    Args:
        network: a `keras.Model` that maps inputs to embeddings, `[rows, D]` (more axes are
            flattened), or None for a subclass with `call`.
        distance: "euclidean", "squared_euclidean" or "cosine".
        temperature: `T`, or where it starts, > 0; None for 1, and for cosines 0.1.
        learn_temperature: True learns `T`, as the exponential of a weight.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an unknown distance, or an argument that is out of its range.

    Reference:
        Snell, Swersky and Zemel, "Prototypical Networks for Few-shot Learning", NeurIPS 2017,
        arXiv:1703.05175, equations 1 and 2; Oreshkin, Rodriguez and Lacoste, "TADAM", NeurIPS
        2018, arXiv:1805.10123, section 2.1, for the temperature.
    """

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        distance: str = "euclidean",
        temperature: float | None = None,
        learn_temperature: bool = False,
        **kwargs,
    ):
        super().__init__(network, **kwargs)
        if distance not in DISTANCES:
            raise ValueError(
                f"Expected distance to be one of {', '.join(map(repr, DISTANCES))}. Received: "
                f"{distance!r}."
            )
        self.distance = distance
        self.temperature = (
            temperature if temperature is None else check_number("temperature", temperature)
        )
        self.learn_temperature = check_flag("learn_temperature", learn_temperature)
        self.log_temperature = None

    def fixed_arguments(self):
        return {"learn_temperature"} | ({"temperature"} if self.learn_temperature else set())

    @classmethod
    def from_config(cls, config):
        if "distance" not in config and saving.takes(cls, "distance"):  # a file of version 0.1.0
            config = config | {"distance": "squared_euclidean"}
        return super().from_config(config)

    @classmethod
    def search_space(cls, hp):
        """Arguments of the constructor, drawn with the `hp` of keras-tuner."""
        return {
            "distance": hp.Choice(
                "distance", list(DISTANCES), default=saving.default_argument(cls, "distance")
            ),
            "learn_temperature": hp.Boolean(
                "learn_temperature", default=saving.default_argument(cls, "learn_temperature")
            ),
        }

    def make_weights(self, shape):
        if self.learn_temperature:
            first = math.log(self._first_temperature())
            self.log_temperature = self.add_number("log_temperature", first)

    def _first_temperature(self):
        return DISTANCES[self.distance][1] if self.temperature is None else self.temperature

    def adapt(self, support: Examples, training: bool = False) -> Nest:
        embeddings = self.embed(support.x, training)
        ways = self.most_ways(support)
        return Prototypes(*class_means(embeddings, support.y, support.mask, ways))

    def logits(self, adapted, embeddings):
        closeness = DISTANCES[self.distance][0](embeddings, adapted.means)
        if self.log_temperature is not None:
            return closeness * tf.exp(-tf.cast(self.log_temperature, closeness.dtype))
        return closeness / self._first_temperature()
