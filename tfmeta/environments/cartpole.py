"""Balance a pole on a cart, whose length, mass and motor nobody tells."""

import keras
import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_integer, is_number
from tfmeta.environments.environment import Discrete, Environment
from tfmeta.ops import random_numbers as rng

GRAVITY, CART_MASS, STEP_SECONDS = 9.8, 1.0, 0.02
MOST_PLACE, MOST_ANGLE = 2.4, float(np.radians(12))


@keras.saving.register_keras_serializable("tfmeta")
class CartPole(Environment):
    """CartPole with other dynamics in each task; made by `cartpole`."""

    observation_size = 4
    actions = Discrete(2)
    task_draws = 3
    reset_draws = 4

    def __init__(
        self,
        length=(0.25, 1.5),
        masspole=(0.05, 0.5),
        force_mag=(5.0, 15.0),
        horizon=500,
        episodes=1,
    ):
        self.length = _check_range("length", length)
        self.masspole = _check_range("masspole", masspole)
        self.force_mag = _check_range("force_mag", force_mag)
        self.horizon = check_integer("horizon", horizon, 1)
        self.episodes = check_integer("episodes", episodes, 1)

    def draw_task(self, bits):
        """A dict of half the pole's length, its mass and the motor's force, `[E]` each."""
        names = ("length", "masspole", "force_mag")
        pairs = zip(names, tf.unstack(bits, len(names)), strict=True)
        return {name: rng.uniform(numbers, *getattr(self, name)) for name, numbers in pairs}

    def reset(self, task, bits):
        return tf.transpose(rng.uniform(bits, -0.05, 0.05))

    def observe(self, task, state):
        return state

    def step(self, task, state, action, bits):
        length, mass = task["length"], task["masspole"]
        total = mass + CART_MASS
        place, speed, angle, turning = tf.unstack(state, axis=1)
        force = task["force_mag"] * tf.cast(2 * action - 1, tf.float32)
        sine, cosine = tf.sin(angle), tf.cos(angle)
        push = (force + mass * length * tf.square(turning) * sine) / total
        turned = (GRAVITY * sine - cosine * push) / (
            length * (4 / 3 - mass * tf.square(cosine) / total)
        )
        moved = push - mass * length * turned * cosine / total
        changes = tf.stack([speed, moved, turning, turned], axis=1)
        state += STEP_SECONDS * changes
        fallen = (tf.abs(state[:, 0]) > MOST_PLACE) | (tf.abs(state[:, 2]) > MOST_ANGLE)
        return state, tf.ones_like(place), fallen


def _check_range(name, values):
    """A pair of numbers above 0, the first not above the second, as a tuple."""
    pair = isinstance(values, tuple | list) and len(values) == 2 and all(map(is_number, values))
    if not pair or not 0 < values[0] <= values[1] < np.inf:
        raise ValueError(
            f"Expected {name} to be (low, high) with 0 < low <= high. Received: {name}={values!r}."
        )
    return tuple(map(float, values))


def cartpole(
    length: tuple[float, float] = (0.25, 1.5),
    masspole: tuple[float, float] = (0.05, 0.5),
    force_mag: tuple[float, float] = (5.0, 15.0),
    horizon: int = 500,
    episodes: int = 1,
) -> Environment:
    """CartPole, whose pole and motor differ from task to task, in the graph.

    A cart is pushed to the left or to the right, and the reward is 1 for each step until the pole
    leans by more than 12 degrees or the cart is 2.4 away from the middle. The observation is place
    and speed of the cart, angle and angular speed of the pole. It is the CartPole-v1 of Gymnasium,
    with its names; `tfmeta.environments.gymnasium("CartPole-v1")` draws the same tasks by the same
    seed and number, and takes tens of times as long.

    Args:
        length: range of half the pole's length, `(low, high)`. Gymnasium: 0.5.
        masspole: range of the pole's mass. Gymnasium: 0.1.
        force_mag: range of the force that pushes. Gymnasium: 10.
        horizon: steps of an episode.
        episodes: episodes of a task.

    Returns:
        `tfmeta.environments.Environment`. A task is a dict of "length", "masspole", "force_mag".

    Raises:
        ValueError: an argument is out of range.

    Reference:
        Barto, Sutton and Anderson, "Neuronlike adaptive elements that can solve difficult learning
        control problems" (1983), and `envs/classic_control/cartpole.py` of Gymnasium 1.4.
    """
    return CartPole(length, masspole, force_mag, horizon, episodes)
