"""Walk to a goal in the plane that nobody tells."""

import keras
import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.environments.environment import Box, Environment
from tfmeta.ops import random_numbers as rng


@keras.saving.register_keras_serializable("tfmeta")
class PointNavigation(Environment):
    """A point in the plane walks to a goal; made by `point_navigation`."""

    observation_size = 2
    actions = Box(2, -0.1, 0.1)
    task_draws = 2

    def __init__(self, horizon=100):
        self.horizon = check_integer("horizon", horizon, 1)

    def draw_task(self, bits):
        """Goals `[E, 2]`."""
        return tf.transpose(rng.uniform(bits, -0.5, 0.5))

    def reset(self, task, bits):
        return tf.zeros_like(task)

    def observe(self, task, state):
        return state

    def step(self, task, state, action, bits):
        state += tf.clip_by_value(action, self.actions.low, self.actions.high)
        distance = tf.norm(state - task, axis=-1)
        return state, -distance, distance < 0.01


def point_navigation(horizon: int = 100) -> Environment:
    """2-D navigation: goals uniform in -0.5..0.5 squared, the start in the middle.

    An action moves the point by at most 0.1 along each axis, the reward is minus the distance to
    the goal after it, and an episode is over within 0.01 of the goal or after `horizon` steps. The
    observation is the position, not the goal.

    Args:
        horizon: steps of an episode.

    Returns:
        `tfmeta.environments.Environment`. A task is a goal, `[2]`.

    Raises:
        ValueError: an argument is out of range.

    Reference:
        Finn, Abbeel and Levine, "Model-agnostic meta-learning for fast adaptation of deep
        networks" (2017), section 5.3 and `rllab/envs` of cbfinn/maml_rl. arXiv:1703.03400
    """
    return PointNavigation(horizon)
