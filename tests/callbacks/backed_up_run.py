"""Run by `test_backup.py`: runs of one learner that are killed and started again, in one process.

Arguments: a folder, "dense", "conv" or "policy", the number of kills. Prints a line of JSON a run.
TensorFlow is imported once, and each run is a fork of this process: it has not started yet here.
"""

import json
import os
import pathlib
import random
import resource
import signal
import sys
import threading
import warnings

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["OMP_NUM_THREADS"] = "1"

import keras
import numpy as np

import tfmeta

FOLDER, KIND, KILLS = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
EPOCHS, STEPS_PER_EPOCH = 20, 7
POLE = tfmeta.environments.cartpole(horizon=6)
SAVE_FREQ = 3  # neither divides an epoch nor is divided by it


def learner():
    keras.utils.set_random_seed(0)
    if KIND == "policy":
        made = tfmeta.learners.RL2(POLE, units=8)
        made.compile(keras.optimizers.Adam(0.01))
        return made
    dropout = keras.layers.Dropout(0.2, seed=3)
    if KIND == "dense":
        layers = [keras.Input((1,)), keras.layers.Dense(8, "relu"), dropout, keras.layers.Dense(1)]
        made = tfmeta.learners.MAML(keras.Sequential(layers))
        made.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"], jit_compile=True)
        return made
    layers = [
        keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization(),
        keras.layers.ReLU(), dropout, keras.layers.Flatten(),
    ]  # fmt: skip
    made = tfmeta.learners.ProtoNet(keras.Sequential(layers))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    made.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"], jit_compile=False)
    return made


def episodes():
    if KIND == "policy":
        return POLE.tasks(meta_batch_size=2, seed=5)
    if KIND == "dense":
        return tfmeta.episodes.sinusoid(meta_batch_size=2, seed=5)
    random_numbers = np.random.default_rng(0)
    x = random_numbers.random((30, 8, 8, 1), "float32")
    data = tfmeta.datasets.from_arrays(x, np.repeat(np.arange(6), 5))
    return tfmeta.episodes.classification(data, ways=3, queries=2, meta_batch_size=2, seed=5)


class Faults(keras.callbacks.Callback):
    """One fault, from step `at` on.

    - "kill": SIGKILL, at any moment from then on.
    - "inside": a backup may have `size` bytes. The system kills a process inside the write that
      goes beyond: SIGXFSZ is as sudden as SIGKILL, and leaves a truncated file.
    - "full": the same with the signal ignored, as Python does: the write fails as on a full disk.
      SIGKILL comes some steps later.
    """

    def __init__(self, fault, at, size, seconds):
        super().__init__()
        self.fault, self.at, self.size, self.steps = fault, at, size, 0
        self.killer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))

    def limit(self, size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def on_train_batch_begin(self, batch, logs=None):
        if self.fault in ("inside", "full") and self.steps >= self.at:
            handler = signal.SIG_DFL if self.fault == "inside" else signal.SIG_IGN
            signal.signal(signal.SIGXFSZ, handler)
            self.limit(self.size)  # the callback of backups comes before this one's end of a batch

    def on_train_batch_end(self, batch, logs=None):
        self.limit(resource.RLIM_INFINITY)
        self.steps += 1
        later = {"kill": 0, "full": 2 * SAVE_FREQ}
        if self.fault in later and self.steps == self.at + later[self.fault]:
            self.killer.start()


def train(backup, *fault):
    made = learner()
    backups = tfmeta.callbacks.BackupAndRestore(backup, save_freq=SAVE_FREQ)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = made.fit(
            episodes(), epochs=EPOCHS, steps_per_epoch=STEPS_PER_EPOCH, verbose=0,
            callbacks=[backups, Faults(*fault)],
        ).history  # fmt: skip
    texts = [str(w.message) for w in caught if "backup" in str(w.message).lower()]
    say(restored=backups.restored, iterations=int(made.optimizer.iterations), said=texts)
    last = [history[name][-1] for name in sorted(history)]
    flat = [np.ravel(v) for v in (*made.variables, *made.optimizer.variables, last)]
    np.save(f"{backup}.npy", np.concatenate(flat).astype("float64"))


def say(**facts):
    print(json.dumps(facts), flush=True)


def run(backup, fault="none", at=0, size=0, seconds=0.0):
    """Run `train` in a fork, and say how it ended and what it left."""
    child = os.fork()
    if not child:
        try:
            train(backup, fault, at, size, seconds)
        except BaseException as error:
            say(error=repr(error))
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    ended = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else status
    say(fault=fault, at=at, ended=ended, left=sorted(p.name for p in backup.glob("*")))


def main():
    chance = random.Random(0)
    run(FOLDER / "whole")
    for kill in range(KILLS):
        fault = {0: "full", 1: "inside"}.get(kill % 10 if kill % 10 == 0 else kill % 4, "kill")
        at, size, seconds = chance.randrange(2, 8), chance.randrange(1, 2500), chance.random() / 100
        run(FOLDER / "killed", fault, at, size, seconds)
    run(FOLDER / "killed")
    say(cpu_seconds=sum(os.times()[:4]))


main()
