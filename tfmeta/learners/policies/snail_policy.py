"""SNAIL as a policy: it looks back at all that it lived through in a task."""

import math
from collections.abc import Sequence

import keras
import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.engine.saving import default_argument
from tfmeta.environments.environment import Environment
from tfmeta.learners.context.snail import Attention, Convolution, check_attention
from tfmeta.learners.policies.actor_critic import ActorCritic
from tfmeta.ops import map_tasks


@keras.saving.register_keras_serializable("tfmeta")
class SNAILPolicy(ActorCritic):
    """Interleave causal convolutions over a task's steps with attention to any one of them.

    A row a step, with the observation `s_t`, and the action, the reward and the end of an episode
    that came before it: `[f(s_t), a_{t-1}, r_{t-1}, d_{t-1}]`. The rows of all episodes of a task
    are one sequence of `T`, which passes through

        convolutions, attention, convolutions, attention, ...

    the blocks of `tfmeta.learners.SNAIL`. Choices and the critic's estimate are dense layers of
    what comes out at t, which has seen no later row. An outer step ascends the same sum as `RL2`.

    While it acts, keys, values and convolved rows of the steps before are kept, and each step adds
    its own; for the gradient, all steps of what was lived through are read again at once.

    Meta-learned: all weights. Adapted: keys, values and convolved rows; no weight changes.

    Differs from the paper: one gradient of the compiled optimizer for each meta-batch (advantage
    actor-critic) in the place of TRPO; the baseline is an output of the same network.

    Args:
        environment: a `tfmeta.environments.Environment`, whose `episodes` make a trial.
        network: a `keras.Model` from observations `[rows, observation_size]` to features
            `[rows, F]`, or None for the observations as they are.
        filters: of each convolution; `log2(T)` of them are made a block.
        attention: the widths `(K, V)` of the attention blocks, with convolutions before each.
        discount: of rewards, > 0 and at most 1.
        decay: of the generalised advantages, 0 to 1.
        entropy_weight: `c_e`, at least 0: how much choices are kept open; or a
            `keras.optimizers.schedules.LearningRateSchedule` of it over the outer steps.
        value_weight: `c_v`, at least 0.
        reward_weight: `c_r`, at least 0, of `Discrete` actions, as of `RL2`; 0, the default, asks
            nothing.
        **kwargs: `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        Mishra, Rohaninejad, Chen and Abbeel, "A Simple Neural Attentive Meta-Learner", ICLR 2018,
        arXiv:1707.03141, sections 3 and 5.2.
    """

    def __init__(
        self,
        environment: Environment,
        network: keras.Model | None = None,
        *,
        filters: int = 32,
        attention: Sequence[tuple[int, int]] = ((32, 32), (32, 32)),
        decay: float = 0.3,
        **kwargs,
    ):
        super().__init__(environment, network, decay=decay, **kwargs)
        self.filters = check_integer("filters", filters, 1)
        self.attention = check_attention(attention)
        self.steps = self.environment.episodes * self.environment.horizon
        self.blocks = []
        for widths in self.attention:
            for i in range(math.ceil(math.log2(max(self.steps, 2)))):
                self.blocks.append(Convolution(self.filters, 2**i))
            self.blocks.append(Attention(*widths))

    @classmethod
    def search_space(cls, hp):
        """Arguments of the constructor, drawn with the `hp` of keras-tuner."""
        return {
            "filters": hp.Int(
                "filters", 16, 128, sampling="log", default=default_argument(cls, "filters")
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
        width = self.reading_size
        for block in self.blocks:
            block.build((None, width))
            width += block.added
        self.build_heads(width)

    def empty_memory(self, rows):
        """The number of steps that were read, and for each block what later ones look up."""
        places = tf.zeros((rows,), tf.int32)
        looked_up = [
            [tf.zeros((rows, self.steps, *shape)) for shape in block.remembered]
            for block in self.blocks
        ]
        return places, looked_up

    def act(self, observation, state, experience):
        rows, (places, looked_up) = self.read(observation, experience), state

        def one(row):
            z, place, looked_up = row
            z, after = z[tf.newaxis], []
            here = tf.one_hot(place, self.steps)
            for block, memory in zip(self.blocks, looked_up, strict=True):
                z, own = block(z, _as_block(memory), place[tf.newaxis])
                own = tf.nest.flatten(own)
                after.append([m + _outer(here, o[0]) for m, o in zip(memory, own, strict=True)])
            return z[0], after

        z, looked_up = map_tasks(one, (rows, places, looked_up), "vectorize")
        choices, value, told = self.heads(z)
        return choices, value, (places + 1, looked_up), *told

    def live(self, part, training):
        lived = super().live(part, training)
        return lived._replace(extra=self.read_again(lived)) if training else lived

    def read_again(self, lived):
        """`extra` of `Trajectories`, from all steps at once."""
        # An episode ended before each first step but the very first, or where a row began to wait.
        new = tf.concat([tf.zeros_like(lived.first[:1]), lived.first[1:]], axis=0)
        ended = tf.maximum(_late(lived.mask) * (1.0 - lived.mask), new)
        rows = self.read(lived.observations, (_late(lived.actions), _late(lived.rewards), ended))

        def one(z):
            places = tf.range(self.steps)
            for block in self.blocks:
                z, _ = block(z, None, places)
            return z

        z = map_tasks(one, tf.transpose(rows, (1, 0, 2)), "vectorize")
        z = tf.transpose(z, (1, 0, 2))
        choices, values, told = self.heads(z)
        log_chances = self.distribution.log_chance(choices, self.log_scale, lived.actions)
        return log_chances, values, self.entropy(choices), *told


def _late(values):
    """Those of the step before, zeros at the first: `[T, ...]`."""
    return tf.concat([tf.zeros_like(values[:1]), values[:-1]], axis=0)


def _as_block(memory):
    """Keys and values of attention as a tuple; of a convolution, its rows."""
    return tuple(memory) if len(memory) > 1 else memory[0]


def _outer(here, own):
    """A row's own at its place among `T`: `[T, ...]`."""
    return tf.reshape(here, (-1, *[1] * len(own.shape))) * own
