"""What learners with a gradient inner loop share."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.backend.network_facts import can_be_cloned, ends_linear, has_batch_norm
from tfmeta.backend.private_keras import layers_of
from tfmeta.engine import building, losses, saving
from tfmeta.engine.adapted_model import AdaptedNetwork
from tfmeta.engine.checks import episode_checks, labels
from tfmeta.engine.checks.input_shapes import check_input_shapes
from tfmeta.engine.inputs import as_examples
from tfmeta.engine.meta_model import MetaModel
from tfmeta.hints import Nest
from tfmeta.inner import SGD, Rule, call_network
from tfmeta.learners.gradient import checks, inner_loop
from tfmeta.learners.gradient.adapted_part import AllWeights
from tfmeta.types import Examples


class MetaParameters(NamedTuple):
    """Variables that are meta-learned, and no weights of the network."""

    trainable_variables: Any
    non_trainable_variables: Any

    @property
    def variables(self):
        """All of them, a list."""
        return [*self.trainable_variables, *self.non_trainable_variables]


class GradientLearner(MetaModel):
    """Base of the learners whose `adapt` takes gradient steps on the support loss.

    Three values say what a method is: `adapted_part`, what the inner loop changes; `make_rule`, how
    it steps; `outer_gradient`, how the outer gradient is taken.

    Args:
        network: a `keras.Model`, or None for a subclass with `call`.
        inner_learning_rate: step size of the inner loop, > 0.
        inner_steps: number of inner steps, >= 0.
        evaluation_steps: number of inner steps outside `fit`'s training steps (validation,
            `evaluate`, `predict`, `adapt`); None means `inner_steps`.
        first_order: True treats inner gradients as constants.
        transductive: what BatchNormalization does with query examples. False: they are normalised
            by the statistics of the support set, each on its own. True: by the statistics of
            the query batch itself, as in the MAML paper, so that an example's prediction depends on
            the others. The support set is always normalised by its own statistics; moving averages
            are neither used nor changed, but a frozen layer goes by its own.
        checkpoint_inner_steps: True keeps only the weights after each inner step of a training
            step, and computes the rest again for the outer gradient, which is the same: less
            memory for more time. Without effect with `first_order`, which keeps nothing anyway.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range.
    """

    supports_masks = True
    takes_inner_steps = True
    adapted_part = AllWeights()
    #: False if there is no second order to leave out: `first_order` is then refused.
    takes_first_order = True
    #: The largest number of inner steps that there are parameters for, None for any.
    most_steps = None

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        inner_learning_rate: float = 0.01,
        inner_steps: int = 1,
        evaluation_steps: int | None = None,
        first_order: bool = False,
        transductive: bool = False,
        checkpoint_inner_steps: bool = False,
        **kwargs,
    ):
        super().__init__(network, **kwargs)
        self.rule: Any = None
        self.inner_learning_rate = inner_learning_rate
        self.inner_steps = inner_steps
        self.evaluation_steps = evaluation_steps
        self.first_order = first_order
        self.transductive = transductive
        self.checkpoint_inner_steps = checkpoint_inner_steps

    def ready(self):
        checks.check_evaluation_steps(self.evaluation_steps, self.most_steps)
        if self.built:
            self.make_parameters()

    def build(self, input_shape):
        super().build(input_shape)
        self.make_parameters()

    def make_parameters(self):
        """Make what is learned besides the network's weights, which are there; once."""
        if self.rule is not None:
            return
        self.adapted_part.positions(self)  # says at once what cannot be adapted
        if isinstance(self.adapted_part, keras.layers.Layer):
            self.adapted_part.make(self)
        weights, rule = self.network_weights(), self.make_rule()
        rule.make([weights[i] for i in self.adapted_positions()])
        if rule.weights:
            rule.built = True
            self.rule = rule
        else:  # nothing for Keras to keep, and free to be made anew when an argument changes
            self.__dict__["rule"] = rule
        made_for = tuple(self.weights_with_parameters())
        object.__setattr__(self, "_made_for", lambda: made_for)  # hidden from Keras

    def make_rule(self) -> Rule:
        """How the inner loop steps: a `tfmeta.inner.Rule`, whose weights are learned."""
        return SGD(self.inner_learning_rate)

    def arguments_changed(self):
        if self.rule is not None and not self.rule.weights:
            self.__dict__["rule"] = self.make_rule()

    argument_checks = checks.OF_ARGUMENTS

    def fixed_arguments(self):
        return {"inner_steps"} if self.most_steps is not None else set()

    # Weights, and what is learned besides.

    def learned_parts(self):
        """The layers that hold what is learned besides the network's weights, a list."""
        parts = (self.rule, self.adapted_part)
        return [part for part in parts if isinstance(part, keras.layers.Layer)]

    @property
    def meta_parameters(self):
        """`MetaParameters` that are learned besides the network's weights, or None."""
        parts = self.learned_parts()
        found = MetaParameters(
            [v for part in parts for v in part.trainable_variables],
            [v for part in parts for v in part.non_trainable_variables],
        )
        return found if found.variables else None

    def parameters_besides(self):
        """Those of them that gradients reach, a list of variables."""
        return [v for part in self.learned_parts() for v in part.trainable_variables]

    def network_weights(self):
        """The network's trainable variables, without what the learner learns besides."""
        own = {id(v) for v in self.parameters_besides()}
        return [v for v in self.inner_network().trainable_variables if id(v) not in own]

    def weights_with_parameters(self):
        """Those of `network_weights()` that something is learned for."""
        return self.network_weights()

    def adapted_positions(self):
        """Which of `network_weights()` the inner loop changes, a list of positions."""
        return self.adapted_part.positions(self)

    def own_layers(self):
        weights = self.network_weights()
        adapted = {id(weights[i]) for i in self.adapted_part.own_positions(self)}
        layers = layers_of(self.inner_network())
        return [x for x in layers if any(id(v) in adapted for v in x.trainable_variables)]

    def adapted_constraints(self):
        """What an inner step puts the weights it changes back to: constraints of Keras, or None."""
        weights = self.network_weights()
        return [weights[i].constraint for i in self.adapted_positions()]

    # The inner loop.

    def adapt(
        self, support: Examples, training: bool = False, inner_steps: int | None = None
    ) -> Nest:
        """Take `inner_steps` gradient steps on the support loss.

        Args:
            support: `Examples` of one task: x `[S, ...]`, y `[S, ...]`.
            training: True inside a step of `fit` (dropout is on, `inner_steps` counts).
            inner_steps: number of steps in the place of the learner's own.

        Returns:
            `FastWeights`.
        """
        return inner_loop.adaptation_path(self, support, inner_steps, training, True)[-1]

    def adaptation_path(
        self, support: Examples, inner_steps: int | None = None, training: bool = False
    ) -> list:
        """Every point of the inner loop: `FastWeights` after 0, 1, ..., T steps, a list."""
        return inner_loop.adaptation_path(self, support, inner_steps, training, False)

    def predict_query(self, adapted: Nest, x: Nest, training: bool = False) -> Nest:
        """Outputs of the network on the adapted weights, `[M, ...]`."""
        return self.run_network(adapted.weights, adapted.state, x, training, self.transductive)[0]

    def unadapted(self, support, training=False):
        return self.adapt(support, training=training, inner_steps=0)

    def run_network(self, weights, state, x, training, batch_statistics):
        """Call the network on given weights: `(outputs, new_state)`."""
        return call_network(
            self.inner_network(), weights, state, x, variables=self.network_weights(),
            training=training, batch_statistics=batch_statistics,
        )  # fmt: skip

    def query_state(self, weights, state, step, support, training):
        """The state of the network that query examples meet.

        Args:
            weights: the network's, after this step.
            state: as this step left it.
            step: the number of inner steps taken.
            support: `Examples` of the task.
            training: True inside a step of `fit`.

        Returns:
            Tensors in the place of the network's `non_trainable_variables`.
        """
        return inner_loop.support_statistics(self, weights, state, support, training)

    def inner_loss(self, examples, outputs, weights, step):
        """The loss of rows that an inner step descends, on the weights before it: a scalar."""
        return self.task_loss(examples, outputs)

    def is_transductive(self):
        # It is BatchNormalization that looks at the other query examples.
        return self.transductive and has_batch_norm(self.inner_network())

    def minibatch(self, examples, step):
        """The rows that an inner step sees: all of the support set."""
        return examples

    def steps_are_alike(self):
        """False if `minibatch` gives another number of rows at each step."""
        return True

    def is_first_order(self):
        """True if inner gradients are constants to the outer loop."""
        return self.first_order or not self.takes_first_order

    def steps_of(self, training):
        """The number of inner steps, in training or outside."""
        outside = not training and self.evaluation_steps is not None
        return self.evaluation_steps if outside else self.inner_steps

    # What Keras and the tuner ask.

    def adapted_model(self, support: Examples) -> keras.Model:
        batch_norm = has_batch_norm(self.inner_network())
        # A copy of the network is enough where a clone is the same, and where it normalises query
        # examples as this learner does.
        if not can_be_cloned(self.network) or (self.transductive and batch_norm):
            return super().adapted_model(support)
        support, network = as_examples(self, support), self.inner_network()
        try:
            model = keras.models.clone_model(network)
        except Exception:  # a layer, a Lambda say, that Keras cannot make from its config
            return super().adapted_model(support)
        adapted = self.adapt(support)
        pairs = zip(network.trainable_variables, adapted.weights, strict=True)
        values = {id(v): value for v, value in pairs}
        pairs = zip(network.non_trainable_variables, adapted.state, strict=True)
        values |= {id(v): value for v, value in pairs}
        # By place: what is frozen may not be in the clone.
        for old, new in zip(network.variables, model.variables, strict=True):
            new.assign(values[id(old)])
        model = AdaptedNetwork(model, name=network.name)
        model(support.x)  # `export` wants to know the inputs
        return model

    def predicts_logits(self):
        return ends_linear(self.inner_network())

    def check_episodes(self, first):
        super().check_episodes(first)
        check_input_shapes(self.inner_network(), first.query.x, 2)
        if self.integer_labels:
            outputs = self._network_outputs(first.query.x, skip=2)
            y = tf.TensorSpec((None, *first.query.y.shape[2:]), first.query.y.dtype)
            labels.check_targets(self.query_loss, y, outputs)
            episode_checks.check_ways(outputs.shape[-1], first, self.query_loss)

    def scored_specs(self, episode):
        # Of the network, not of the inner loop, which would be traced for nothing.
        outputs = self._network_outputs(episode.query.x, skip=1)
        rows = episode.query.y.shape[0]
        return episode.query.y, tf.TensorSpec((rows, *outputs.shape[1:]), outputs.dtype)

    def _network_outputs(self, x, skip):
        # By a trace: subclassed networks have no compute_output_shape of their own.
        x = building.symbolic_rows(x, skip)
        outputs = losses.one_output(self.inner_network().compute_output_spec(x))
        return tf.TensorSpec(outputs.shape, outputs.dtype)

    @classmethod
    def refused_arguments(cls):
        return frozenset() if cls.takes_first_order else frozenset({"first_order"})

    @classmethod
    def search_space(cls, hp):
        rate = saving.default_argument(cls, "inner_learning_rate")
        steps = saving.default_argument(cls, "inner_steps")
        space = {
            "inner_learning_rate": hp.Float(
                "inner_learning_rate", 1e-3, max(1.0, 10 * rate), sampling="log", default=rate
            ),
            "inner_steps": hp.Int("inner_steps", 1, max(5, 2 * steps), default=steps),
        }
        if cls.takes_first_order:
            default = saving.default_argument(cls, "first_order")
            space["first_order"] = hp.Boolean("first_order", default=default)
        return super().search_space(hp) | space
