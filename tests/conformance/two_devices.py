"""Run by `test_distribution.py`: every learner on one and on two logical CPUs."""

import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

import tasks
from conformance import catalogue
from conformance.test_distribution import rows


def train(row, strategy):
    with strategy.scope():
        learner = row.compiled(metrics=["accuracy" if row.images else "mae"])
    data = tasks.dataset(row.episodes(count=4), 3)
    history = learner.fit(data, validation_data=data.take(1), verbose=0).history
    return catalogue.weights(learner), history


# One strategy for all: the collectives of a second one meet those of the first.
two_cpus = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
for name, row in rows(int(sys.argv[1]) if sys.argv[1:] else None).items():
    one, one_history = train(row, tf.distribute.get_strategy())
    two, two_history = train(row, two_cpus)
    error = max(np.abs(a - b).max() for a, b in zip(one, two, strict=True))
    error = max(error, *[abs(one_history[k][0] - two_history[k][0]) for k in one_history])
    print(f"RESULT {name} {error}", flush=True)
