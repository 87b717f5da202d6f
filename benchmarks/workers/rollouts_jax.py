"""Point navigation in JAX as gymnax writes environments: `step` under `vmap`, in a `scan`."""

import jax
import jax.numpy as jnp

from benchmarks.workers.rollout_policies import POINT_ROWS, POINT_STEPS, answer, point_weights

WEIGHTS = [tuple(map(jnp.array, pair)) for pair in point_weights()]


def step(goal, place, action):
    """As of `tfmeta.environments.point_navigation`, of one row."""
    place = place + jnp.clip(action, -0.1, 0.1)
    distance = jnp.linalg.norm(place - goal)
    return place, -distance, distance < 0.01


def policy(key, place):
    x = place
    for kernel, bias in WEIGHTS[:-1]:
        x = jax.nn.relu(x @ kernel + bias)
    kernel, bias = WEIGHTS[-1]
    return x @ kernel + bias + 0.1 * jax.random.normal(key, (2,))


def live(key, goal):
    """One trajectory of one row."""

    def one(carry, key):
        place, alive = carry
        action = policy(key, place)
        moved, reward, done = step(goal, place, action)
        lived = place, action, reward * alive, alive, done * alive
        return (jnp.where(alive > 0, moved, place), alive * (1.0 - done)), lived

    _, lived = jax.lax.scan(one, (jnp.zeros(2), 1.0), jax.random.split(key, POINT_STEPS))
    return lived


@jax.jit
def live_all(key):
    goals, keys = jax.random.split(key)
    goals = jax.random.uniform(goals, (POINT_ROWS, 2), minval=-0.5, maxval=0.5)
    return jax.vmap(live)(jax.random.split(keys, POINT_ROWS), goals)


def point():
    found = jax.block_until_ready(live_all(jax.random.key(0)))
    return found[3].sum()


if __name__ == "__main__":
    answer({"point navigation": point})
