"""Run by `test_as_keras_optimizer.py`: on one and on two logical CPUs."""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import keras
import numpy as np
import tasks
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

import tfmeta
from tfmeta.inner import RuleOptimizer
from tfmeta.learners import LearnedOptimizer, LSTMRule, PersistentES


def learner(strategy):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        made = LearnedOptimizer(
            tasks.dense(), rule=LSTMRule((4,)), inner_steps=6, unroll_length=2, fewest_steps=2,
            outer_gradient=PersistentES(0.05),
        )  # fmt: skip
        made.compile(keras.optimizers.Adam(0.01), "mse")
    made.fit(tasks.dataset(tasks.regression(tasks=4), 4), verbose=0)
    return made.variables


def model(strategy):
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
    with strategy.scope():
        network = tfmeta.networks.mlp((4,), 2, hidden=(8,))
        network.compile(RuleOptimizer(LSTMRule((4,))), "mse")
    network.fit(x, x[:, :2], batch_size=16, epochs=2, shuffle=False, verbose=0)
    return [*network.variables, *network.optimizer.variables]


two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
for run in (learner, model):
    one, both = ([np.array(v) for v in run(s)] for s in (tf.distribute.get_strategy(), two))
    error = max(np.abs(a - b).max() for a, b in zip(one, both, strict=True))
    print(f"RESULT {error}", flush=True)
