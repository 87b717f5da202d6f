"""The inner loop of a gradient learner, and the parts of it that a learner changes."""

from typing import Any, NamedTuple

import tensorflow as tf

from tfmeta.backend.network_facts import has_batch_norm
from tfmeta.backend.recompute import recomputed
from tfmeta.engine import learner_checks as checks
from tfmeta.engine.meta_model import MetaModel
from tfmeta.inner import call_network, gradient_steps
from tfmeta.inner.gradient_steps import UnreachedWeights

#: Keeps gradients of 6e-11 from vanishing in float16, and overflows for those of 64.
INNER_LOSS_SCALE = 1024.0


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


class InnerLoop(MetaModel):
    """`adapt` by gradient steps on the support loss. `GradientLearner` has the arguments."""

    #: True if the outer gradient needs nothing of the inner loop but its end.
    rolled_steps = False
    #: False if there is no second order to leave out: `first_order` is then refused.
    takes_first_order = True
    #: The largest number of inner steps that there are parameters for, None for any.
    most_steps = None

    def adapted_positions(self):
        """Which of `network_weights()` the inner loop changes, a list of positions."""
        return list(range(len(self.network_weights())))

    def adapted_names(self):
        """Names for what `start` returns, for messages."""
        weights = self.network_weights()
        return [weights[i].path for i in self.adapted_positions()]

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

    def minibatch(self, examples, step):
        """The rows that an inner step sees: all of the support set."""
        return examples

    def is_first_order(self):
        """True if inner gradients are constants to the outer loop."""
        return self.first_order or not self.takes_first_order

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
        weights, parameters, state = self._values()
        checks.check_inner_steps(self, steps, weights)
        checks.check_weights_with_parameters(self)

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
                loss_scale=INNER_LOSS_SCALE if self._computes_in_float16() else None,
                rolled=self.rolled_steps and last_only,
            )  # fmt: skip
        except UnreachedWeights as error:
            raise checks.unreached(self.adapted_names(), error.positions) from None
        states = [carried and carried[2] for carried in states]
        points = []
        for t in range(steps if last_only else 0, steps + 1):
            adapted = self.with_adapted(weights, parameters, path[t], t)
            state = self.query_state(adapted, states, t, support, training)
            seen = tf.convert_to_tensor(losses[:t]) if t else tf.zeros([0], weights[0].dtype)
            points.append(FastWeights(adapted, state, seen))
        return points

    def _values(self):
        """Tensors of `network_weights()`, of what is learned besides, and of the state."""
        learned = self.meta_parameters.trainable_variables if self.meta_parameters else ()
        state = self.inner_network().non_trainable_variables
        return tuple(
            [tf.convert_to_tensor(v) for v in variables]
            for variables in (self.network_weights(), learned, state)
        )

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


def replaced(weights, positions, values):
    """`weights`, with `values` at the positions."""
    new = dict(zip(positions, values, strict=True))
    return [new.get(i, weight) for i, weight in enumerate(weights)]
