"""What policies that learn a task by gradient steps have in common."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.arguments import check_flag, check_integer, check_number
from tfmeta.backend.private_keras import layers_of, loss_tracker
from tfmeta.engine.saving import default_argument
from tfmeta.environments import Discrete, Environment
from tfmeta.hints import Nest
from tfmeta.inner import SGD, call_network, gradient_steps
from tfmeta.learners.policies.base import PolicyLearner
from tfmeta.learners.policies.experience import live, of_each_step
from tfmeta.learners.policies.policy_network import build_policy, default_policy
from tfmeta.ops.policy_gradients import check_estimator, surrogate
from tfmeta.types import Examples


class AdaptedPolicy(NamedTuple):
    """What `GradientPolicy.adapt` returns.

    Attributes:
        weights: tensors in the place of the network's weights, and of the logarithm of the
            actions' standard deviations where actions are numbers.
    """

    weights: Any


class GradientPolicy(PolicyLearner):
    """Base of the policies whose `adapt` takes policy gradient steps on trajectories of a task.

    An inner step lets the policy live through the support rows, fits a linear baseline to what
    they earned, and ascends the surrogate of the return (`tfmeta.ops.surrogate`),

        w_{k+1} = w_k + rate * gradient of mean over rows, steps of w_t A_t

    with generalised advantages `A_t`, brought to mean 0 and variance 1 over the task. The next step
    has new trajectories, of the policy that came out of it. A trajectory is one episode of the
    environment.

    The outer step ascends the return of the query rows, which the adapted policy lives through,
    through the inner steps; a subclass says how, `improve`. The logs have `return` after
    adaptation and `return_before` it, mean sums of rewards that are not discounted, `kl`, how far
    the adapted policies moved in the outer step, `entropy`, of the choices after adaptation, and
    `loss`, minus the surrogate of the return after the outer step: the gain that it expects, in
    standard deviations of the advantages.

    Args:
        environment: a `tfmeta.environments.Environment`.
        network: a `keras.Model` from observations `[rows, observation_size]` to one logit for each
            `Discrete` action, or to the mean of each number of a `Box` action in units in which the
            box is -1..1. None for two hidden layers of 100, ReLU.
        inner_learning_rate: step size of the inner loop, > 0, or several: one for each step, the
            last for all that come after.
        inner_steps: number of inner steps in training, at least 0.
        estimator: "lvc", "dice" or "naive", how the gradient through an inner step is estimated.
        first_order: True treats inner gradients as constants.
        discount: of rewards, > 0 and at most 1.
        decay: of the generalised advantages, 0 to 1. The paper: 1, which varies more.
        deviation: the standard deviation of the numbers of a `Box` action at first, > 0, in units
            in which the box is -1..1; it is learned, slowly.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range, or the network does not fit the environment.
    """

    order_matters = True
    takes_inner_steps = True
    #: A trajectory is one episode.
    episodes = 1

    def __init__(
        self,
        environment: Environment,
        network: keras.Model | None = None,
        *,
        inner_learning_rate: float | Sequence[float] = 0.1,
        inner_steps: int = 1,
        estimator: str = "lvc",
        first_order: bool = False,
        discount: float = 0.99,
        decay: float = 1.0,
        deviation: float = 1.0,
        **kwargs,
    ):
        super().__init__(environment, network, discount=discount, **kwargs)
        if network is None:
            self.network = default_policy(environment.observation_size, self.choices)
        build_policy(self.network, environment, self.choices)
        self.built = True
        self.inner_learning_rate = _checked_rates(inner_learning_rate)
        self.inner_steps = check_integer("inner_steps", inner_steps, 0)
        self.estimator = check_estimator(estimator)
        self.first_order = check_flag("first_order", first_order)
        self.decay = check_number("decay", decay, zero=True)
        if self.decay > 1:
            raise ValueError(f"Expected decay <= 1. Received: {decay!r}.")
        start = keras.initializers.Constant(math.log(check_number("deviation", deviation)))
        if not isinstance(environment.actions, Discrete):
            self.log_scale = self.add_weight((self.choices,), start, name="log_scale")
        elif deviation != 1:
            raise ValueError(
                f"Expected no deviation: actions {environment.actions} of {environment!r} have "
                f"none. Received: {deviation!r}."
            )
        self.before_tracker = keras.metrics.Mean(name="return_before")
        self.kl_tracker = keras.metrics.Mean(name="kl")

    def fixed_arguments(self):
        return {"deviation", "environment"}

    @classmethod
    def search_space(cls, hp):
        """Arguments of the constructor, drawn with the `hp` of keras-tuner."""
        return {
            "inner_learning_rate": hp.Float(
                "inner_learning_rate",
                1e-2,
                1.0,
                sampling="log",
                default=default_argument(cls, "inner_learning_rate"),
            ),
            "inner_steps": hp.Int(
                "inner_steps", 1, 3, default=default_argument(cls, "inner_steps")
            ),
        }

    def own_layers(self):
        return [x for x in layers_of(self.network) if x.trainable_variables]

    def steps_of(self, training):
        """The number of inner steps, in training and outside."""
        return self.inner_steps

    # Weights, and the policy that they make.

    def policy_variables(self):
        """All that is adapted: the network's trainable weights, and `log_scale`."""
        scale = [] if self.log_scale is None else [self.log_scale]
        return [*self.network.trainable_variables, *scale]

    def initial_weights(self):
        """Their values, a list of tensors."""
        return [tf.convert_to_tensor(v) for v in self.policy_variables()]

    def run(self, weights, observations):
        """Choices `[..., C]` and `log_scale` of a policy of these weights."""
        state = [tf.convert_to_tensor(v) for v in self.network.non_trainable_variables]
        log_scale = ()
        if self.log_scale is not None:
            *weights, log_scale = weights
        shape = tf.shape(observations)[:-1]
        rows = tf.reshape(observations, (-1, observations.shape[-1]))
        choices, _ = call_network(
            self.network, weights, state, rows, training=False, batch_statistics=False
        )
        return tf.reshape(choices, tf.concat([shape, [self.choices]], 0)), log_scale

    # The inner loop.

    def adapt(
        self, support: Examples, training: bool = False, inner_steps: int | None = None
    ) -> Nest:
        """Live through the support rows and step on what they earned, `inner_steps` times.

        Args:
            support: `Examples` of one task of `environment.tasks`: x a dict of "task" `[R, ...]`
                and "row" `[R]`.
            training: not used.
            inner_steps: number of steps in the place of the learner's own.

        Returns:
            `AdaptedPolicy`.
        """
        return self.adaptation_path(support, inner_steps, training)[-1]

    def adaptation_path(self, support, inner_steps=None, training=False):
        """`AdaptedPolicy` after 0, 1, ... steps, a list."""
        batch = tf.nest.map_structure(lambda t: tf.convert_to_tensor(t)[tf.newaxis], support)
        _, path = self.live_and_step(batch, inner_steps)
        first = AdaptedPolicy(self.initial_weights())
        return [first, *(AdaptedPolicy([w[0] for w in weights]) for weights in path[1:])]

    def predict_query(self, adapted: Nest, x: Nest, training: bool = False) -> Nest:
        """Logits of the actions `[M, count]`, or means of their numbers `[M, size]`.

        Args:
            adapted: `AdaptedPolicy`.
            x: observations `[M, observation_size]`.
            training: not used.
        """
        return self.distribution.most_likely(self.run(adapted.weights, x)[0])

    def unadapted(self, support, training=False):
        return AdaptedPolicy(self.initial_weights())

    def adapted_model(self, support):
        """A copy of the network with the weights of a task, which says what `run` says."""
        model, adapted = keras.models.clone_model(self.network), self.adapt(support)
        values = dict(zip(map(id, self.policy_variables()), adapted.weights, strict=True))
        for old, new in zip(self.network.variables, model.variables, strict=True):
            new.assign(values.get(id(old), old))
        return model

    def live_and_step(self, part, inner_steps=None):
        """Adapt to the tasks of a meta-batch.

        Args:
            part: its support `Examples`, `[B, R, ...]`.
            inner_steps: number of steps, None for the learner's own.

        Returns:
            `(lived, path)`: `(Trajectories, Experience)` of each step, and the weights `[B, ...]`
            before the first step, which are None because all tasks share them, and after each.
        """
        steps = self.inner_steps if inner_steps is None else inner_steps
        lived, path = [], [None]
        for step in range(check_integer("inner_steps", steps, 0)):
            found = self.experience(path[-1], part, step)
            lived.append(found)
            path.append(self._each_steps(path[-1], found[1], step))
        return lived, path

    def experience(self, weights, part, seed=0):
        """What the rows of a meta-batch live through: `(Trajectories, Experience)`.

        Args:
            weights: of the policy of each task, `[B, ...]`, or None for the initial ones.
            part: `Examples` of the meta-batch, `[B, R, ...]`.
            seed: of the rows' randomness.
        """
        return live(self, weights, part, seed)

    def inner_step(self, weights, experience, step):
        """The weights of one task after one more step, a list of tensors."""

        def loss(weights, state, _):
            terms = surrogate(
                self.log_chances(weights, experience), experience.log_chances,
                experience.advantages, self.estimator,
            )  # fmt: skip
            return -mean_over_steps(terms, experience.mask), state

        rates = self.inner_learning_rate
        rule = SGD(rates[min(step, len(rates) - 1)] if isinstance(rates, list) else rates)
        path, _, _ = gradient_steps(loss, weights, (), rule, 1, self.first_order)
        return path[-1]

    def adapted_again(self, weights, supports):
        """The inner loop of one task from other weights, on trajectories that are there.

        Args:
            weights: list of tensors.
            supports: `Experience` of each step.

        Returns:
            The weights before the first step and after each, a list of lists.
        """
        path = [weights]
        for step, experience in enumerate(supports):
            path.append(self.inner_step(path[-1], experience, step))
        return path

    def log_chances(self, weights, experience):
        """Of the actions of an `Experience` under a policy of these weights, `[T, R]`."""
        choices, log_scale = self.run(weights, experience.observations)
        return self.distribution.log_chance(choices, log_scale, experience.actions)

    def _each_steps(self, weights, experience, step):
        if weights is None:
            weights = self.initial_weights()
            return self.map_tasks(lambda e: self.inner_step(weights, e, step), experience)
        return self.map_tasks(lambda e: self.inner_step(e[0], e[1], step), (weights, experience))

    # The outer step.

    def trial(self, episodes, training=False, inner_steps=None):
        _, path = self.live_and_step(episodes[0], inner_steps)
        return self.experience(path[-1], episodes[1])[0]

    def improve(self, supports, query):
        """One outer step.

        Args:
            supports: `Experience` `[B, ...]` of each inner step, a list.
            query: that of the adapted policies on the query rows.

        Returns:
            `(loss, kl)` after it.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define `improve`.")

    def train_step(self, episodes):
        lived, supports, query = self._live(episodes)
        return self._note(lived, query, *self.improve(supports, query))

    def test_step(self, episodes):
        lived, _, query = self._live(episodes)
        terms = query.mask * query.advantages
        return self._note(lived, query, -tf.reduce_mean(terms), tf.constant(0.0))

    def _live(self, episodes):
        """`Trajectories` before and after adaptation, `Experience` of the steps, of the query."""
        support, query = episodes[:2]
        lived, path = self.live_and_step(support)
        after, experience = self.experience(path[-1], query)
        before = lived[0][0] if lived else after
        return (before, after), [found for _, found in lived], experience

    def _note(self, lived, query, loss, kl):
        before, after = lived
        loss_tracker(self).update_state(loss)
        self.kl_tracker.update_state(kl)
        self.before_tracker.update_state(tf.reduce_sum(before.rewards, axis=0))
        self.return_tracker.update_state(tf.reduce_sum(after.rewards, axis=0))
        entropy = self.distribution.entropy(query.choices, of_each_step(query.log_scale))
        self.entropy_tracker.update_state(entropy, sample_weight=query.mask)
        return self.get_metrics_result()

    def check_episodes(self, first):
        super().check_episodes(first)
        if first.query.y.shape[1] < 2 or first.support.y.shape[1] < 2:
            raise ValueError(
                "Expected several trajectories of each task, which their mean is taken from. "
                "Received: one. Make the tasks with environment.tasks(trajectories=20)."
            )


def mean_over_steps(terms, mask):
    """Of `[T, R]`, over the steps that were lived."""
    return tf.reduce_sum(mask * terms) / tf.maximum(tf.reduce_sum(mask), 1.0)


def _checked_rates(given):
    """The inner learning rate of all steps, a number, or of each, a list."""
    if not isinstance(given, list | tuple):
        return check_number("inner_learning_rate", given)
    if not given:
        raise ValueError("Expected inner_learning_rate to have a step. Received: none.")
    return [check_number("inner_learning_rate", rate) for rate in given]
