"""A tiny search that the tests of tuning share."""

import keras
import numpy as np

import tfmeta

TRAIN = tfmeta.episodes.sinusoid(shots=3, queries=3, meta_batch_size=2, seed=0)
VALIDATION = tfmeta.episodes.sinusoid(shots=3, queries=3, meta_batch_size=2, seed=1, count=4)
# Compiling the steps anew in each trial would take longer than these few of them.
COMPILE = {"optimizer": "adam", "loss": "mse", "run_eagerly": True}
OPTIONS = {"steps_per_epoch": 2, "epochs": 1, "validation_data": VALIDATION, "verbose": 0}


def network():
    return tfmeta.networks.mlp((1,), 1, hidden=(4,))


def hypermodel(learner=tfmeta.learners.MAML, network=network, compile=COMPILE, **kwargs):
    kwargs.setdefault("fixed", {"inner_steps": 1, "first_order": True})
    return tfmeta.tuning.MetaHyperModel(learner, network, compile=compile, **kwargs)


def tuner_of(folder, model=None, **kwargs):
    """A random search of one trial."""
    import keras_tuner

    kwargs = {"objective": "val_loss", "max_trials": 1, "seed": 1} | kwargs
    return keras_tuner.RandomSearch(model or hypermodel(), directory=folder, **kwargs)


def search(tuner, **kwargs):
    """Search, and return `{trial id: trial}`."""
    tuner.search(TRAIN, **OPTIONS | kwargs)
    return tuner.oracle.trials


def values(learner):
    """All weights, in one array."""
    return np.concatenate([np.ravel(keras.ops.convert_to_numpy(v)) for v in learner.variables])
