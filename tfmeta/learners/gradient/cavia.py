"""CAVIA: adapt a few context values, and share every weight of the network."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.backend.network_facts import layers_with_weights
from tfmeta.engine.saving import default_argument
from tfmeta.inner.rule import Learned
from tfmeta.learners.gradient import checks
from tfmeta.learners.gradient.adapted_part import AllWeights, replaced
from tfmeta.learners.gradient.base import GradientLearner


@keras.saving.register_keras_serializable("tfmeta")
class CAVIA(GradientLearner):
    """Learn a network with an extra input, the context, and adapt nothing but that.

    Inner loop, for each task, from a context of zeros:

        c_0 = 0,    c_{t+1} = c_t - a * grad_c L_support(c_t, w),    t = 0..T-1

    Outer loop: the compiled optimizer descends the mean over tasks of `L_query(c_T, w)` along `w`.

    The context shifts a layer's outputs: `bias + c W`, with `W` meta-learned. In a dense layer
    this is the paper's context concatenated to the inputs, with `W` its rows of the kernel. In
    a normalisation layer, offset and scale are both shifted, as in the paper's FiLM layer.

    Meta-learned: all trainable weights of the network, and `W`. Adapted: the context.

    Differs from the paper: the layers are those of any network; the FiLM transformation has no bias
    of its own, because the offset and scale of the normalisation are it.

    Args:
        network: a `keras.Model`, or None for a subclass with `call`.
        context_size: number of context values. The paper: 2 to 50 on the sinusoid, 100 for images.
        context_layers: names of layers with a bias, or of normalisation layers; None for the first
            of them, or the normalisation right after it.
        inner_learning_rate: `a`. The paper: 1.0.
        inner_steps: `T` in training.
        **kwargs: `evaluation_steps`, `first_order`, `transductive`, `checkpoint_inner_steps`,
            `task_batching`, `name` and `dtype`, as in `MAML`.

    Raises:
        ValueError: context_size is too small, or a layer cannot take a context.

    Reference:
        Zintgraf, Shiarlis, Kurin, Hofmann and Whiteson, "Fast Context Adaptation via
        Meta-Learning", ICML 2019, arXiv:1810.03642, sections 3.1 and 3.4.
    """

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        context_size: int = 5,
        context_layers: Sequence | None = None,
        inner_learning_rate: float = 1.0,
        **kwargs,
    ):
        super().__init__(network, inner_learning_rate=inner_learning_rate, **kwargs)
        self.context_size = check_integer("context_size", context_size, 1)
        self.context_layers = context_layers
        self.adapted_part = Context(self.context_size)

    @classmethod
    def search_space(cls, hp):
        size = hp.Int(
            "context_size", 2, 128, sampling="log", default=default_argument(cls, "context_size")
        )
        return super().search_space(hp) | {"context_size": size}

    def shifted(self):
        """Positions, in `network_weights()`, of the offsets and scales that the context shifts."""
        weights = self.network_weights()
        layers = layers_with_weights(self.inner_network(), weights)
        shifts = {layer.name: self._shifts_of(layer, weights) for layer in layers}
        chosen = self.context_layers
        if chosen is None:
            chosen = self._default_layers(layers, shifts)
        known = isinstance(chosen, list | tuple) and all(shifts.get(name) for name in chosen)
        if not (known and chosen and len(set(chosen)) == len(chosen)):
            raise ValueError(
                "Expected context_layers to name some of the layers with a trainable bias and the "
                f"normalisation layers, {[name for name, s in shifts.items() if s]}. Received: "
                f"{self.context_layers!r}."
            )
        return [i for name in chosen for i in shifts[name]]

    def _default_layers(self, layers, shifts):
        able = [layer for layer in layers if shifts[layer.name]]
        following = layers[layers.index(able[0]) + 1 :][:1] if able else []
        # A shift before batch normalisation has no effect: the mean takes it away.
        normalised = [x for x in following if shifts[x.name] and getattr(x, "bias", None) is None]
        return [layer.name for layer in (normalised or able)[:1]]

    def _shifts_of(self, layer, weights):
        variables = [getattr(layer, name, None) for name in ("bias", "beta", "gamma")]
        return [i for v in variables for i, w in enumerate(weights) if w is v]

    def weights_with_parameters(self):
        weights = self.network_weights()
        return [weights[i] for i in self.shifted()]

    def fixed_arguments(self):
        return {"context_size", "context_layers"}


class Context(Learned, AllWeights):
    """What CAVIA adapts: `c`, which `W` makes a shift of some offsets and scales.

    Args:
        size: number of context values.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.
    """

    def __init__(self, size, name="context", **kwargs):
        super().__init__(name=name, **kwargs)
        self.size = size
        self.built = True

    def make(self, learner):
        """Make `W`, one matrix `[size, ...]` for each weight that is shifted."""
        weights = learner.network_weights()
        checks.warn_of_constraints(learner, [weights[i] for i in learner.shifted()])
        self.matrices = [
            self.add_weight(
                shape=(self.size, *weights[i].shape), dtype=weights[i].dtype,
                initializer="glorot_uniform", name=f"from_context_{i}",
            )
            for i in learner.shifted()
        ]  # fmt: skip

    def positions(self, learner):
        learner.shifted()  # says what cannot be shifted
        return []

    def names(self, learner):
        return ["context"]

    def start(self, learner, weights, support_loss, support, training):
        return [tf.zeros([self.size], weights[0].dtype)]

    def place(self, learner, weights, fast, step):
        (context,) = fast
        pairs = zip(learner.shifted(), self.matrices, strict=True)
        shifted = [weights[i] + tf.tensordot(context, w.value, 1) for i, w in pairs]
        return replaced(weights, learner.shifted(), shifted)
