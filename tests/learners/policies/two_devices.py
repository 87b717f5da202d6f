"""Run by `test_two_devices.py`: policies on one and on two logical CPUs."""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import keras
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from tfmeta.environments import cartpole, grid_navigation, point_navigation
from tfmeta.learners import MAMLPPO, MAMLTRPO, RL2, ProMP, SNAILPolicy, VariBAD

# Poles fall sooner or later: the replicas have not as many steps.
POLE = cartpole(horizon=20)
GRID = grid_navigation(size=3, horizon=3, episodes=2)
POINT = point_navigation(horizon=3)
LEARNERS = {
    "RL2": lambda: RL2(POLE, units=4),
    "RL2-rewards": lambda: RL2(GRID, units=4, reward_weight=1.0),
    "SNAILPolicy": lambda: SNAILPolicy(GRID, filters=3, attention=((4, 2), (3, 5))),
    "VariBAD": lambda: VariBAD(GRID, units=4, latent_size=2),
    "MAMLPPO": lambda: MAMLPPO(POINT, updates=2),
    "ProMP": lambda: ProMP(POINT, updates=2),
}


def train(make, strategy):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        learner = make()
        learner.compile(keras.optimizers.SGD(0.05), jit_compile=False)
    tasks = learner.environment.tasks(2, 4, seed=0)
    how = {"steps_per_epoch": 2, "validation_data": tasks, "validation_steps": 1, "verbose": 0}
    history = learner.fit(tasks, **how)
    return [v.numpy() for v in learner.trainable_variables], history.history


# One strategy for all: the collectives of a second one meet those of the first.
two_cpus = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
for name, make in LEARNERS.items():
    one, one_history = train(make, tf.distribute.get_strategy())
    two, two_history = train(make, two_cpus)
    error = max(np.abs(a - b).max() for a, b in zip(one, two, strict=True))
    logs = [(one_history[k][0], two_history[k][0]) for k in one_history]
    error = max(error, *[abs(a - b) / max(1.0, abs(a)) for a, b in logs])
    print(f"RESULT {name} {error}", flush=True)
with two_cpus.scope():
    learner = MAMLTRPO(POINT)
    learner.compile()
try:
    learner.fit(POINT.tasks(2, 4), steps_per_epoch=1, verbose=0)
except ValueError as error:
    print(f"REFUSED {error}")
