"""Run by `test_workers.py`: learners on two workers, and in one process with the same meta-batch.

Arguments: a folder, the number of steps, names of learners. Prints a line of JSON for each.
"""

import os
import pathlib
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf
from distribution.processes import config, ends, free_ports, say, start

import tfmeta

FOLDER, STEPS, NAMES = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]


# In float32 fifty steps of normalisation over a few rows make 0.2 of the last digit that sums in
# another order leave: in float64 what remains is what was computed differently.
keras.config.set_floatx("float64")


def conv4(outputs):
    """A small Conv4 with normalisation and dropout."""
    network = tfmeta.networks.conv4((8, 8, 1), outputs, filters=4)
    x = keras.layers.Dropout(0.2, seed=3)(network.layers[-1].input)
    return keras.Model(network.input, keras.layers.Dense(outputs or 4)(x))


def small():
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dropout(0.2, seed=3)]
    return keras.Sequential([*layers, keras.layers.Dense(4), keras.layers.BatchNormalization()])


LEARNERS = {
    "small": lambda: tfmeta.learners.ProtoNet(small()),
    "MAML": lambda: tfmeta.learners.MAML(conv4(3), inner_learning_rate=0.1),
    "MAMLPlusPlus": lambda: tfmeta.learners.MAMLPlusPlus(
        tfmeta.networks.conv4((8, 8, 1), 3, filters=2), inner_steps=2, inner_learning_rate=0.1
    ),
    "ProtoNet": lambda: tfmeta.learners.ProtoNet(conv4(None)),
    "Reptile": lambda: tfmeta.learners.Reptile(conv4(3), inner_steps=2, inner_learning_rate=0.1),
}


def episodes(**share):
    x = np.random.default_rng(0).random((40, 8, 8, 1), "float32")
    data = tfmeta.datasets.from_arrays(x, np.repeat(np.arange(8), 5))
    return tfmeta.episodes.classification(data, ways=3, queries=2, seed=5, **share)


def train(name, strategy, share, validation):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        learner = LEARNERS[name]()
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        # A small rate: at 0.05 MAML's fifty steps make 0.3 of the last digit of float64, too.
        # XLA, which several workers do without, draws other random numbers for dropout.
        optimizer = keras.optimizers.SGD(0.005, 0.9)
        learner.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)
    history = learner.fit(
        episodes(**share), steps_per_epoch=STEPS, validation_data=episodes(**validation), verbose=0
    ).history
    weights = {f"w{i:03}": keras.ops.convert_to_numpy(v) for i, v in enumerate(learner.variables)}
    return weights | {name: np.array(values) for name, values in history.items()}


def one_process():
    whole = {"meta_batch_size": 4}
    for name in NAMES:
        found = train(name, tf.distribute.get_strategy(), whole, whole | {"count": 8})
        np.savez(FOLDER / f"{name}_one.npz", **found)


def worker(number):
    strategy = tfmeta.distribution.join(timeout=120)
    share, validation = (tfmeta.distribution.share(4, count) for count in (None, 8))
    for name in NAMES:
        found = train(name, strategy, share, validation)
        np.savez(FOLDER / f"{name}_{number}.npz", **found)


def main():
    ports = free_ports(2)
    children = [start(one_process)]
    children += [start(worker, w, tf_config=config(ports, w)) for w in range(2)]
    say(ends=ends(children, 3000))
    for name in NAMES:
        one, first, second = (np.load(FOLDER / f"{name}_{w}.npz") for w in ("one", 0, 1))
        errors = {k: float(np.abs(one[k] - first[k]).max()) for k in one.files if one[k].size}
        same = all((first[k] == second[k]).all() for k in first.files)
        names = one.files == first.files == second.files
        say(learner=name, error=max(errors.values()), same=bool(same and names), errors=errors)
    say(cpu_seconds=sum(os.times()[:4]))


main()
