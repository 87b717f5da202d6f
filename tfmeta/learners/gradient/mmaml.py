"""MMAML: a start that a network fits to each task, before the inner steps."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.backend.network_facts import layers_with_weights
from tfmeta.engine import building
from tfmeta.engine.losses import one_output
from tfmeta.engine.saving import default_argument
from tfmeta.learners.context.base import check_layer, check_widths, dense_layers, mean_of_rows
from tfmeta.learners.gaussian import full_precision, rows_of_targets
from tfmeta.learners.gradient.adapted_part import AllWeights, replaced
from tfmeta.learners.gradient.base import GradientLearner


@keras.saving.register_keras_serializable("tfmeta")
class MMAML(GradientLearner):
    """Read off the support set which kind of task it is, scale and shift each layer, then step.

    With features `e(x)` of the inputs, a dense network `h` and the meta-learned `w`:

        r = mean over the support set of h([e(x_i), y_i])            labels one-hot, `[R]`
        (g, b) = r A + c
        w_0: each layer's kernel K becomes K (1 + g), its bias d becomes d (1 + g) + b;
             scale and offset of a normalisation layer likewise

    so that a layer's outputs are scaled by `1 + g` and shifted by `b`, one number a unit (FiLM).
    Inner loop, for each task: `w_{t+1} = w_t - a * grad L_support(w_t)`, t = 0..T-1.

    Outer loop: the compiled optimizer descends the mean over tasks of `L_query(w_T)` along `w`,
    `h`, `A` and `c`, the gradient through `r` included. `A` and `c` start at zero: MAML.

    Meta-learned: all trainable weights of the network, and `h`, `A`, `c`. Adapted: the weights.

    Differs from the paper: `h` is a network on each row and a mean, where the paper runs a
    recurrent network over the rows of regression tasks and a convolutional one over pictures. The
    inner steps go along the scaled and shifted weights; the paper's, along those before that,
    are the same at rates `a (1 + g)^2`.

    Args:
        network: a `keras.Model`, or None for a subclass with `call`.
        encoder: `e`, a built `keras.Model` or layer from inputs to features `[rows, F]` (more axes
            are flattened); None for the inputs themselves, flattened.
        representation: `R`.
        hidden: widths of the hidden layers of `h`.
        inner_learning_rate: `a`. The paper: 0.001 in regression.
        inner_steps: `T` in training. The paper: 5.
        **kwargs: `evaluation_steps`, `first_order`, `transductive`, `checkpoint_inner_steps`,
            `task_batching`, `name` and `dtype`, as in `MAML`.

    Raises:
        ValueError: an argument is out of its range, or there is no layer to scale and shift.

    Reference:
        Vuorio, Sun, Hu and Lim, "Multimodal Model-Agnostic Meta-Learning via Task-Aware
        Modulation", NeurIPS 2019, arXiv:1910.13616, section 4 and algorithm 1.
    """

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        encoder: keras.Model | None = None,
        representation: int = 64,
        hidden: Sequence[int] = (64, 64),
        **kwargs,
    ):
        super().__init__(network, **kwargs)
        self.representation = check_integer("representation", representation, 1)
        self.hidden = check_widths(hidden)
        check_layer("encoder", encoder)
        if encoder is not None and not encoder.built:
            raise ValueError("Expected a built encoder. Received: one without weights. Call it.")
        self.encoder, self.encode, self.modulate = encoder, None, None
        self.adapted_part = ModulatedWeights()

    @classmethod
    def search_space(cls, hp):
        size = hp.Int(
            "representation",
            8,
            256,
            sampling="log",
            default=default_argument(cls, "representation"),
        )
        return super().search_space(hp) | {"representation": size}

    def fixed_arguments(self):
        return {"representation", "hidden"}

    def learned_parts(self):
        own = (self.encoder, self.encode, self.modulate)
        return [*super().learned_parts(), *(part for part in own if part is not None)]

    def build(self, input_shape):
        self.__dict__["_input_shape"] = input_shape
        super().build(input_shape)

    def make_parameters(self):
        if self.rule is None:
            network, weights = self.inner_network(), self.network_weights()
            shape = self.__dict__.get("_input_shape") or building.network_input_shape(network)
            x = building.network_inputs(shape, self.input_dtype)
            outputs = one_output(network.compute_output_spec(x)).shape[-1]
            features = x if self.encoder is None else self.encoder.compute_output_spec(x)
            if not isinstance(features, keras.KerasTensor):
                raise ValueError(
                    f"Expected one tensor of inputs. Received: a {type(features).__name__}. Give "
                    "the learner an encoder that maps its inputs to features [rows, F]."
                )
            width = int(np.prod(features.shape[1:]))
            dtype = weights[0].dtype if weights else self.dtype_policy
            units = sum(self.units())
            self.encode = dense_layers((*self.hidden, self.representation), dtype, "task_encoder")
            self.encode.build((None, width + outputs))
            self.modulate = keras.layers.Dense(
                2 * units, kernel_initializer="zeros", dtype=dtype, name="modulation"
            )
            self.modulate.build((None, self.representation))
        super().make_parameters()

    def modulated(self):
        """Positions, in `network_weights()`, of what each layer's `g` scales and `b` shifts.

        A list of `(scaled, shifted)` for each layer: lists of positions.
        """
        weights = self.network_weights()
        positions = {id(w): i for i, w in enumerate(weights)}
        found = []
        for layer in layers_with_weights(self.inner_network(), weights):
            held = [getattr(layer, n, None) for n in ("kernel", "gamma", "bias", "beta")]
            held = [positions.get(id(v)) for v in held]
            scaled, shifted = ([i for i in held[j:] if i is not None] for j in (0, 2))
            sizes = {weights[i].shape[-1] for i in scaled if weights[i].shape.rank}
            if len(sizes) == 1:
                found.append((scaled, shifted))
        if not found:
            raise ValueError(
                "Expected a network with a layer that has a kernel, or a scale, with one number a "
                "unit in its last axis. Received: none. Take MAML, or layers such as Dense."
            )
        return found

    def units(self):
        """The number of units of each of these layers."""
        weights = self.network_weights()
        return [weights[scaled[0]].shape[-1] for scaled, _ in self.modulated()]

    def represent(self, support, training=False):
        """What is known of the task: `[R]`."""
        x = support.x if self.encoder is None else self.encoder(support.x, training=training)
        dtype = self.encode.variable_dtype
        x = tf.reshape(tf.cast(one_output(x), dtype), (-1, int(np.prod(x.shape[1:]))))
        if self.integer_labels:
            y = tf.one_hot(tf.reshape(support.y, [-1]), self._outputs(x), dtype=dtype)
        else:
            y = rows_of_targets(support.y, dtype)
        points = full_precision(self.encode(tf.concat([x, y], axis=-1), training=training))
        return mean_of_rows(points, support.mask)

    def _outputs(self, features):
        return self.encode.input_shape[-1] - features.shape[-1]


class ModulatedWeights(AllWeights):
    """Every trainable weight of the network, scaled and shifted for the task before the steps."""

    def start(self, learner, weights, support_loss, support, training):
        task = learner.represent(support, training)
        changes = full_precision(learner.modulate(task[None], training=training))[0]
        units = learner.units()
        parts = tf.split(tf.cast(changes, weights[0].dtype), 2 * units)
        new = list(weights)
        for i, (scaled, shifted) in enumerate(learner.modulated()):
            values = [weights[j] * (1.0 + parts[i]) for j in scaled]
            new = replaced(new, scaled, values)
            new = replaced(new, shifted, [new[j] + parts[len(units) + i] for j in shifted])
        return new
