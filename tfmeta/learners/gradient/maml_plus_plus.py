"""MAML++: what makes MAML with several inner steps train steadily."""

import keras
import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_flag, check_integer
from tfmeta.backend.network_facts import batch_norm_layers, held_weights, layers_with_weights
from tfmeta.engine.task import TaskResult
from tfmeta.inner import SGD, MetaParameters, StepwiseSGD
from tfmeta.learners.gradient.base import GradientLearner
from tfmeta.learners.gradient.inner_loop import replaced

_MOMENTUM = 0.9  # of the moving statistics, that of the authors
_LEAST = 0.03  # the share that annealing leaves to an early step's loss, times 1 / T


@keras.saving.register_keras_serializable("tfmeta")
class MAMLPlusPlus(GradientLearner):
    """MAML with five additions, each of which can be switched off; without any it is MAML.

    Inner loop, for each task and each layer l of the network:

        w_0 = w,    w_{t+1}[l] = w_t[l] - a_{t,l} * grad_l L_support(w_t),    t = 0..T-1

    Outer loop, at outer step i: the compiled optimizer descends the mean over tasks of

        sum_t v_t(i) L_query(w_t),    t = 1..T

    1. `per_step_rates`: a rate `a_{t,l}` for each layer and step is learned. For classification:
       with a squared error they can grow until the inner loop diverges.
    2. `multi_step_loss_steps`, n: the query loss after every step counts. For t < T,
       `v_t = max(1 - i / n, 0.03) / T`, and `v_T` is the rest; from step n on `v_T = 1`.
    3. `first_order_steps`: until this outer step, inner gradients are constants.
    4. `per_step_scales`: BatchNormalization has a scale and an offset for each t = 0..T, which
       are learned by the outer loop, and which the inner loop leaves alone.
    5. `per_step_statistics`: moving averages of mean and variance for each t normalise query
       examples outside training; in training a query batch is normalised by its own. Without
       effect if `transductive`. On the package's glyphs the support set's (False) are better.

    The paper's cosine annealing of the outer rate is Keras's own: compile with
    `Adam(keras.optimizers.schedules.CosineDecay(1e-3, outer_steps, alpha=0.01))`.

    Meta-learned: all trainable weights of the network, rates, scales and offsets. Adapted: the
    weights, but scales and offsets of BatchNormalization only without `per_step_scales`.

    Differs from the paper: weights after t steps meet the scales and statistics of t, T + 1 sets,
    where the authors' code counts the passes (T sets); kernel and bias share a rate, as in the
    paper (in the code each has its own); moving averages are used for the query set (the code keeps
    them and normalises every batch by itself); no clipping of outer gradients.

    Args:
        network: a `keras.Model`, or None for a subclass with `call`.
        inner_learning_rate: where each `a_{t,l}` starts. The authors: 0.1 (miniImageNet 0.01).
        inner_steps: `T` in training, and the most that there are. The paper: 5.
        per_step_rates, per_step_scales, per_step_statistics: False switches them off.
        multi_step_loss_steps: outer steps, 0 switches it off. The authors: 5,000.
        first_order_steps: outer steps, 0 switches it off. The paper: 25,000; the authors'
            published settings: 0.
        **kwargs: `evaluation_steps`, `first_order`, `transductive`, `checkpoint_inner_steps`,
            `task_batching`, `name` and `dtype`, as in `MAML`.

    Raises:
        ValueError: an argument is out of its range, or more steps are asked for than `inner_steps`.

    Reference:
        Antoniou, Edwards and Storkey, "How to Train Your MAML", ICLR 2019, arXiv:1810.09502,
        section 4.
    """

    def __init__(
        self,
        network=None,
        *,
        inner_learning_rate=0.1,
        inner_steps=5,
        per_step_rates=True,
        multi_step_loss_steps=5000,
        first_order_steps=0,
        per_step_scales=True,
        per_step_statistics=True,
        evaluation_steps=None,
        **kwargs,
    ):
        check_integer("inner_steps", inner_steps, 1)
        check_integer("multi_step_loss_steps", multi_step_loss_steps, 0)
        check_integer("first_order_steps", first_order_steps, 0)
        check_flag("per_step_rates", per_step_rates)
        check_flag("per_step_scales", per_step_scales)
        check_flag("per_step_statistics", per_step_statistics)
        # First: the variables that are made in the base's __init__ depend on them.
        self.per_step_rates, self.per_step_scales = per_step_rates, per_step_scales
        self.per_step_statistics = per_step_statistics
        self.multi_step_loss_steps = int(multi_step_loss_steps)
        self.first_order_steps = int(first_order_steps)
        self._phase = 0  # the first outer step of the phase that is being traced
        if per_step_rates or per_step_scales or per_step_statistics:
            self.most_steps = int(inner_steps)
        super().__init__(
            network,
            inner_learning_rate=inner_learning_rate,
            inner_steps=inner_steps,
            evaluation_steps=evaluation_steps,
            **kwargs,
        )

    # What there is for each step.

    def make_meta_parameters(self):
        weights, steps, values = self.network_weights(), self.inner_steps, {}
        state = self.inner_network().non_trainable_variables
        if self.per_step_rates:
            shape = (steps, len(layers_with_weights(self.inner_network(), self._adapted())))
            values["rates"] = np.full(shape, self.inner_learning_rate, weights[0].dtype)
        for i in self._scales():  # those of no step are the network's
            values[f"scale_{i}"] = np.repeat([np.array(weights[i])], steps, axis=0)
        fixed = {
            f"statistics_{i}": np.repeat([np.array(state[i])], steps + 1, axis=0)
            for i in self._statistics()
        }
        return MetaParameters(values, fixed, name="per_step") if values or fixed else None

    def fixed_arguments(self):
        names = {"per_step_rates", "per_step_scales", "per_step_statistics"}
        names |= {"inner_learning_rate"} if self.per_step_rates else set()
        names |= {"transductive"} if self.per_step_statistics else set()
        return super().fixed_arguments() | names

    def _scales(self):
        """Positions, in `network_weights()`, of BatchNormalization's scales and offsets."""
        layers = batch_norm_layers(self.inner_network()) if self.per_step_scales else []
        found = {id(v) for layer in layers for v in (layer.gamma, layer.beta) if v is not None}
        return [i for i, v in enumerate(self.network_weights()) if id(v) in found]

    def _statistics(self):
        """Positions, in the network's `non_trainable_variables`, of moving averages."""
        used = self.per_step_statistics and not self.transductive
        layers = batch_norm_layers(self.inner_network()) if used else []
        found = {id(v) for layer in layers for v in (layer.moving_mean, layer.moving_variance)}
        state = self.inner_network().non_trainable_variables
        return [i for i, v in enumerate(state) if id(v) in found]

    def adapted_positions(self):
        scales = self._scales()
        return [i for i in super().adapted_positions() if i not in scales]

    def _adapted(self):
        weights = self.network_weights()
        return [weights[i] for i in self.adapted_positions()]

    # The inner loop.

    def update_rule(self):
        if not self.per_step_rates:
            return SGD(self.inner_learning_rate)
        rates, adapted = self.meta_parameters.trainable_variables[0], self._adapted()
        layers = layers_with_weights(self.inner_network(), adapted)
        owner = {id(v): i for i, layer in enumerate(layers) for v in held_weights(layer)}
        return StepwiseSGD([rates[:, owner[id(v)]] for v in adapted])

    def with_adapted(self, weights, parameters, fast, step):
        weights = super().with_adapted(weights, parameters, fast, step)
        scales = self._scales() if step > 0 else []
        own = parameters[len(parameters) - len(scales) :]
        return replaced(weights, scales, [values[step - 1] for values in own])

    def query_state(self, weights, states, step, support, training):
        positions = self._statistics()
        if not positions:
            return super().query_state(weights, states, step, support, training)
        if training:  # the query batch is normalised by its own statistics
            for t in range(step if step == self.inner_steps else 0):
                self._follow(t, states[t + 1])
            return states[step]
        moving = self.meta_parameters.non_trainable_variables
        return replaced(states[step], positions, [values[step] for values in moving])

    def predict_query(self, adapted, x, training=False):
        if not (training and self._statistics()):
            return super().predict_query(adapted, x, training)
        outputs, state = self.run_network(adapted.weights, adapted.state, x, training, True)
        if adapted.inner_losses.shape[0] == self.inner_steps:
            self._follow(self.inner_steps, state)
        return outputs

    def _follow(self, step, state):
        """Let the moving averages of a step follow the statistics in a state."""
        moving = self.meta_parameters.non_trainable_variables
        for position, variable in zip(self._statistics(), moving, strict=True):
            change = (1 - _MOMENTUM) * (state[position] - variable[step])
            here = tf.one_hot(step, self.inner_steps + 1, dtype=change.dtype)
            variable.assign(variable + here[:, None] * change)

    # The outer loop, in phases.

    def outer_gradients(self, episodes):
        ends = sorted({self.multi_step_loss_steps, self.first_order_steps} - {0})
        gradients = super().outer_gradients

        def phase(start):
            def run():
                object.__setattr__(self, "_phase", start)
                return gradients(episodes)

            return run

        if not ends:
            return gradients(episodes)
        past = [tf.cast(self.optimizer.iterations >= end, tf.int32) for end in ends]
        return tf.switch_case(tf.add_n(past), [phase(start) for start in (0, *ends)])

    def is_first_order(self):
        return self.first_order or self._phase < self.first_order_steps

    def score_task(self, episode, training):
        if not (training and self._phase < self.multi_step_loss_steps):
            return super().score_task(episode, training)
        path = self.adaptation_path(episode.support, training=True)[1:]
        outputs = [self.predict_query(point, episode.query.x, training=True) for point in path]
        losses = tf.stack([self.task_loss(episode.query, y) for y in outputs])
        objective = tf.reduce_sum(self._importance(losses.dtype) * losses)
        return path[-1], TaskResult(losses[-1], objective, outputs[-1], path[-1].inner_losses)

    def _importance(self, dtype):
        """`v_t`, `[T]`."""
        done = tf.cast(self.optimizer.iterations, dtype) / self.multi_step_loss_steps
        early = tf.maximum(1 - done, _LEAST) / self.inner_steps
        early = tf.repeat(early, self.inner_steps - 1)
        return tf.concat([early, [1 - tf.reduce_sum(early)]], 0)
