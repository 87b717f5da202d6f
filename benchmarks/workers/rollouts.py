"""Environments of tfmeta, and the loops over Gymnasium's CartPole that they stand beside."""

import functools

import gymnasium
import numpy as np
import tensorflow as tf

from benchmarks.workers.rollout_policies import (
    CARTPOLE,
    CARTPOLE_STEPS,
    POINT_ROWS,
    POINT_STEPS,
    answer,
    cartpole_weights,
    point_weights,
)
from tfmeta import environments
from tfmeta.ops import random_numbers as rng

CARTPOLE_ROWS, FEW_ROWS = 1000, 32


def lean(observations, library=np):
    """Chances to push to the right, of observations `[..., 4]`."""
    hidden, out = cartpole_weights()
    logits = library.tanh(observations @ hidden) @ out
    return 1 / (1 + library.exp(logits[..., 0] - logits[..., 1]))


def hold(observation, carry, experience, bits):
    right = rng.uniform(bits[0], 0.0, 1.0) < lean(observation, tf)
    return tf.cast(right, tf.int32), carry, ()


def walk(observation, carry, experience, bits):
    x = observation
    for kernel, bias in point_weights()[:-1]:
        x = tf.nn.relu(x @ kernel + bias)
    kernel, bias = point_weights()[-1]
    return x @ kernel + bias + 0.1 * rng.normal(tf.transpose(bits)), carry, ()


def in_tfmeta(family, policy, rows, jit_compile=False):
    """The steps that a compiled rollout has lived through, all trajectories kept."""

    @tf.function(jit_compile=jit_compile)
    def live():
        numbers = tf.range(rows, dtype=tf.int64)
        return environments.rollout(family, policy, family.parameters(numbers), numbers)[0]

    return lambda: live().mask.numpy().sum()


def loop_over_gymnasium(steps=5000):
    env, chance = gymnasium.make("CartPole-v1"), np.random.default_rng(0)
    kept, seen = [], env.reset(seed=0)[0]
    for _ in range(steps):
        action = int(chance.random() < lean(seen))
        after, reward, terminated, truncated, _ = env.step(action)
        kept.append((seen, action, reward, terminated))
        seen = env.reset()[0] if terminated or truncated else after
    return steps


def vector_of_gymnasium():
    """Gymnasium's own vectorised CartPole, a thousand in NumPy, for one episode's time limit."""
    envs, chance = gymnasium.make_vec("CartPole-v1", CARTPOLE_ROWS), np.random.default_rng(0)
    seen, kept = envs.reset(seed=0)[0], []
    for _ in range(CARTPOLE_STEPS):
        action = (chance.random(CARTPOLE_ROWS) < lean(seen)).astype(int)
        after, reward, terminated, _, _ = envs.step(action)
        kept.append((seen, action, reward, terminated))
        seen = after
    return CARTPOLE_ROWS * CARTPOLE_STEPS


def contenders():
    pole = environments.cartpole(**CARTPOLE, horizon=CARTPOLE_STEPS)
    point = environments.point_navigation(horizon=POINT_STEPS)
    on_host = environments.gymnasium("CartPole-v1", {}, horizon=CARTPOLE_STEPS)
    made = functools.partial(in_tfmeta, jit_compile=True)
    return {
        "cartpole": in_tfmeta(pole, hold, CARTPOLE_ROWS),
        "cartpole, XLA": made(pole, hold, CARTPOLE_ROWS),
        "loop over Gymnasium": loop_over_gymnasium,
        "Gymnasium's vector": vector_of_gymnasium,
        "gymnasium family": in_tfmeta(on_host, hold, FEW_ROWS),
        "point navigation": in_tfmeta(point, walk, POINT_ROWS),
        "point navigation, XLA": made(point, walk, POINT_ROWS),
    }


if __name__ == "__main__":
    answer(contenders())
