"""MAML++: what makes MAML with several inner steps train steadily."""

import keras
import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_flag, check_integer
from tfmeta.backend.calls import traced_once
from tfmeta.backend.network_facts import batch_norm_layers, held_weights, layers_with_weights
from tfmeta.engine import phases
from tfmeta.engine.task import StateUpdate, TaskResult
from tfmeta.hints import Nest
from tfmeta.inner import SGD, Rule
from tfmeta.inner.rule import Learned
from tfmeta.learners.gradient.adapted_part import AllWeights, replaced
from tfmeta.learners.gradient.base import GradientLearner
from tfmeta.ops import row

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
        network: keras.Model | None = None,
        *,
        inner_learning_rate: float = 0.1,
        inner_steps: int = 5,
        per_step_rates: bool = True,
        multi_step_loss_steps: int = 5000,
        first_order_steps: int = 0,
        per_step_scales: bool = True,
        per_step_statistics: bool = True,
        evaluation_steps: int | None = None,
        **kwargs,
    ):
        check_integer("inner_steps", inner_steps, 1)
        check_integer("multi_step_loss_steps", multi_step_loss_steps, 0)
        check_integer("first_order_steps", first_order_steps, 0)
        super().__init__(
            network,
            inner_learning_rate=inner_learning_rate,
            inner_steps=inner_steps,
            evaluation_steps=evaluation_steps,
            **kwargs,
        )
        self.per_step_rates = check_flag("per_step_rates", per_step_rates)
        self.per_step_scales = check_flag("per_step_scales", per_step_scales)
        self.per_step_statistics = check_flag("per_step_statistics", per_step_statistics)
        self.multi_step_loss_steps = int(multi_step_loss_steps)
        self.first_order_steps = int(first_order_steps)
        self.adapted_part = ScalesOfEachStep(inner_steps)

    @property
    def most_steps(self):
        per_step = self.per_step_rates or self.per_step_scales or self.per_step_statistics
        return self.inner_steps if per_step else None

    def fixed_arguments(self):
        names = {"per_step_rates", "per_step_scales", "per_step_statistics"}
        names |= {"inner_learning_rate"} if self.per_step_rates else set()
        names |= {"transductive"} if self.per_step_statistics else set()
        return super().fixed_arguments() | names

    # 1. Rates of each layer and step.

    def make_rule(self):
        if not self.per_step_rates:
            return SGD(self.inner_learning_rate)
        weights = self.network_weights()
        adapted = [weights[i] for i in self.adapted_positions()]
        layers = layers_with_weights(self.inner_network(), adapted)
        owner = {id(v): i for i, layer in enumerate(layers) for v in held_weights(layer)}
        return RatesOfEachStep(
            self.inner_learning_rate, self.inner_steps, [owner[id(v)] for v in adapted]
        )

    # 2. and 3. The loss after every step, first-order gradients: in phases of the training.

    def phase_ends(self):
        return self.multi_step_loss_steps, self.first_order_steps

    def is_first_order(self):
        return self.first_order or phases.phase_start() < self.first_order_steps

    def score_task(self, episode, training):
        if not training:
            return super().score_task(episode, training)
        path, query = self.adaptation_path(episode.support, training=True)[1:], episode.query
        every = phases.phase_start() < self.multi_step_loss_steps
        points = path if every else path[-1:]

        def scored(weights, state):
            outputs, state = self._run_query(weights, state, query.x)
            return self.task_loss(query, outputs), outputs, state

        if every:
            scored = traced_once(scored, *path[-1][:2])
        results = [scored(point.weights, point.state) for point in points]
        loss, outputs, state = results[-1]
        objective = loss
        if every:
            losses = tf.stack([result[0] for result in results])
            objective = tf.reduce_sum(self._importance(losses.dtype) * losses)
        states = [point.state for point in path] + [state]
        return TaskResult(
            loss, query.y, outputs, query.mask, objective, path[-1].inner_losses,
            self.adapted_part.follow(self, states),
        )  # fmt: skip

    def _importance(self, dtype):
        """`v_t`, `[T]`."""
        done = tf.cast(self.optimizer.iterations, dtype) / self.multi_step_loss_steps
        early = tf.maximum(1 - done, _LEAST) / self.inner_steps
        early = tf.repeat(early, self.inner_steps - 1)
        return tf.concat([early, [1 - tf.reduce_sum(early)]], 0)

    # 5. Statistics of each step.

    def _run_query(self, weights, state, x):
        """In training the query batch is normalised by its own statistics: `(outputs, state)`."""
        own = self.transductive or bool(self.adapted_part.averaged(self))
        return self.run_network(weights, state, x, True, own)

    def predict_query(self, adapted: Nest, x: Nest, training: bool = False) -> Nest:
        if not training:
            return super().predict_query(adapted, x)
        return self._run_query(adapted.weights, adapted.state, x)[0]

    def query_state(self, weights, state, step, support, training):
        part = self.adapted_part
        if not part.averaged(self):
            return super().query_state(weights, state, step, support, training)
        if training:
            return state
        averages = [row(v, step) for v in part.averages]
        return replaced(state, part.averaged(self), averages)


class RatesOfEachStep(Rule):
    """Descent at a rate for each step and layer: `w_{t+1}[l] = w_t[l] - a_{t,l} * g[l]`.

    Args:
        first: where the rates start.
        steps: `T`.
        owners: for each weight the number of its layer.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.
    """

    def __init__(self, first, steps, owners, name="rates", **kwargs):
        super().__init__(name=name, **kwargs)
        self.first, self.steps, self.owners = first, steps, owners

    def make(self, weights):
        self.rates = self.add_weight(
            shape=(self.steps, max(self.owners) + 1),
            dtype=weights[0].dtype,
            initializer="zeros",
            name="rates",
        )
        self.rates.assign(np.full(self.rates.shape, self.first))

    def update(self, gradients, weights, slots, step):
        rates = tf.unstack(row(self.rates, step))
        steps = zip(weights, gradients, self.owners, strict=True)
        return [w - rates[layer] * g for w, g, layer in steps], slots

    def learned_rates(self):
        return tf.gather(tf.convert_to_tensor(self.rates), self.owners, axis=1)


class ScalesOfEachStep(Learned, AllWeights):
    """4. What adapts: all weights but the scales and offsets of BatchNormalization.

    Those have values for each t = 0..T; those of t = 0 are the network's. Their moving averages
    for each t (5.) are here, too.

    Args:
        steps: `T`.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.
    """

    def __init__(self, steps, name="per_step", **kwargs):
        super().__init__(name=name, **kwargs)
        self.steps = steps
        self.built = True

    def make(self, learner):
        """Make scales and offsets of the steps 1..T, `[T, C]`, and averages, `[T + 1, C]`."""
        weights = learner.network_weights()
        state = learner.inner_network().non_trainable_variables
        self.scales = [
            self._repeated(weights[i], self.steps, f"scale_{i}", True) for i in self.scaled(learner)
        ]
        self.averages = [
            self._repeated(state[i], self.steps + 1, f"statistics_{i}", False)
            for i in self.averaged(learner)
        ]

    def _repeated(self, variable, times, name, trainable):
        weight = self.add_weight(
            shape=(times, *variable.shape), dtype=variable.dtype, trainable=trainable, name=name
        )
        weight.assign(keras.ops.repeat(variable[None], times, axis=0))
        return weight

    def scaled(self, learner):
        """Positions, in `network_weights()`, of BatchNormalization's scales and offsets."""
        layers = batch_norm_layers(learner.inner_network()) if learner.per_step_scales else []
        found = {id(v) for layer in layers for v in (layer.gamma, layer.beta) if v is not None}
        return [i for i, v in enumerate(learner.network_weights()) if id(v) in found]

    def averaged(self, learner):
        """Positions, in the network's `non_trainable_variables`, of moving averages."""
        used = learner.per_step_statistics and not learner.transductive
        layers = batch_norm_layers(learner.inner_network()) if used else []
        found = {id(v) for layer in layers for v in (layer.moving_mean, layer.moving_variance)}
        state = learner.inner_network().non_trainable_variables
        return [i for i, v in enumerate(state) if id(v) in found]

    def positions(self, learner):
        scaled = self.scaled(learner)
        return [i for i in super().positions(learner) if i not in scaled]

    def place(self, learner, weights, fast, step):
        weights = super().place(learner, weights, fast, step)
        scaled = self.scaled(learner)
        pairs = zip(scaled, self.scales, strict=True)
        # There is no row -1: at step 0 the network's own count, later those of the step.
        values = [
            tf.cast(step == 0, own.dtype) * weights[i] + row(own, step - 1) for i, own in pairs
        ]
        return replaced(weights, scaled, values)

    def follow(self, learner, states):
        """Updates by which the averages of each step follow its statistics.

        Args:
            learner: the learner.
            states: of the network, after the passes 0..T of one task.
        """
        updates = []
        for position, variable in zip(self.averaged(learner), self.averages, strict=True):
            seen = tf.stop_gradient(tf.stack([state[position] for state in states]))
            new = variable + (1 - _MOMENTUM) * (seen - variable)
            updates.append(StateUpdate([variable], new))
        return updates
