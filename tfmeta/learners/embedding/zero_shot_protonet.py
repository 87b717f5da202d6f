"""Zero-shot ProtoNet: prototypes from descriptions of classes."""

import keras
import numpy as np
import tensorflow as tf

from tfmeta.engine.checks.input_shapes import check_input_shapes
from tfmeta.hints import Nest
from tfmeta.learners.embedding.base import most_ways
from tfmeta.learners.embedding.protonet import ProtoNet, Prototypes
from tfmeta.ops import class_means
from tfmeta.types import Examples


@keras.saving.register_keras_serializable("tfmeta")
class ZeroShotProtoNet(ProtoNet):
    """Classify by the nearest prototype, which comes from a description of the class.

    With the network `f` of examples, the network `g` of descriptions, and the description `v_k` of
    class `k`:

        c_k = g(v_k) / |g(v_k)|
        outputs_k = -|f(x) - c_k|^2 / T        (logits)

    There is no support example: in `adapt` the rows of the support set are descriptions, one or
    more a class (their `c_k` is the mean). They stand alone, `[S, ...]`, or as
    `{"x": ..., "description": ...}`, as `tfmeta.datasets.described` makes them, so that any
    classification episodes of such a data set are zero-shot episodes. For the generalised score,
    in which classes that were trained on may be confused with new ones, adapt to descriptions of
    all of them.

    Meta-learned: the weights of `f` and `g`, and `T` if `learn_temperature`. Adapted: the
    prototypes.

    Differs from the paper: both networks are any; the paper's are linear, on features of pictures
    and on attributes.

    Args:
        network: `f`, a built `keras.Model` from examples to embeddings, `[rows, D]` (more axes are
            flattened).
        description_network: `g`, a built `keras.Model` from descriptions to `[rows, D]`.
        distance: as in `ProtoNet`; here the paper's, "squared_euclidean", by default.
        **kwargs: `temperature`, `learn_temperature`, `task_batching`, `name` and `dtype`, as in
            `ProtoNet`.

    Raises:
        ValueError: a network is missing or not built, or their outputs differ in width.

    Reference:
        Snell, Swersky and Zemel, "Prototypical Networks for Few-shot Learning", NeurIPS 2017,
        arXiv:1703.05175, sections 2.7 and 3.3.
    """

    def __init__(
        self,
        network: keras.Model,
        description_network: keras.Model,
        *,
        distance: str = "squared_euclidean",
        **kwargs,
    ):
        super().__init__(network, distance=distance, **kwargs)
        widths = [_width(name, n) for name, n in (
            ("network", network), ("description_network", description_network)
        )]  # fmt: skip
        if widths[0] != widths[1]:
            raise ValueError(
                "Expected network and description_network with outputs of one width. Received: "
                f"{widths[0]} and {widths[1]}."
            )
        self.description_network = description_network

    def check_episodes(self, first):
        super().check_episodes(first)
        check_input_shapes(self.inner_network(), _part(first.query.x, "x"), 2)
        check_input_shapes(self.description_network, _part(first.support.x, "description"), 2)

    def adapt(self, support: Examples, training: bool = False) -> Nest:
        rows = _part(support.x, "description")
        rows = self.description_network(rows, training=training)
        if rows.dtype in (tf.float16, tf.bfloat16):  # half precision is for layers
            rows = tf.cast(rows, tf.float32)
        rows = tf.reshape(rows, (-1, int(np.prod(rows.shape[1:]))))
        rows = tf.math.l2_normalize(rows, axis=-1)
        return Prototypes(*class_means(rows, support.y, support.mask, most_ways(support)))

    def embed(self, x, training=False):
        return super().embed(_part(x, "x"), training)


def _part(x, name):
    """A part of what `described` made, or x if it is something else."""
    return x[name] if isinstance(x, dict) and set(x) == {"x", "description"} else x


def _width(name, network):
    if not isinstance(network, keras.Model) or not network.built:
        raise ValueError(f"Expected {name} to be a built keras.Model. Received: {network!r}.")
    return int(np.prod(network.output_shape[1:]))
