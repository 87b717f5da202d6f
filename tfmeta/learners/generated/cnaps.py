"""CNAPs: a frozen network whose features are scaled and shifted for each task."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_integer, check_number
from tfmeta.backend.private_keras import layers_of
from tfmeta.engine.checks import learner_checks
from tfmeta.engine.saving import default_argument
from tfmeta.hints import Nest
from tfmeta.inner import call_network
from tfmeta.learners.embedding.base import EmbeddingLearner, hide_absent
from tfmeta.ops import class_gaussians, class_means, mahalanobis
from tfmeta.types import Examples

HEADS = ("linear", "mahalanobis")


class TaskParameters(NamedTuple):
    """What `CNAPs.adapt` returns.

    Attributes:
        scales: one tensor for each of the scales of `film_layers`, in the place of its own.
        offsets: one for each of their offsets.
        head: `(kernel [D, N], bias [N])`, or `Gaussians` with head="mahalanobis".
        present: `[N]`, 0 for a class without a support example.
    """

    scales: Any
    offsets: Any
    head: Any
    present: Any


@keras.saving.register_keras_serializable("tfmeta")
class CNAPs(EmbeddingLearner):
    """Scale and shift the features of a frozen network for each task, and generate its classifier.

    With a pretrained network `f` that stays as it is, and a set encoder `h` on its embeddings:

        r = mean of h(f(x)) over the support set
        (g, b) = film(r),    each normalisation's scale s and offset o become
                             s (1 + g) and o (1 + g) + b
        c_k = mean of f_r(x) over S_k,    f_r the network with these scales and offsets
        w_k = c_k + p(c_k),    outputs_k = w_k . f_r(x) - |c_k|^2 / 2 + q(c_k)        (logits)

    With `head="mahalanobis"` the last line is that of `SimpleCNAPS`, whose head needs no network:
    the whole of Simple CNAPS. `film`, `p` and `q` have two dense layers, the last of which starts
    at zero: a new learner's features are the network's own, and its head is a ProtoNet's.

    Meta-learned: `h`, `film`, `p` and `q`. Adapted: scales, offsets and the classifier, in one pass
    without a step. Ways and shots are free. Pretrain the network, with `classifier` or in any way,
    then set `network.trainable = False`. It runs in inference mode, also in training.

    Differs from the paper: the set encoder reads the embeddings of the frozen network, the paper's
    is a convolutional network of its own on pictures; the head starts as a ProtoNet; no
    auto-regressive variant.

    Args:
        network: a built `keras.Model` that does not train, from inputs to embeddings `[rows, D]`
            (more axes are flattened), with normalisation layers that have scale and offset.
        head: "linear" or "mahalanobis".
        film_layers: names of the layers that are scaled and shifted; None for all normalisation
            layers that have scale and offset.
        representation: the width of `r`.
        hidden: the width of the hidden layers.
        regularization: of the Mahalanobis head, > 0.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range, no network, one that trains, or one without
            such layers.

    Reference:
        Requeima, Gordon, Bronskill, Nowozin and Turner, "Fast and Flexible Multi-Task
        Classification Using Conditional Neural Adaptive Processes", NeurIPS 2019,
        arXiv:1906.07697, section 2.
    """

    needs_pretraining = True

    def __init__(
        self,
        network: keras.Model,
        *,
        head: str = "linear",
        film_layers: Sequence | None = None,
        representation: int = 64,
        hidden: int = 64,
        regularization: float = 1.0,
        **kwargs,
    ):
        super().__init__(network, **kwargs)
        if network is None or not network.built:
            raise ValueError("Expected a built network. Received: none, or one without weights.")
        if head not in HEADS:
            raise ValueError(f"Expected head in {HEADS}. Received: {head!r}.")
        self.head = head
        self.film_layers = film_layers
        self.representation = check_integer("representation", representation, 1)
        self.hidden = check_integer("hidden", hidden, 1)
        self.regularization = check_number("regularization", regularization)

    def fixed_arguments(self):
        return {"film_layers", "head", "hidden", "representation"}

    @classmethod
    def search_space(cls, hp):
        """Arguments of the constructor, drawn with the `hp` of keras-tuner."""
        return {
            "head": hp.Choice("head", list(HEADS), default=default_argument(cls, "head")),
            "representation": hp.Int(
                "representation",
                8,
                256,
                sampling="log",
                default=default_argument(cls, "representation"),
            ),
        }

    def scaled_layers(self):
        """The normalisation layers that are scaled and shifted, a list."""
        layers = {
            layer.name: layer
            for layer in layers_of(self.network)
            if all(getattr(layer, name, None) is not None for name in ("gamma", "beta"))
        }
        names = list(layers) if self.film_layers is None else self.film_layers
        if not names or not isinstance(names, list | tuple) or any(n not in layers for n in names):
            raise ValueError(
                "Expected film_layers to name some of the normalisation layers with scale and "
                f"offset, {list(layers)}. Received: {self.film_layers!r}."
            )
        return [layers[name] for name in names]

    def own_layers(self):
        return self.scaled_layers()

    def check_episodes(self, first):
        super().check_episodes(first)
        learner_checks.check_frozen(self.network)

    def make_weights(self, shape):
        width = int(np.prod(shape))
        numbers = 2 * sum(layer.gamma.shape[0] for layer in self.scaled_layers())
        self.encoder = self._two_layers("encoder", width, self.representation, "glorot_uniform")
        self.film = self._two_layers("film", self.representation, numbers)
        if self.head == "linear":
            self.kernels = self._two_layers("kernels", width, width)
            self.biases = self._two_layers("biases", width, 1)

    def _two_layers(self, name, inputs, outputs, last="zeros"):
        policy = self.dtype_policy
        layers = [keras.Input((inputs,), dtype=policy.compute_dtype)]
        layers += [keras.layers.Dense(self.hidden, "relu", dtype=policy)]
        layers += [keras.layers.Dense(outputs, kernel_initializer=last, dtype=policy)]
        return keras.Sequential(layers, name=name)

    def embed(self, x, training=False):
        return super().embed(x, training=False)  # the network is frozen

    def adapt(self, support: Examples, training: bool = False) -> Nest:
        plain, ways = self.embed(support.x), self.most_ways(support)
        mask = tf.cast(support.mask, plain.dtype)[:, None]
        codes = tf.cast(self.encoder(plain), plain.dtype)
        code = tf.reduce_sum(codes * mask, axis=0) / tf.reduce_sum(mask)
        scales, offsets = self._film(code)
        rows = self._embed_with(scales, offsets, support.x)
        if self.head == "mahalanobis":
            head = class_gaussians(rows, support.y, support.mask, ways, self.regularization)
            return TaskParameters(scales, offsets, head, head.present)
        means, present = class_means(rows, support.y, support.mask, ways)
        kernel = tf.transpose(means + tf.cast(self.kernels(means), means.dtype))
        bias = tf.cast(self.biases(means), means.dtype)[:, 0]
        bias -= 0.5 * tf.reduce_sum(means * means, axis=-1)
        return TaskParameters(scales, offsets, (kernel, bias), present)

    def predict_query(self, adapted: Nest, x: Nest, training: bool = False) -> Nest:
        rows = self._embed_with(adapted.scales, adapted.offsets, x)
        if self.head == "mahalanobis":
            logits = -0.5 * mahalanobis(rows, adapted.head)
        else:
            kernel, bias = adapted.head
            logits = tf.matmul(rows, kernel) + bias
        return hide_absent(logits, adapted.present)

    def _film(self, code):
        """Scales and offsets of `film_layers`, two lists, from `r`."""
        layers = self.scaled_layers()
        widths = [layer.gamma.shape[0] for layer in layers]
        values = tf.split(tf.cast(self.film(code[None]), code.dtype)[0], 2 * widths)
        scales, offsets = [], []
        for i, layer in enumerate(layers):
            factor = 1.0 + values[i]
            scales.append(tf.cast(layer.gamma, code.dtype) * factor)
            shift = values[len(layers) + i]
            offsets.append(tf.cast(layer.beta, code.dtype) * factor + shift)
        return scales, offsets

    def _embed_with(self, scales, offsets, x):
        """`f_r(x)` `[rows, D]`."""
        values = {}
        for layer, scale, offset in zip(self.scaled_layers(), scales, offsets, strict=True):
            values |= {id(layer.gamma): scale, id(layer.beta): offset}
        variables = self.network.trainable_variables
        weights = [values.get(id(v), tf.convert_to_tensor(v)) for v in variables]
        state = [
            values.get(id(v), tf.convert_to_tensor(v)) for v in self.network.non_trainable_variables
        ]
        features, _ = call_network(
            self.network, weights, state, x, training=False, batch_statistics=False
        )
        if features.dtype in (tf.float16, tf.bfloat16):  # half precision is for layers
            features = tf.cast(features, tf.float32)
        return tf.reshape(features, (-1, int(np.prod(features.shape[1:]))))
