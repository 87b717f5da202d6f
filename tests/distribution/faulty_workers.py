"""Run by `test_workers.py`: what goes wrong with two workers. Arguments: a folder, names of faults.

Prints a line of JSON for each error that a worker raises, and one for how both ended.
"""

import os
import pathlib
import signal
import socket
import sys
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
from distribution.processes import config, ends, free_ports, say, start

import tfmeta

FOLDER, NAMES = pathlib.Path(sys.argv[1]), sys.argv[2:]
EPOCHS, STEPS = 3, 4


def fit(strategy, share, name="", callbacks=()):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        layers = [keras.Input((1,)), keras.layers.Dense(4, "relu"), keras.layers.Dropout(0.2)]
        learner = tfmeta.learners.MAML(keras.Sequential([*layers, keras.layers.Dense(1)]))
        learner.compile("adam", "mse")
    backups = tfmeta.callbacks.BackupAndRestore(FOLDER / f"backup{name}", save_freq=3)
    history = learner.fit(
        tfmeta.episodes.sinusoid(seed=5, **share), epochs=EPOCHS, steps_per_epoch=STEPS, verbose=0,
        callbacks=[backups, *callbacks],
    ).history  # fmt: skip
    flat = [np.ravel(keras.ops.convert_to_numpy(v)) for v in learner.variables]
    end = np.concatenate([*flat, history["loss"][-1:]]).tobytes().hex()
    say(name=name, restored=backups.restored, end=end)


class At(keras.callbacks.Callback):
    """Does something at the end of one step."""

    def __init__(self, step, action):
        super().__init__()
        self.left, self.action = step, action

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            self.action()


def sizes(worker):
    fit(tfmeta.distribution.join(60), tfmeta.distribution.share([4, 8][worker]))


def same(worker):
    fit(tfmeta.distribution.join(60), {"meta_batch_size": 2})


def whole(worker):
    fit(tfmeta.distribution.join(60), tfmeta.distribution.share(4), "whole")


def killed(worker):
    kill = At(8, lambda: os.kill(os.getpid(), signal.SIGKILL))
    fit(tfmeta.distribution.join(60), tfmeta.distribution.share(4), "killed", [kill] * worker)


def elsewhere(worker):
    """The chief finds the backup of the killed run, the other one does not."""
    fit(tfmeta.distribution.join(60), tfmeta.distribution.share(4), ["killed", "else"][worker])


def again(worker):
    fit(tfmeta.distribution.join(60), tfmeta.distribution.share(4), "killed")


def stuck(worker):
    sleep = At(2, lambda: time.sleep(30))
    fit(tfmeta.distribution.join(8), tfmeta.distribution.share(4), "stuck", [sleep] * worker)


def late(worker):
    if worker == 0:
        tfmeta.distribution.join(2)


def leaderless(worker):
    if worker == 1:
        tfmeta.distribution.join(2)


def clusters(worker):
    if worker == 1:
        os.environ["TF_CONFIG"] = os.environ["TF_CONFIG"].replace("localhost", "127.0.0.1")
    tfmeta.distribution.join(20)


def port(worker):
    tfmeta.distribution.join(2)


def main():
    for name in NAMES:
        ports = free_ports(2)
        taken = socket.socket()
        if name == "port":
            taken.bind(("", ports[1]))
        began = time.monotonic()
        children = [start(globals()[name], w, tf_config=config(ports, w)) for w in range(2)]
        say(fault=name, ends=ends(children), seconds=time.monotonic() - began)
        taken.close()
    say(cpu_seconds=sum(os.times()[:4]))


main()
