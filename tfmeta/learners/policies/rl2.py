"""RL2: a recurrent policy whose state is what it learns of a task."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.arguments import check_integer, check_number
from tfmeta.environments import Discrete, rollout
from tfmeta.learners.policies.base import PolicyLearner, flat_rows
from tfmeta.ops.returns import advantages


class Lived(NamedTuple):
    """What `RL2.adapt` returns.

    Attributes:
        state: of the GRU after the episodes, `[R, units]`.
        action: the last action of each row, its reward, and that its episode ended.
        reward: `[R]`.
        ended: `[R]`, ones.
    """

    state: Any
    action: Any
    reward: Any
    ended: Any


@keras.saving.register_keras_serializable("tfmeta")
class RL2(PolicyLearner):
    """Live through a task's episodes with one memory: the recurrent policy learns how to learn.

    With the observation `s_t`, and the action, the reward and the end of an episode that came
    before it, a GRU of `H` units reads

        h_t = GRU([f(s_t), a_{t-1}, r_{t-1}, d_{t-1}], h_{t-1})
        a_t ~ pi(. | h_t),    V(h_t)

    The state goes on from one episode of a task to the next, and is new in a new task. All of a
    task is one trial, whose discounted reward an outer step ascends by the gradient of

        sum over t of A_t log pi(a_t | h_t) - c_v (V(h_t) - R_t)^2 + c_e entropy(pi(. | h_t))

    with generalised advantages `A_t`, brought to mean 0 and variance 1 over the meta-batch, and
    `R_t = A_t + V(h_t)`.

    Meta-learned: all weights. Adapted: the state; no weight changes.

    Differs from the paper: one gradient of the compiled optimizer for each meta-batch (advantage
    actor-critic, as in Wang et al., whose agent is an LSTM) in the place of TRPO, and the baseline
    is an output of the same network, not one of its own.

    Args:
        environment: a `tfmeta.environments.Environment`, whose `episodes` make a trial.
        network: a `keras.Model` from observations `[rows, observation_size]` to features
            `[rows, F]`, or None for the observations as they are.
        units: `H`. The paper: 256.
        discount: of rewards, > 0 and at most 1. The paper: 0.99.
        decay: of the generalised advantages, 0 to 1. The paper: 0.3.
        entropy_weight: `c_e`, at least 0: how much choices are kept open.
        value_weight: `c_v`, at least 0.
        **kwargs: `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        Duan et al., "RL2: Fast Reinforcement Learning via Slow Reinforcement Learning", 2016,
        arXiv:1611.02779, section 2; Wang et al., "Learning to reinforcement learn", 2016,
        arXiv:1611.05763, equation 1.
    """

    order_matters = True

    def __init__(
        self,
        environment,
        network=None,
        *,
        units=64,
        discount=0.99,
        decay=0.3,
        entropy_weight=0.01,
        value_weight=0.05,
        **kwargs,
    ):
        super().__init__(environment, network, discount=discount, **kwargs)
        self.units = check_integer("units", units, 1)
        self.decay = check_number("decay", decay, zero=True)
        if self.decay > 1:
            raise ValueError(f"Expected decay <= 1. Received: {decay!r}.")
        self.entropy_weight = check_number("entropy_weight", entropy_weight, zero=True)
        self.value_weight = check_number("value_weight", value_weight, zero=True)
        self.memory = keras.layers.GRUCell(self.units, name="memory")
        # Small: every action is as likely as another at first.
        small = keras.initializers.VarianceScaling(0.3)
        self.actor = keras.layers.Dense(self.choices, kernel_initializer=small, name="actor")
        self.critic = keras.layers.Dense(1, kernel_initializer=small, name="critic")

    @classmethod
    def search_space(cls, hp):
        """Arguments of the constructor, drawn with the `hp` of keras-tuner."""
        return {
            "units": hp.Int("units", 16, 256, sampling="log", default=64),
            "entropy_weight": hp.Float("entropy_weight", 1e-4, 0.1, sampling="log", default=0.01),
        }

    def build(self, input_shape=None):
        size = self.environment.observation_size
        if self.network is not None:
            size = self.network.compute_output_shape((None, size))[-1]
        self.memory.build((None, size + self.choices + 2))
        self.actor.build((None, self.units))
        self.critic.build((None, self.units))
        if not isinstance(self.environment.actions, Discrete) and self.log_scale is None:
            self.log_scale = self.add_weight((self.choices,), "zeros", name="log_scale")

    def adapt(self, support, training=False):
        """Live through the episodes of a task.

        Args:
            support: `Examples` of one task of `environment.tasks`: x a dict of "task" `[R, ...]`
                and "row" `[R]`.
            training: not used.

        Returns:
            `Lived`, of each of the R rows.
        """
        x = support.x
        trajectories, state = self._roll(x["task"], x["row"])
        ended = tf.ones_like(trajectories.rewards[-1])
        return Lived(state, trajectories.actions[-1], trajectories.rewards[-1], ended)

    def predict_query(self, adapted, x, training=False):
        """What the policy would choose next, in the state of the first row of the support set.

        Args:
            adapted: `Lived`.
            x: observations `[M, observation_size]`.
            training: not used.

        Returns:
            Logits of the actions `[M, count]`, or means of their numbers `[M, size]`.
        """
        rows = tf.shape(x)[0]
        state, *experience = (tf.repeat(part[:1], rows, axis=0) for part in adapted)
        return self.distribution.most_likely(self._step(x, state, experience)[0])

    def live(self, part, training):
        return self._roll(*flat_rows(part))[0]

    def objective(self, lived):
        log_chances, values, entropy = lived.extra
        found = advantages(lived.rewards, values, self.discount, self.decay)
        targets = tf.stop_gradient(found + values)
        mean, variance = tf.nn.moments(tf.stop_gradient(found), axes=[0, 1])
        scaled = (tf.stop_gradient(found) - mean) * tf.math.rsqrt(variance + 1e-8)
        # A row that waits for its next episode chooses nothing, but what it expects counts.
        steps = tf.reduce_sum(lived.mask)
        policy = tf.reduce_sum(lived.mask * scaled * log_chances) / steps
        openness = tf.reduce_sum(lived.mask * entropy) / steps
        error = tf.reduce_mean(tf.square(values - targets))
        objective = self.value_weight * error - policy - self.entropy_weight * openness
        return objective, openness

    def _roll(self, task, rows):
        def policy(observation, state, experience, bits):
            choices, value, state = self._step(observation, state, experience)
            action, log_chance = self.choose(choices, bits)
            return action, state, (log_chance, value, self.entropy(choices))

        state = tf.zeros((tf.shape(rows)[0], self.units))
        environment = self.environment
        return rollout(environment, policy, task, rows, state, episodes=environment.episodes)

    def _step(self, observation, state, experience):
        """`(choices, value, state)` after one step of the memory."""
        action, reward, ended = experience
        if isinstance(self.environment.actions, Discrete):
            action = tf.one_hot(action, self.choices)
        features = observation if self.network is None else self.network(observation)
        inputs = [features, action, reward[:, tf.newaxis], ended[:, tf.newaxis]]
        outputs, (state,) = self.memory(tf.concat(inputs, axis=-1), [state])
        return self.actor(outputs), self.critic(outputs)[:, 0], state
