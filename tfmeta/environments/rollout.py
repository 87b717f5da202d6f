"""Many agents live through episodes at once, in the graph."""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.environments.environment import Discrete, Environment
from tfmeta.hints import Nest
from tfmeta.ops import random_numbers as rng

_AWAY_FROM_TASKS = 2**61


class Trajectories(NamedTuple):
    """What `N` rows lived through in `T` steps.

    Attributes:
        observations: `[T, N, observation_size]`, what each action was taken on.
        actions: `[T, N]` int32, or `[T, N, size]` float32, as the policy chose them.
        rewards: `[T, N]`, 0 where the mask is.
        mask: `[T, N]`, 1 for steps of an episode, 0 after its end.
        done: `[T, N]`, 1 where an episode ended by what happened in it. Where the mask ends without
            it, a time limit ended the episode.
        first: `[T, N]`, 1 at the first step of an episode.
        last: observations after the last step, `[N, observation_size]`.
        extra: what the policy returned besides, a nest `[T, N, ...]`.
    """

    observations: Any
    actions: Any
    rewards: Any
    mask: Any
    done: Any
    first: Any
    last: Any
    extra: Any = ()


def rollout(
    environment: Environment,
    policy: Callable,
    task: Nest,
    rows: tf.Tensor,
    carry: Nest = (),
    *,
    seed: int = 0,
    episodes: int = 1,
) -> tuple[Trajectories, Nest]:
    """Let a policy act in environments, one a row, for whole episodes.

    An episode lasts `environment.horizon` steps, or until it is done; a row that is done waits,
    with mask 0 and reward 0, for the next episode to begin for all.

    Args:
        environment: an `Environment`.
        policy: function `(observation, carry, experience, bits) -> (action, carry, extra)` of
            tensors `[N, ...]`. `experience` is a tuple of the last action (0 at first), its reward
            and whether it was the last of its episode, float32 `[N]`, for policies with a memory;
            `bits` is uint64 `[D, N]`, random numbers for the choice, `D` the size of an action.
        task: a nest `[N, ...]`, the task of each row.
        rows: int64 `[N]`, a number for each row: its random numbers come from it and `seed` alone.
        carry: a nest of tensors `[N, ...]` that the policy hands on to itself.
        seed: int.
        episodes: episodes one after the other, with the same carry.

    Returns:
        `(trajectories, carry)`: `Trajectories` of `T = episodes * horizon` steps.

    Raises:
        ValueError: an argument is out of range, the episodes have no steps, or the policy's actions
            are not those of the environment.
    """
    horizon = check_integer("horizon", environment.horizon, 1)
    steps = check_integer("episodes", episodes, 1) * horizon
    starts, step_bits, choice_bits = _random_numbers(environment, rows, seed, episodes)
    starts = [environment.reset(task, bits) for bits in tf.unstack(starts)]
    starts = tf.nest.map_structure(lambda *t: tf.stack(t), *starts)

    def live(t, state, carry, experience, alive):
        first = t % horizon == 0
        begun = tf.nest.map_structure(lambda s: s[t // horizon], starts)
        state, alive = _where(first, begun, state), alive + tf.cast(first, tf.float32) * (1 - alive)
        state = _begin(environment, first, task, state)
        observation = environment.observe(task, state)
        action, carry, extra = policy(observation, carry, experience, choice_bits[t])
        check_actions(environment, action)
        moved, reward, done = environment.step(task, state, action, step_bits[t])
        reward, done = reward * alive, tf.cast(done, tf.float32) * alive
        cut = environment.cut_off(task, moved)
        over = done if cut is None else tf.maximum(done, tf.cast(cut, tf.float32) * alive)
        state = _where(alive > 0, moved, state)  # a row that is done stays where it is
        lived = observation, action, reward, alive, done, tf.cast(first, tf.float32) + 0 * alive
        ended = tf.maximum(over, tf.cast((t + 1) % horizon == 0, tf.float32))
        return (*lived, extra), (state, carry, (action, reward, ended), alive * (1 - over))

    nothing = _no_experience(environment, tf.shape(rows)[0])
    start = tf.nest.map_structure(lambda s: s[0], starts), carry, nothing, tf.ones_like(nothing[1])
    with environment.readable_errors():
        (*lived, extra), (state, carry, *_) = _loop(live, start, steps)
        last = environment.observe(task, state)
    return Trajectories(*(*lived, last, extra)), carry


def check_actions(environment, action):
    """Raise a ValueError unless a policy's actions `[N, ...]` are of the environment's kind."""
    actions = environment.actions
    discrete = isinstance(actions, Discrete)
    dtype, size = (tf.int32, []) if discrete else (tf.float32, [actions.size])
    if action.dtype != dtype or not action.shape.is_compatible_with([None, *size]):
        expected, received = (
            f"{kind.name} [{', '.join(map(str, ['rows', *sizes]))}]"
            for kind, sizes in ((dtype, size), (action.dtype, action.shape[1:]))
        )
        raise ValueError(
            f"Expected actions {expected} from the policy, of {actions} in {environment!r}. "
            f"Received: {received}. Draw {'one of the actions' if discrete else 'its numbers'}."
        )


def _begin(environment, first, task, state):
    """The states of rows whose episode begins, which the host may have to be told."""
    if environment.in_graph:
        return state
    return tf.cond(first, lambda: environment.begin(task, state), lambda: state)


def _random_numbers(environment, rows, seed, episodes):
    """Of the starts, the steps and the choices: `[episodes, D, N]`, `[T, D, N]`, `[T, D, N]`."""
    actions, steps = environment.actions, episodes * environment.horizon
    choice = 1 if isinstance(actions, Discrete) else actions.size
    counts = (episodes, environment.reset_draws), (steps, environment.step_draws), (steps, choice)
    sizes = [times * draws for times, draws in counts]
    # Other numbers than those of the tasks, which are drawn by seed and number, too.
    seed = check_integer("seed", seed) + _AWAY_FROM_TASKS
    bits = tf.split(rng.random_bits(seed, rows, sum(sizes)), sizes)
    return [tf.reshape(b, (*c, tf.shape(rows)[0])) for b, c in zip(bits, counts, strict=True)]


def _no_experience(environment, count):
    zeros = tf.zeros([count])
    if isinstance(environment.actions, Discrete):
        return tf.zeros([count], tf.int32), zeros, zeros
    return tf.zeros([count, environment.actions.size]), zeros, zeros


def _where(condition, a, b):
    """Leaves of `a` where the condition holds, a scalar or `[N]`, else those of `b`."""

    def pick(a, b):
        extra = len(a.shape) - len(condition.shape)
        return tf.where(
            tf.reshape(condition, tf.concat([tf.shape(condition), [1] * extra], 0)), a, b
        )

    return tf.nest.map_structure(pick, a, b)


def _loop(step, values, steps):
    """`step(t, *values) -> (outputs, values)`, `steps` times: outputs `[steps, ...]`, values."""
    # The first step says what there is to write.
    first, values = step(tf.constant(0), *values)
    arrays = [
        tf.TensorArray(o.dtype, steps, element_shape=o.shape).write(0, o)
        for o in tf.nest.flatten(first)
    ]

    def body(t, values, arrays):
        outputs, values = step(t, *values)
        pairs = zip(arrays, tf.nest.flatten(outputs), strict=True)
        return t + 1, values, [array.write(t, output) for array, output in pairs]

    _, values, arrays = tf.while_loop(
        lambda t, *_: t < steps, body, (tf.constant(1), values, arrays), maximum_iterations=steps
    )
    return tf.nest.pack_sequence_as(first, [array.stack() for array in arrays]), values
