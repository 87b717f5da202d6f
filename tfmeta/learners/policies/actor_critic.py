"""Policies whose memory is what they learn of a task, trained by their own estimate of returns."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.arguments import check_number
from tfmeta.engine.task import mean_over_replicas
from tfmeta.environments import Discrete, rollout
from tfmeta.hints import Nest
from tfmeta.learners.policies.base import PolicyLearner, flat_rows
from tfmeta.ops.returns import advantages, discounted_returns
from tfmeta.types import Examples


class Lived(NamedTuple):
    """What `adapt` of a policy with a memory returns.

    Attributes:
        state: the memory after the episodes, a nest of tensors `[R, ...]`.
        action: the last action of each row, its reward, and that its episode ended.
        reward: `[R]`.
        ended: `[R]`, ones.
    """

    state: Any
    action: Any
    reward: Any
    ended: Any


class ActorCritic(PolicyLearner):
    """Base of the policies that live through all episodes of a task with one memory.

    The memory is empty at the start of a task, and reads at each step the observation and the
    action, the reward and the end of an episode that came before it. All of a task is one trial of
    `T` steps, whose discounted reward an outer step ascends by the gradient of the mean over steps

        A_t log pi(a_t | h_t) - c_v (V(h_t) - R_t)^2 / var(A) + c_e entropy(pi(. | h_t))

    with generalised advantages `A_t`, brought to mean 0 and variance 1 over the meta-batch, and
    `R_t = A_t + V(h_t)`. What the critic puts out is the mean reward of the steps to come: times
    `sum over i < T - t of discount^i` it is `V(h_t)`, which so need not count the steps.

    With a `reward_weight` `c_r` the memory is also asked what the reward of the chosen action will
    be, and descended is `c_r (g(h_t)[a_t] - r_t)^2 / var(r)` besides: what pays is then worth
    remembering before the policy makes use of it.

    The last step of a trial is worth its reward, and no more: that a trial ends there is part of
    the task, and nothing is added for what would come after a time limit. Nor does what ends an
    episode cut off the returns, as the next one is lived with the same memory.

    A subclass defines `empty_memory` and `act`.

    Args:
        environment: a `tfmeta.environments.Environment`, whose `episodes` make a trial.
        network: a `keras.Model` from observations `[rows, observation_size]` to features
            `[rows, F]`, or None for the observations as they are.
        discount: of rewards, > 0 and at most 1.
        decay: of the generalised advantages, 0 to 1.
        entropy_weight: `c_e`, at least 0: how much choices are kept open; or a
            `keras.optimizers.schedules.LearningRateSchedule` of it over the outer steps.
        value_weight: `c_v`, at least 0.
        reward_weight: `c_r`, at least 0, of `Discrete` actions; 0, the default, asks nothing.
        **kwargs: `name` and `dtype`, as in `MetaModel`.
    """

    order_matters = True
    #: True if there is a `reward_weight`.
    can_tell_rewards = True

    def __init__(
        self,
        environment,
        network=None,
        *,
        discount=0.99,
        decay=0.9,
        entropy_weight=0.01,
        value_weight=0.25,
        reward_weight=0.0,
        **kwargs,
    ):
        super().__init__(environment, network, discount=discount, **kwargs)
        self.decay = check_number("decay", decay, zero=True)
        if self.decay > 1:
            raise ValueError(f"Expected decay <= 1. Received: {decay!r}.")
        self.entropy_weight = entropy_weight
        if not isinstance(entropy_weight, keras.optimizers.schedules.LearningRateSchedule):
            self.entropy_weight = check_number("entropy_weight", entropy_weight, zero=True)
        self.value_weight = check_number("value_weight", value_weight, zero=True)
        self.reward_weight = self._checked_reward_weight(reward_weight)
        # Small: every action is as likely as another at first.
        small = keras.initializers.VarianceScaling(0.3)
        self.actor = keras.layers.Dense(self.choices, kernel_initializer=small, name="actor")
        self.critic = keras.layers.Dense(1, kernel_initializer=small, name="critic")
        if self.reward_weight:
            self.teller = keras.layers.Dense(self.choices, name="teller")

    def _checked_reward_weight(self, weight):
        if check_number("reward_weight", weight, zero=True) == 0:
            return weight
        if not self.can_tell_rewards:
            raise ValueError(
                f"Expected no reward_weight: {type(self).__name__} has a decoder of rewards. "
                f"Received: {weight!r}."
            )
        if not isinstance(self.environment.actions, Discrete):
            raise ValueError(
                "Expected no reward_weight: it asks for the reward of each of some Discrete "
                f"actions. Received: {weight!r}, and actions {self.environment.actions}."
            )
        return weight

    def empty_memory(self, rows):
        """What the memory of so many rows is in a new task: a nest of tensors `[rows, ...]`."""
        raise NotImplementedError(f"{type(self).__name__} does not define `empty_memory`.")

    def act(self, observation, state, experience):
        """One step of the memory.

        Args:
            observation: `[N, observation_size]`.
            state: the memory, a nest `[N, ...]`.
            experience: the last action, its reward and whether its episode ended, `[N, ...]`.

        Returns:
            `(choices, value, state)` and whatever the objective needs besides; with a
            `reward_weight` first of all what each action is told to earn, `[N, choices]`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define `act`.")

    def build_heads(self, width):
        """Weights of what is read off features of this width."""
        self.actor.build((None, width))
        self.critic.build((None, width))
        if self.reward_weight:
            self.teller.build((None, width))
        if not isinstance(self.environment.actions, Discrete) and self.log_scale is None:
            self.log_scale = self.add_weight((self.choices,), "zeros", name="log_scale")

    def heads(self, features):
        """`(choices, value, told)` of features `[..., F]`, `told` a list of what `act` adds."""
        told = [self.teller(features)] if self.reward_weight else []
        return self.actor(features), self.critic(features)[..., 0], told

    def adapt(self, support: Examples, training: bool = False) -> Nest:
        """Live through the episodes of a task.

        Args:
            support: `Examples` of one task of `environment.tasks`: x a dict of "task" `[R, ...]`
                and "row" `[R]`.
            training: not used.

        Returns:
            `Lived`, of each of the R rows.
        """
        x = support.x
        trajectories, state = self.roll(x["task"], x["row"])
        ended = tf.ones_like(trajectories.rewards[-1])
        return Lived(state, trajectories.actions[-1], trajectories.rewards[-1], ended)

    def predict_query(self, adapted: Nest, x: Nest, training: bool = False) -> Nest:
        """What the policy would choose next, in the state of the first row of the support set.

        Args:
            adapted: `Lived`.
            x: observations `[M, observation_size]`.
            training: not used.

        Returns:
            Logits of the actions `[M, count]`, or mean actions `[M, size]`.
        """
        rows = tf.shape(x)[0]
        state, *experience = tf.nest.map_structure(
            lambda part: tf.repeat(part[:1], rows, axis=0), tuple(adapted)
        )
        return self.distribution.most_likely(self.act(x, state, experience)[0])

    def live(self, part, training):
        return self.roll(*flat_rows(part))[0]

    def objective(self, lived):
        log_chances, per_step, entropy = lived.extra[:3]
        to_come = discounted_returns(tf.ones_like(per_step[:, :1]), self.discount)
        values = per_step * to_come
        found = advantages(lived.rewards, values, self.discount, self.decay)
        targets = tf.stop_gradient(found + values)
        scaled = tf.stop_gradient(found)
        scaled -= mean_over_replicas(tf.reduce_mean(scaled))
        variance = mean_over_replicas(tf.reduce_mean(tf.square(scaled)))
        scaled *= tf.math.rsqrt(variance + 1e-8)
        # A row that waits for its next episode chooses nothing, but what it expects counts.
        steps = mean_over_replicas(tf.reduce_sum(lived.mask))
        policy = tf.reduce_sum(lived.mask * scaled * log_chances) / steps
        openness = tf.reduce_sum(lived.mask * entropy) / steps
        error = tf.reduce_mean(tf.square(values - targets)) / (variance + 1e-8)
        objective = self.value_weight * error - policy - self._openness_counts() * openness
        if self.reward_weight:
            objective += self.reward_weight * self._error_of_rewards(lived, steps)
        return objective, openness

    def _error_of_rewards(self, lived, steps):
        """Of what was told of the chosen actions, a share of the variance of the rewards."""
        told = tf.gather(lived.extra[3], lived.actions, axis=-1, batch_dims=2)
        mean = mean_over_replicas(tf.reduce_sum(lived.rewards)) / steps
        errors, spread = (
            tf.reduce_sum(lived.mask * tf.square(lived.rewards - r)) / steps for r in (told, mean)
        )
        spread = mean_over_replicas(spread)
        return errors / tf.where(spread > 1e-6, spread, 1.0)  # rewards may all be the same

    def _openness_counts(self):
        if not callable(self.entropy_weight):
            return self.entropy_weight
        return tf.cast(self.entropy_weight(self.optimizer.iterations), tf.float32)

    def roll(self, task, rows):
        """Live through a trial: `(trajectories, memory)`.

        `trajectories.extra` begins with the log probability of each action, with what the critic
        puts out, and with the entropy of the choices.
        """

        def policy(observation, state, experience, bits):
            choices, value, state, *more = self.act(observation, state, experience)
            action, log_chance = self.choose(choices, bits)
            return action, state, (log_chance, value, self.entropy(choices), *more)

        environment = self.environment
        state = self.empty_memory(tf.shape(rows)[0])
        return rollout(environment, policy, task, rows, state, episodes=environment.episodes)

    def read(self, observation, experience):
        """What a memory reads at steps, `[..., reading_size]`."""
        action, reward, ended = experience
        if isinstance(self.environment.actions, Discrete):
            action = tf.one_hot(action, self.choices)
        features = self.features(observation)
        return tf.concat([features, action, reward[..., None], ended[..., None]], axis=-1)

    def features(self, observations):
        """What the network makes of observations, `[..., F]`."""
        if self.network is None:
            return observations
        rows = self.network(tf.reshape(observations, (-1, observations.shape[-1])))
        return tf.reshape(rows, tf.concat([tf.shape(observations)[:-1], rows.shape[-1:]], 0))

    @property
    def reading_size(self):
        """Numbers that a memory reads at a step."""
        return self.feature_size + self.choices + 2

    @property
    def feature_size(self):
        """Numbers in the features of an observation."""
        size = self.environment.observation_size
        if self.network is not None:
            size = self.network.compute_output_shape((None, size))[-1]
        return size
