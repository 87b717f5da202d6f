"""Returns and advantages of trajectories."""

import tensorflow as tf


def discounted_returns(rewards: tf.Tensor, discount: float = 0.99) -> tf.Tensor:
    """The discounted sum of the rewards from each step on, `R_t = r_t + discount R_{t+1}`.

    Args:
        rewards: `[T, ...]`, 0 after the end of an episode.
        discount: a number in 0..1, or a tensor `[T, ...]`: 0 at the last step of an episode keeps
            what comes after it out.

    Returns:
        Tensor `[T, ...]`.
    """
    discount = _of_each(discount, rewards)
    return tf.scan(
        lambda later, now: now[0] + now[1] * later,
        (rewards, discount),
        initializer=tf.zeros_like(rewards[0]),
        reverse=True,
    )


def advantages(
    rewards: tf.Tensor,
    values: tf.Tensor,
    discount: float = 0.99,
    decay: float = 0.95,
    last_value: tf.Tensor | None = None,
) -> tf.Tensor:
    """Generalised advantage estimates, `A_t = d_t + discount decay A_{t+1}`, with

        d_t = r_t + discount V(s_{t+1}) - V(s_t)

    Args:
        rewards: `[T, ...]`.
        values: `[T, ...]`, estimates of the return from each step on.
        discount: as in `discounted_returns`.
        decay: `lambda`, in 0..1: 1 gives `R_t - V(s_t)`, 0 looks one step ahead.
        last_value: `[...]`, the estimate after the last step: that of its state where the
            trajectory was cut off by a time limit that the agent does not know of, or None for 0,
            where it ended.

    Returns:
        Tensor `[T, ...]`.

    Reference:
        Schulman et al., "High-dimensional continuous control using generalized advantage
        estimation", ICLR 2016, equation 16. arXiv:1506.02438
    """
    last = tf.zeros_like(values[:1]) if last_value is None else last_value[tf.newaxis]
    discount = _of_each(discount, rewards)
    following = tf.concat([values[1:], last], axis=0)
    return discounted_returns(rewards + discount * following - values, discount * decay)


def _of_each(discount, rewards):
    return tf.broadcast_to(tf.convert_to_tensor(discount, rewards.dtype), tf.shape(rewards))
