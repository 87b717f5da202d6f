"""Small gradient policies, and where they act."""

import keras
import numpy as np
from learners.policies.two_steps import TwoSteps

import tfmeta
from tfmeta.environments import bandits, point_navigation
from tfmeta.learners import MAMLTRPO

PLANE = point_navigation(horizon=6)
ARMS = bandits(arms=3, pulls=4)


class NoSteps(TwoSteps):
    horizon = 0


def first(tasks):
    return next(iter(tasks))


def small(environment, hidden=(8,)):
    width = {PLANE: 2, ARMS: 3}[environment]
    return tfmeta.networks.mlp(environment.observation_size, width, hidden=hidden)


def made(cls=MAMLTRPO, environment=PLANE, seed=0, eagerly=False, **arguments):
    keras.utils.set_random_seed(seed)
    arguments = {"inner_learning_rate": 0.5, **arguments}
    learner = cls(environment, small(environment), **arguments)
    learner.compile(*[] if cls is MAMLTRPO else [keras.optimizers.Adam(0.01)], run_eagerly=eagerly)
    return learner


def tabular(seed=0):
    """Logits of two actions for each of three one-hot observations."""
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, use_bias=False)])
    rng = np.random.default_rng(seed)
    network.layers[0].kernel.assign(rng.normal(scale=0.5, size=(3, 2)))
    return network
