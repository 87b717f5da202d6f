"""Run by `test_resume.py`: a training run that is backed up, and may kill itself.

Arguments: a folder, save_freq, the outer step to be killed at (0: never).
"""

import os
import signal
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import json
import pathlib

import keras
import numpy as np
import tensorflow as tf

import tfmeta

folder, save_freq, kill_at = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
save_freq = save_freq if save_freq == "epoch" else int(save_freq)
log = folder / "seen.jsonl"


class Learner(tfmeta.learners.MAML):
    """Writes down the first number of each meta-batch that it trains on."""

    def train_step(self, episodes):
        def write(step, value):
            if kill_at and step == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            with log.open("a") as file:
                file.write(json.dumps([int(step), float(value)]) + "\n")
            return np.int64(0)

        arguments = [self.optimizer.iterations.value, episodes[0].x[0, 0, 0]]
        with tf.control_dependencies([tf.numpy_function(write, arguments, tf.int64)]):
            return super().train_step(episodes)


keras.utils.set_random_seed(0)
layers = [keras.Input((1,)), keras.layers.Dense(8, "relu"), keras.layers.Dropout(0.2, seed=3)]
learner = Learner(keras.Sequential([*layers, keras.layers.Dense(1)]))
# XLA knows no tf.numpy_function.
learner.compile(keras.optimizers.Adam(0.01), "mse", jit_compile=False)
learner.fit(
    tfmeta.episodes.sinusoid(meta_batch_size=2, seed=5),
    steps_per_epoch=4,
    epochs=3,
    callbacks=[keras.callbacks.BackupAndRestore(folder / "backup", save_freq=save_freq)],
    verbose=0,
)
np.save(
    folder / "end.npy", np.concatenate([v.numpy().ravel() for v in learner.trainable_variables])
)
