"""What gradient steps of a policy are made from: trajectories of each task, and their worth."""

from typing import Any, NamedTuple

import tensorflow as tf

from tfmeta.backend.map_tasks import map_tasks
from tfmeta.environments import rollout
from tfmeta.learners.policies.base import flat_rows
from tfmeta.ops.returns import advantages, discounted_returns
from tfmeta.ops.ridge import ridge

_STEPS_OF_A_UNIT = 100.0  # of time, as a feature


class Experience(NamedTuple):
    """Trajectories of one task, `T` steps of `R` rows; those of a meta-batch begin with `B`.

    Attributes:
        observations: `[T, R, observation_size]`.
        actions: `[T, R]` or `[T, R, size]`.
        mask: `[T, R]`, 0 after the end of an episode.
        advantages: `[T, R]`, of mean 0 and variance 1 over the steps of the task, 0 where the mask
            is.
        choices: outputs of the network that the actions were drawn by, `[T, R, C]`.
        log_scale: that of the actions, `[C]`, or ().
        log_chances: of the actions, `[T, R]`.
    """

    observations: Any
    actions: Any
    mask: Any
    advantages: Any
    choices: Any
    log_scale: Any
    log_chances: Any


def live(learner, weights, part, seed=0):
    """Let the policy of each task of a meta-batch live through its rows.

    Args:
        learner: a `GradientPolicy`.
        weights: of the policy of each task, `[B, ...]`, or None for the learner's own.
        part: `Examples` of the meta-batch, `[B, R, ...]`.
        seed: of the rows' randomness.

    Returns:
        `(Trajectories, Experience)`, of `B * R` rows and `[B, ...]`, constants.
    """
    task, rows = flat_rows(part)
    tasks, distribution = tf.shape(part.y)[0], learner.distribution
    is_scaled = learner.log_scale is not None

    def policy(observation, carry, experience, bits):
        if weights is None:
            choices, log_scale = learner.run(learner.initial_weights(), observation)
        else:
            seen = tf.reshape(observation, (tasks, -1, observation.shape[-1]))
            choices, log_scale = learner.map_tasks(lambda e: learner.run(*e), (weights, seen))
            choices = tf.reshape(choices, (-1, learner.choices))
            if is_scaled:
                log_scale = tf.repeat(log_scale, tf.shape(seen)[1], axis=0)
        return distribution.draw(choices, log_scale, bits), carry, choices

    lived, _ = rollout(learner.environment, policy, task, rows, seed=seed)
    parts = lived.observations, lived.actions, lived.mask, lived.extra
    seen, actions, mask, choices = (per_task(p, tasks) for p in parts)
    log_scale = ()
    if is_scaled:
        shared = tf.convert_to_tensor(learner.log_scale)[tf.newaxis]
        log_scale = tf.repeat(shared, tasks, axis=0) if weights is None else weights[-1]
    worth = standardized_advantages(lived, tasks, learner.discount, learner.decay)
    log_chances = distribution.log_chance(choices, of_each_step(log_scale), actions)
    found = Experience(seen, actions, mask, worth, choices, log_scale, log_chances)
    return lived, tf.nest.map_structure(tf.stop_gradient, found)


def of_each_step(log_scale):
    """`[B, C]` to `[B, 1, 1, C]`, for the steps and rows of a task; () stays."""
    return log_scale[:, tf.newaxis, tf.newaxis] if tf.is_tensor(log_scale) else log_scale


def standardized_advantages(lived, tasks, discount, decay):
    """Advantages of what tasks lived through, by a linear baseline that is fitted to each.

    The last step of an episode is worth its reward, whether the episode is over or a time limit
    ends it, as in the code of the paper's authors: the limit is part of the task, and the baseline
    knows the time, so that there is nothing to be added for what would come after it.

    Args:
        lived: `Trajectories` of `tasks * R` rows.
        tasks: `B`.
        discount, decay: as in `tfmeta.ops.advantages`.

    Returns:
        `[B, T, R]`, of mean 0 and variance 1 over the steps of each task.
    """
    returns = discounted_returns(lived.rewards, discount)[..., tf.newaxis]
    parts = baseline_features(lived.observations), returns, lived.mask
    values = map_tasks(_fitted, tuple(per_task(part, tasks) for part in parts), "vectorize")
    values = lived.mask * flat(values)
    found = per_task(advantages(lived.rewards, values, discount, decay), tasks)
    mask = per_task(lived.mask, tasks)
    steps = tf.maximum(tf.reduce_sum(mask, axis=(1, 2), keepdims=True), 1.0)
    centred = found - tf.reduce_sum(mask * found, axis=(1, 2), keepdims=True) / steps
    variance = tf.reduce_sum(mask * tf.square(centred), axis=(1, 2), keepdims=True) / steps
    return mask * centred * tf.math.rsqrt(variance + 1e-8)


def baseline_features(observations):
    """What the returns of `[T, N, size]` observations are a linear function of, `[T, N, F]`.

    The observation, its squares, and the powers 0 to 3 of the time.

    Reference:
        Duan et al., "Benchmarking deep reinforcement learning for continuous control", 2016,
        arXiv:1604.06778, section 5.
    """
    seen = tf.clip_by_value(observations, -10.0, 10.0)
    time = tf.cast(tf.range(tf.shape(seen)[0]), seen.dtype) / _STEPS_OF_A_UNIT
    powers = tf.stack([time**p for p in range(4)], axis=-1)[:, tf.newaxis]
    powers = tf.repeat(powers, tf.shape(seen)[1], axis=1)
    return tf.concat([seen, tf.square(seen), powers], axis=-1)


def _fitted(task):
    """What a ridge regression on features `[T, R, F]` says of returns `[T, R, 1]`: `[T, R]`."""
    features, returns, mask = task
    shape, size = tf.shape(returns)[:2], features.shape[-1]
    # Powers of time are nearly one a function of the others: float32 would lose them.
    x = tf.cast(tf.reshape(features, (-1, size)), tf.float64)
    y = tf.cast(tf.reshape(returns, (-1, 1)), tf.float64)
    weights = ridge(x, y, 1e-5, form="primal", mask=tf.reshape(mask, [-1]))
    return tf.reshape(tf.cast(tf.matmul(x, weights), returns.dtype), shape)


def per_task(values, tasks):
    """`[T, B * R, ...]` to `[B, T, R, ...]`."""
    shape = tf.shape(values)
    values = tf.reshape(values, tf.concat([[shape[0], tasks, -1], shape[2:]], 0))
    return tf.transpose(values, [1, 0, 2, *range(3, len(values.shape))])


def flat(values):
    """The inverse of `per_task` for `[B, T, R]`: `[T, B * R]`."""
    return tf.reshape(tf.transpose(values, (1, 0, 2)), (tf.shape(values)[1], -1))
