"""Learners as a user writes them, for the table of the conformance tests."""

import keras
import tensorflow as tf

from tfmeta.learners import MAML, MetaModel


@keras.saving.register_keras_serializable("tests")
class LayersOfItsOwn(MAML):
    """A learner in the way of a Keras subclass: layers in `__init__`, and `call`."""

    def __init__(self, width=6, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.encoder = keras.layers.Dense(width, "tanh")
        self.head = keras.layers.Dense(1)

    def call(self, x):
        return self.head(self.encoder(x))


@keras.saving.register_keras_serializable("tests")
class MethodOfItsOwn(MetaModel):
    """A user's method: shift an embedding's mean output to the mean support target."""

    supports_masks = True

    def __init__(self, width=4):
        super().__init__()
        self.width = width
        self.encoder = keras.layers.Dense(width, "tanh")
        self.head = keras.layers.Dense(1)

    def call(self, x):
        return self.head(self.encoder(x))

    def adapt(self, support):
        mask = support.mask[:, None]
        residual = (support.y - self(support.x)) * mask
        return {"shift": tf.reduce_sum(residual, axis=0) / tf.reduce_sum(mask)}

    def predict_query(self, adapted, x):
        return self(x) + adapted["shift"]
