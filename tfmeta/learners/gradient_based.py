"""What learners with a gradient inner loop share."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.inner import SGD, call_network, gradient_steps, has_batch_norm
from tfmeta.inner.loop import UnreachedWeights
from tfmeta.learners import checks, episode_checks, saving
from tfmeta.learners.base import MetaModel
from tfmeta.ops.recompute import recomputed

# Keeps gradients of 6e-11 from vanishing in float16, and overflows for those of 64.
_INNER_LOSS_SCALE = 1024.0


class FastWeights(NamedTuple):
    """What a gradient learner adapts.

    Attributes:
        weights: tensors in the place of the network's `trainable_variables`.
        state: tensors in the place of its `non_trainable_variables`; after adaptation it holds
            the support set's statistics for BatchNormalization.
        inner_losses: support loss before each inner step, `[T]`.
    """

    weights: Any
    state: Any
    inner_losses: Any


class GradientLearner(MetaModel):
    """Base of the learners whose `adapt` takes gradient steps on the support loss.

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
            are neither used nor changed.
        checkpoint_inner_steps: True keeps only the weights after each inner step of a training
            step, and computes the rest again for the outer gradient, which is the same: less
            memory for more time. Without effect with `first_order`, which keeps nothing anyway.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range.
    """

    supports_masks = True
    #: True if the outer gradient needs nothing of the inner loop but its end.
    rolled_steps = False
    #: The largest number of inner steps that there are parameters for, None for any.
    most_steps = None
    #: True if the constructor takes `first_order`.
    takes_first_order = True

    def __init__(
        self,
        network=None,
        *,
        inner_learning_rate=0.01,
        inner_steps=1,
        evaluation_steps=None,
        first_order=False,
        transductive=False,
        checkpoint_inner_steps=False,
        **kwargs,
    ):
        super().__init__(network, **kwargs)
        if not inner_learning_rate > 0:
            raise ValueError(f"Expected inner_learning_rate > 0. Received: {inner_learning_rate}.")
        for name, steps in (("inner_steps", inner_steps), ("evaluation_steps", evaluation_steps)):
            if steps is not None:
                checks.check_integer(name, steps, 0)
        if self.most_steps is not None:
            checks.check_evaluation_steps(evaluation_steps, self.most_steps)
        self.inner_learning_rate = float(inner_learning_rate)
        self.inner_steps = int(inner_steps)
        self.evaluation_steps = evaluation_steps
        self.first_order = first_order
        self.transductive = transductive
        self.checkpoint_inner_steps = checkpoint_inner_steps
        self.meta_parameters = None
        if self.built:
            self.meta_parameters = self.make_meta_parameters()

    def __setattr__(self, name, value):
        fixed = name == "inner_steps" and self.__dict__.get("meta_parameters") is not None
        if fixed and self.most_steps not in (None, value):
            raise ValueError(
                f"Expected inner_steps to stay {self.most_steps}: {type(self).__name__} learns "
                f"parameters for each of them. Received: {value}. Set evaluation_steps, or make "
                "another learner."
            )
        super().__setattr__(name, value)

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
            space["first_order"] = hp.Boolean("first_order")
        return super().search_space(hp) | space

    def build(self, input_shape):
        super().build(input_shape)
        if self.meta_parameters is None:
            self.meta_parameters = self.make_meta_parameters()

    def update_rule(self):
        """The rule of an inner step, an init/update pair of `tfmeta.inner`."""
        return SGD(self.inner_learning_rate)

    def network_weights(self):
        """The network's trainable variables, without what the learner learns besides."""
        parameters = self.meta_parameters
        own = {id(v) for v in parameters.variables} if parameters is not None else set()
        return [v for v in self.inner_network().trainable_variables if id(v) not in own]

    def make_meta_parameters(self):
        """`MetaParameters` that are learned besides the network's weights, or None."""
        return None

    def adapted_positions(self):
        """Which of `network_weights()` the inner loop changes, a list of positions."""
        return list(range(len(self.network_weights())))

    def start(self, weights, support_loss):
        """What the inner loop changes, before its first step: here some of `weights`.

        Args:
            weights: tensors in the place of `network_weights()`.
            support_loss: function of tensors such as this returns to their support loss.

        Returns:
            A list of tensors.
        """
        return [weights[i] for i in self.adapted_positions()]

    def with_adapted(self, weights, parameters, fast, step):
        """The network's weights, given what became of `start` in some steps.

        Args:
            weights: tensors in the place of `network_weights()`.
            parameters: tensors in the place of `meta_parameters.trainable_variables`.
            fast: tensors like those of `start`.
            step: the number of inner steps taken.

        Returns:
            Tensors in the place of `network_weights()`.
        """
        return replaced(weights, self.adapted_positions(), fast)

    def adapted_names(self):
        """Names for what `start` returns, for messages."""
        weights = self.network_weights()
        return [weights[i].path for i in self.adapted_positions()]

    def minibatch(self, examples, step):
        """The rows that an inner step sees: all of the support set."""
        return examples

    def own_layers(self):
        weights = self.network_weights()
        adapted = {id(weights[i]) for i in self.adapted_positions()}
        layers = self.inner_network()._flatten_layers()
        return [x for x in layers if any(id(v) in adapted for v in x.trainable_variables)]

    def adapt(self, support, training=False, inner_steps=None):
        """Take `inner_steps` gradient steps on the support loss.

        Args:
            support: `Examples` of one task: x `[S, ...]`, y `[S, ...]`.
            training: True inside a step of `fit` (dropout is on, `inner_steps` counts).
            inner_steps: number of steps in the place of the learner's own.

        Returns:
            `FastWeights`.
        """
        return self.adaptation_path(support, inner_steps, training, last_only=True)[-1]

    def adaptation_path(self, support, inner_steps=None, training=False, last_only=False):
        """Every point of the inner loop: `FastWeights` after 0, 1, ..., T steps, a list."""
        checks.check_compiled(self, "adapt")
        support = checks.as_examples(self, support)
        steps = self._steps(training) if inner_steps is None else inner_steps
        if self.most_steps is not None and steps > self.most_steps:
            raise ValueError(
                f"Expected at most {self.most_steps} inner steps: {type(self).__name__} learns "
                f"parameters for each of its inner_steps. Received: {steps}. Train with more "
                "inner_steps, or take fewer (evaluation_steps)."
            )
        weights = [tf.convert_to_tensor(v) for v in self.network_weights()]
        if not weights:
            raise ValueError(
                "Expected a network with trainable weights. Received: none. Set trainable = True."
            )
        state = [tf.convert_to_tensor(v) for v in self.inner_network().non_trainable_variables]
        learned = self.meta_parameters.trainable_variables if self.meta_parameters else ()
        parameters = [tf.convert_to_tensor(v) for v in learned]

        def support_loss(fast, carried, t):
            # What stays is handed on with the state, for gradients of a checkpointed step.
            weights, parameters, state = carried
            rows = self.minibatch(support, t)
            current = self.with_adapted(weights, parameters, fast, t)
            outputs, state = self.run_network(current, state, rows.x, training, True)
            return self.task_loss(rows, outputs), (weights, parameters, state)

        carried = (weights, parameters, state)
        start = self.start(weights, lambda fast: support_loss(fast, carried, 0)[0])
        try:
            path, states, losses = gradient_steps(
                support_loss, start, carried, self.update_rule(), steps, self.is_first_order(),
                checkpoint=self._checkpoint(training),
                loss_scale=_INNER_LOSS_SCALE if self._computes_in_float16() else None,
                rolled=self.rolled_steps and last_only,
            )  # fmt: skip
        except UnreachedWeights as error:
            names = self.adapted_names()
            names = [names[i] for i in error.positions]
            raise ValueError(
                "Expected the support loss to depend on every trainable weight. Received: no "
                f"gradient for {names}. Remove these layers from the network, or set their "
                "`trainable = False`."
            ) from None
        states = [carried and carried[2] for carried in states]
        points = []
        for t in range(steps if last_only else 0, steps + 1):
            adapted = self.with_adapted(weights, parameters, path[t], t)
            state = self.query_state(adapted, states, t, support, training)
            seen = tf.convert_to_tensor(losses[:t]) if t else tf.zeros([0], weights[0].dtype)
            points.append(FastWeights(adapted, state, seen))
        return points

    def is_first_order(self):
        """True if inner gradients are constants to the outer loop."""
        return self.first_order

    def query_state(self, weights, states, step, support, training):
        """The state of the network that query examples meet.

        Args:
            weights: the network's, after this step.
            states: before the first step, and as each step left it.
            step: the number of inner steps taken.
            support: `Examples` of the task.
            training: True inside a step of `fit`.

        Returns:
            Tensors in the place of the network's `non_trainable_variables`.
        """
        return self._support_statistics(weights, states[step], support, training)

    def predict_query(self, adapted, x, training=False):
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

    def _support_statistics(self, weights, state, support, training):
        """The state that normalises single query examples: one more pass, on the new weights."""
        if self.transductive or not has_batch_norm(self.inner_network()):
            return state
        return self.run_network(weights, state, support.x, training, True)[1]

    def _checkpoint(self, training):
        if not (training and self.checkpoint_inner_steps) or tf.executing_eagerly():
            return None

        def checkpoint(step):
            def in_task(*args):
                # The outer gradient computes the step again when the task is left already.
                with self._layers_of_a_task():
                    return step(*args)

            return recomputed(in_task)

        return checkpoint

    def _steps(self, training):
        if training or self.evaluation_steps is None:
            return self.inner_steps
        return self.evaluation_steps

    def adapted_model(self, support):
        batch_norm = has_batch_norm(self.inner_network())
        # A plain clone of the network is enough where it can be cloned, and where it normalises
        # query examples as this learner does.
        if not hasattr(self.network, "outputs") or (self.transductive and batch_norm):
            return super().adapted_model(support)
        adapted = self.adapt(support)
        model = keras.models.clone_model(self.network)
        for variables, values in (
            (model.trainable_variables, adapted.weights),
            (model.non_trainable_variables, adapted.state),
        ):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        return model

    def predicts_logits(self):
        return checks.ends_linear(self.inner_network())

    def check_episodes(self, first):
        super().check_episodes(first)
        if self.integer_labels:
            # By a trace: subclassed networks have no compute_output_shape of their own.
            x = keras.KerasTensor((None, *first.query.x.shape[2:]), first.query.x.dtype)
            outputs = self.inner_network().compute_output_spec(x)
            episode_checks.check_ways(outputs.shape[-1], first)


def replaced(weights, positions, values):
    """`weights`, with `values` at the positions."""
    new = dict(zip(positions, values, strict=True))
    return [new.get(i, weight) for i, weight in enumerate(weights)]
