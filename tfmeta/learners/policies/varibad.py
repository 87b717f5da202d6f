"""VariBAD: a policy that acts on a belief of what the task is."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from tfmeta.arguments import check_integer, check_number
from tfmeta.engine.saving import default_argument
from tfmeta.environments import Discrete
from tfmeta.environments.environment import Environment
from tfmeta.learners.context.base import check_widths
from tfmeta.learners.gaussian import kl_divergence, log_likelihood
from tfmeta.learners.policies.actor_critic import ActorCritic
from tfmeta.learners.policies.base import flat_rows
from tfmeta.ops import random_numbers as rng

_AWAY_FROM_ROLLOUTS = 2**62
SMALLEST_SCALE = 1e-3


@keras.saving.register_keras_serializable("tfmeta")
class VariBAD(ActorCritic):
    """Infer a task's latent variable while living in it, and act on the belief: Bayes-adaptive.

    A GRU reads what was lived through, and tells a Gaussian belief of the latent task `m`; a
    policy sees the state and the belief:

        h_t = GRU([f(s_t), a_{t-1}, r_{t-1}, d_{t-1}], h_{t-1})
        q_t = N(mu(h_t), diag(sigma(h_t)^2))
        a_t ~ pi(. | f(s_t), mu_t, log sigma_t),    V(f(s_t), mu_t, log sigma_t)

    The encoder learns from the evidence lower bound of all rewards of a trial, past and to come,
    given the belief at a step t, and the policy as in `RL2`, without a gradient through the belief:

        ELBO_t = E_{m ~ q_t} sum over i of log N(r_i; g(m, f(s_i), a_i), s^2) - KL(q_t || q_{t-1})

    with `q_{-1} = N(0, I)`, one draw of `m`, and `draws` of the steps `t` of each trial.

    Meta-learned: all weights. Adapted: the state of the GRU; no weight changes.

    Differs from the paper: one gradient of the compiled optimizer on the trials that were just
    lived through (advantage actor-critic) in the place of PPO and of a buffer of old ones for the
    encoder; the decoder does not see the state that follows, and there is none of transitions;
    KL counts in full beside errors in units of `s`, where the authors' code weighs it with 0.01 to
    0.1.

    Args:
        environment: a `tfmeta.environments.Environment`, whose `episodes` make a trial.
        network: a `keras.Model` from observations `[rows, observation_size]` to the features `f`,
            or None for the observations as they are.
        units: of the GRU. The authors' code: 64.
        latent_size: of `m`. The authors' code for the grid: 5.
        policy_hidden: widths of the policy's layers, tanh.
        decoder_hidden: widths of the decoder's layers, ReLU.
        reward_scale: `s`, > 0: the smaller, the more the belief is worth telling apart.
        draws: steps of a trial whose bound an outer step ascends.
        discount: of rewards, > 0 and at most 1.
        decay: of the generalised advantages, 0 to 1.
        entropy_weight: at least 0: how much choices are kept open; or a
            `keras.optimizers.schedules.LearningRateSchedule` of it over the outer steps.
        value_weight: at least 0.
        **kwargs: `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        Zintgraf et al., "VariBAD: A very good method for Bayes-adaptive deep RL via meta-learning",
        ICLR 2020, arXiv:1910.08348, section 3, equations 5 to 9.
    """

    #: The decoder does, and the policy's features teach the memory nothing.
    can_tell_rewards = False

    def __init__(
        self,
        environment: Environment,
        network: keras.Model | None = None,
        *,
        units: int = 64,
        latent_size: int = 5,
        policy_hidden: Sequence[int] = (32,),
        decoder_hidden: Sequence[int] = (64, 32),
        reward_scale: float = 0.1,
        draws: int = 8,
        decay: float = 0.95,
        **kwargs,
    ):
        super().__init__(environment, network, decay=decay, **kwargs)
        self.units = check_integer("units", units, 1)
        self.latent_size = check_integer("latent_size", latent_size, 1)
        self.policy_hidden = check_widths(policy_hidden, "policy_hidden")
        self.decoder_hidden = check_widths(decoder_hidden, "decoder_hidden")
        self.reward_scale = check_number("reward_scale", reward_scale)
        self.draws = check_integer("draws", draws, 1)
        self.memory = keras.layers.GRUCell(self.units, name="memory")
        self.beliefs = keras.layers.Dense(2 * self.latent_size, name="beliefs")
        self.policy_layers = [keras.layers.Dense(w, "tanh") for w in self.policy_hidden]
        self.decoder_layers = [keras.layers.Dense(w, "relu") for w in self.decoder_hidden]
        self.decoder_layers.append(keras.layers.Dense(1, name="rewards"))

    def fixed_arguments(self):
        return {"decoder_hidden", "latent_size", "policy_hidden", "units"}

    @classmethod
    def search_space(cls, hp):
        """Arguments of the constructor, drawn with the `hp` of keras-tuner."""
        return {
            "units": hp.Int(
                "units", 16, 256, sampling="log", default=default_argument(cls, "units")
            ),
            "latent_size": hp.Int(
                "latent_size", 2, 32, sampling="log", default=default_argument(cls, "latent_size")
            ),
            "entropy_weight": hp.Float(
                "entropy_weight",
                1e-4,
                0.1,
                sampling="log",
                default=default_argument(cls, "entropy_weight"),
            ),
        }

    def build(self, input_shape=None):
        self.memory.build((None, self.reading_size))
        self.beliefs.build((None, self.units))
        latent, features = self.latent_size, self.feature_size
        width = _build_all(self.policy_layers, features + 2 * latent)
        _build_all(self.decoder_layers, latent + features + self.choices)
        self.build_heads(width)

    def empty_memory(self, rows):
        return tf.zeros((rows, self.units))

    def act(self, observation, state, experience):
        """As of `ActorCritic`, and the mean and the scale of the belief, `[N, latent_size]`."""
        outputs, (state,) = self.memory(self.read(observation, experience), [state])
        mean, raw = tf.split(self.beliefs(outputs), 2, axis=-1)
        scale = SMALLEST_SCALE + tf.nn.softplus(raw)
        belief = tf.stop_gradient(tf.concat([mean, tf.math.log(scale)], axis=-1))
        hidden = tf.concat([self.features(observation), belief], axis=-1)
        for layer in self.policy_layers:
            hidden = layer(hidden)
        return self.actor(hidden), self.critic(hidden)[:, 0], state, mean, scale

    def live(self, part, training):
        task, rows = flat_rows(part)
        lived, _ = self.roll(task, rows)
        number = self.draws * (1 + self.latent_size)
        bits = rng.random_bits(_AWAY_FROM_ROLLOUTS, rows, number)
        steps = rng.integers(bits[: self.draws], lived.rewards.shape[0] or len(lived.rewards))
        noise = tf.reshape(rng.normal(bits[self.draws :]), (self.draws, self.latent_size, -1))
        return lived._replace(extra=(*lived.extra, steps, tf.transpose(noise, (0, 2, 1))))

    def objective(self, lived):
        objective, openness = super().objective(lived)
        *_, steps, noise = lived.extra
        bound = tf.reduce_mean(self.bounds(lived, steps, noise))
        return objective - bound / tf.cast(tf.shape(lived.rewards)[0], bound.dtype), openness

    def bounds(self, lived, steps, noise):
        """The evidence lower bound at some steps of each trial, `[D, N]`.

        Args:
            lived: `Trajectories`.
            steps: int32 `[D, N]`.
            noise: standard normal numbers that `m` is drawn with, `[D, N, latent_size]`.
        """
        mean, scale = (_at(steps, t) for t in lived.extra[3:5])
        # Before the first step nothing is known.
        before = [_late(lived.extra[3], 0.0), _late(lived.extra[4], 1.0)]
        divergence = kl_divergence(mean, scale, *(_at(steps, t) for t in before), axis=-1)
        latent = (mean + scale * noise)[:, tf.newaxis]  # the same at all steps that are told
        told = self.rewards(latent, lived.observations, lived.actions)  # [D, T, N]
        rewards, told = lived.rewards[..., tf.newaxis], told[..., tf.newaxis]
        each = log_likelihood(rewards, told, self.reward_scale)
        return tf.reduce_sum(lived.mask * each, axis=1) - divergence

    def rewards(self, latent, observations, actions):
        """What the decoder tells of rewards: `[...]`.

        Args:
            latent: `[..., latent_size]`; its other axes and those of the observations broadcast.
            observations: `[..., observation_size]`.
            actions: `[...]` of `Discrete`, or `[..., size]`.
        """
        if isinstance(self.environment.actions, Discrete):
            actions = tf.one_hot(actions, self.choices)
        hidden = tf.concat([self.features(observations), actions], axis=-1)
        shape = tf.broadcast_dynamic_shape(tf.shape(latent)[:-1], tf.shape(hidden)[:-1])
        parts = [tf.broadcast_to(t, tf.concat([shape, t.shape[-1:]], 0)) for t in (latent, hidden)]
        hidden = tf.concat(parts, axis=-1)
        for layer in self.decoder_layers:
            hidden = layer(hidden)
        return hidden[..., 0]


def _build_all(layers, width):
    """Builds dense layers one after the other; returns the width of the last."""
    for layer in layers:
        layer.build((None, width))
        width = layer.units
    return width


def _at(steps, values):
    """Values `[T, N, Z]` at steps `[D, N]`: `[D, N, Z]`."""
    columns = tf.broadcast_to(tf.range(tf.shape(steps)[1]), tf.shape(steps))
    return tf.gather_nd(values, tf.stack([steps, columns], axis=-1))


def _late(values, first):
    """Values of the step before, `first` at the first: `[T, N, Z]`."""
    return tf.concat([tf.fill(tf.shape(values[:1]), first), values[:-1]], axis=0)
