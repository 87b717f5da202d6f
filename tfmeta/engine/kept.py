"""Compiled functions that belong to a learner, kept from one call to the next.

They hang on the learner itself, and are gone with it: a table of them elsewhere would keep alive
the learner that they read.
"""

import functools
import threading

import keras
import tensorflow as tf

from tfmeta.backend.private_keras import layers_of, variables_of_its_own

_MOST = 32  # of one learner: a score that is a new lambda at each call must not fill the memory
_LOOPS = {"history", "stop_training", "stop_evaluating", "stop_predicting"}  # of Keras's loops


class _Functions:
    """The functions of one learner; no container, which Keras would look into when it saves."""

    def __init__(self):
        self.made = {}
        self.lock = threading.Lock()


def kept(learner, key, make):
    """What `make` returned for this key before, as long as the learner is what it was then.

    It is made anew after `compile`, after an attribute of the learner was set, and when other
    weights or layers are trainable. Weights may change: they are read when a function runs.

    Args:
        learner: a learner, or anything with attributes.
        key: a hashable value.
        make: function without arguments to anything, such as a `tf.function`.

    Returns:
        What `make` returned.
    """
    functions = vars(learner).setdefault("_kept_functions", _Functions())
    key, facts = (key, tf.config.functions_run_eagerly()), _facts(learner)
    with functions.lock:
        made_for, made = functions.made.pop(key, (None, None))
        if made_for is None or not _same(made_for, facts):
            made = make()
        functions.made[key] = facts, made  # the last used is the last to go
        while len(functions.made) > _MOST:
            del functions.made[next(iter(functions.made))]
    return made


def forget(learner):
    """Drop a learner's functions: what they were traced with has changed."""
    vars(learner).pop("_kept_functions", None)


def attribute_was_set(learner, name):
    """Drop a learner's functions if they may read the attribute of this name."""
    if not (name.startswith("_") or name in _LOOPS or name in _of_every_model()):
        forget(learner)


@functools.cache
def _of_every_model():
    """Names of what every Keras model has: set by Keras, at each `fit`."""
    return {*vars(keras.Model()), *dir(keras.Model)}


def _facts(learner):
    """What a trace depends on and may change behind the learner's back, a flat list."""
    layers = layers_of(learner)
    return [x for layer in layers for x in (layer, layer.trainable, *variables_of_its_own(layer))]


def _same(old, new):
    return len(old) == len(new) and all(a is b for a, b in zip(old, new, strict=True))
