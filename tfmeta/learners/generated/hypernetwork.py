"""A network that reads a task and gives another network's weights."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_flag, check_integer
from tfmeta.backend.network_facts import ends_linear, has_batch_norm, layers_with_weights
from tfmeta.engine import building
from tfmeta.engine.checks import episode_checks
from tfmeta.engine.checks.input_shapes import check_input_shapes
from tfmeta.engine.losses import one_output
from tfmeta.engine.meta_model import MetaModel
from tfmeta.engine.saving import default_argument
from tfmeta.hints import Nest
from tfmeta.inner import call_network
from tfmeta.learners.context.base import check_layer, check_widths, dense_layers, mean_of_rows
from tfmeta.learners.gaussian import full_precision, rows_of_targets
from tfmeta.ops import class_means
from tfmeta.types import Examples


class GeneratedWeights(NamedTuple):
    """What `Hypernetwork.adapt` returns.

    Attributes:
        weights: tensors in the place of the network's `trainable_variables`.
        state: tensors in the place of its `non_trainable_variables`.
    """

    weights: Any
    state: Any


@keras.saving.register_keras_serializable("tfmeta")
class Hypernetwork(MetaModel):
    """Give a network, for each task, weights that another network reads off the support set.

    With the network `f`, the features `e(x)` of inputs, and dense networks `h` and `u`:

        r = mean over the support set of h([e(x_i), y_i])                    in regression, `[R]`
        r = u([mean over class k of h(e(x_i)), for each class k])            in classification
        w = w_0 + A r + b,            outputs = f(x; w)

    There is no inner step: one pass over the support set gives `w`. `r` does not depend on the
    order of the support rows. Targets are class labels where they are integers.

    Meta-learned: `w_0`, the network's own weights, `A`, `b`, and the weights of `e`, `h`, `u`.
    Adapted: `w`, all trainable weights of the network.

    Differs from the papers: Ha et al. give the weights of a layer from a learned description of the
    layer, not of a task; Bertinetto et al. give those of one layer from one example, as factors.
    Here all weights come from one representation of the task by a linear map; `A` has `R` times as
    many weights as the network.

    Args:
        network: `f`, any `keras.Model`. BatchNormalization goes by the statistics of the support
            set on the weights given, see `transductive`.
        encoder: `e`, a `keras.Model` or layer from inputs to features `[rows, F]` (more axes are
            flattened), without BatchNormalization; None for the inputs themselves, flattened.
        representation: `R`.
        hidden: widths of the hidden layers of `h`, which ends in one of `R`.
        transductive: True lets BatchNormalization go by the statistics of the query batch, as in
            `MAML`.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range, there is no network, or, of the first
            meta-batch, labels do not fit the network or the loss.

    Reference:
        Ha, Dai and Le, "HyperNetworks", ICLR 2017, arXiv:1609.09106, section 3; Bertinetto et al.,
        "Learning feed-forward one-shot learners", NeurIPS 2016, arXiv:1606.05233, section 3.
    """

    supports_masks = True
    one_label_a_row = True

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        encoder: keras.Model | None = None,
        representation: int = 64,
        hidden: Sequence[int] = (128, 128),
        transductive: bool = False,
        **kwargs,
    ):
        super().__init__(network, **kwargs)
        if network is None:
            raise ValueError(
                "Expected a network to give weights to, Hypernetwork(network). Received: None."
            )
        self.representation = check_integer("representation", representation, 1)
        self.hidden = check_widths(hidden)
        self.transductive = check_flag("transductive", transductive)
        self.encoder = check_layer("encoder", encoder)
        if encoder is not None and has_batch_norm(encoder):
            raise ValueError(
                "Expected an encoder without BatchNormalization, which would count padded rows. "
                "Received: one with it. Make it with norm='layer' or 'group'."
            )
        widths, dtype = (*self.hidden, self.representation), self.dtype_policy
        self.encode = dense_layers(widths, dtype, "point_encoder")
        self.summarize = dense_layers(widths[-2:], dtype, "class_encoder")
        self.generate = None

    def fixed_arguments(self):
        return {"encoder", "hidden", "representation"}

    def ready(self):
        if self.built:
            self.build(building.network_input_shape(self.network))

    @property
    def built(self):
        """True if the weights of the network and those of what gives them are made."""
        return self.__dict__.get("generate") is not None and MetaModel.built.fget(self)

    @built.setter
    def built(self, value):
        MetaModel.built.fset(self, value)

    @classmethod
    def search_space(cls, hp):
        """Arguments of the constructor, drawn with the `hp` of keras-tuner."""
        size = hp.Int(
            "representation",
            8,
            256,
            sampling="log",
            default=default_argument(cls, "representation"),
        )
        return {"representation": size}

    def build(self, input_shape):
        super().build(input_shape)
        if self.generate is None:
            # Small, so that all tasks start close to the network's own weights.
            first = keras.initializers.RandomNormal(stddev=0.01)
            size = sum(math.prod(v.shape) for v in self.network.trainable_variables)
            self.generate = keras.layers.Dense(
                size, kernel_initializer=first, dtype=self.dtype_policy, name="generator"
            )

    def own_layers(self):
        return layers_with_weights(self.network, self.network.trainable_variables)

    def is_transductive(self):
        return self.transductive and has_batch_norm(self.network)

    def adapt(self, support: Examples, training: bool = False) -> Nest:
        check_input_shapes(self.network, support.x, 1)
        task = self.represent(support, training)
        weights = self.weights_of(task, training)
        state = [tf.convert_to_tensor(v) for v in self.network.non_trainable_variables]
        if has_batch_norm(self.network) and not self.transductive:
            state = self._run(weights, state, support.x, training, batch_statistics=True)[1]
        return GeneratedWeights(weights, state)

    def predict_query(self, adapted: Nest, x: Nest, training: bool = False) -> Nest:
        weights, state = adapted
        return self._run(weights, state, x, training, self.transductive)[0]

    def represent(self, support, training=False):
        """What is known of the task: `[R]`."""
        x = support.x if self.encoder is None else self.encoder(support.x, training=training)
        if not tf.is_tensor(x):
            raise ValueError(
                f"Expected one tensor of inputs. Received: a {type(x).__name__}. Give the learner "
                "an encoder that maps its inputs to features [rows, F]."
            )
        x = x if x.dtype.is_floating else tf.cast(x, self.compute_dtype)
        x = tf.reshape(full_precision(x), (-1, int(np.prod(x.shape[1:]))))
        if support.y.dtype.is_integer:
            points = full_precision(self.encode(x, training=training))
            means, _ = class_means(points, support.y, support.mask, self._outputs(support.x))
            return full_precision(self.summarize(tf.reshape(means, (1, -1)), training=training))[0]
        y = rows_of_targets(support.y, x.dtype)
        points = full_precision(self.encode(tf.concat([x, y], axis=-1), training=training))
        return mean_of_rows(points, support.mask)

    def weights_of(self, task, training=False):
        """The network's weights for what `represent` gave, a list."""
        changes = full_precision(self.generate(task[None], training=training))[0]
        variables = self.network.trainable_variables
        parts = tf.split(changes, [math.prod(v.shape) for v in variables])
        return [
            tf.convert_to_tensor(v) + tf.cast(tf.reshape(part, v.shape), v.dtype)
            for v, part in zip(variables, parts, strict=True)
        ]

    def _run(self, weights, state, x, training, batch_statistics):
        """The network on given weights: `(outputs, new_state)`."""
        return call_network(
            self.network, weights, state, x, training=training, batch_statistics=batch_statistics
        )

    def _outputs(self, x, skip=1):
        """How many outputs the network has, for inputs with this number of leading axes."""
        outputs = self.network.compute_output_spec(building.symbolic_rows(x, skip))
        return one_output(outputs).shape[-1]

    def predicts_logits(self):
        return ends_linear(self.network)

    def check_episodes(self, first):
        super().check_episodes(first)
        labels = np.issubdtype(first.support.y.dtype, np.integer)
        if labels and not self.integer_labels and self.query_loss is not None:
            raise ValueError(
                "Expected targets that are floats with this loss, or a sparse cross-entropy for "
                f"class labels. Received: targets of type {first.support.y.dtype}."
            )
        if labels:
            episode_checks.check_ways(self._outputs(first.query.x, skip=2), first)
