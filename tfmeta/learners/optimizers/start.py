"""Where the training of a network begins: weights drawn anew for each task."""

import keras
import tensorflow as tf

from tfmeta.backend.private_keras import layers_of, variables_of_its_own
from tfmeta.learners.gradient.adapted_part import AllWeights


class DrawnWeights(AllWeights):
    """Every trainable weight of the network, drawn by its own initializer.

    A weight whose layer has no initializer of its name (`kernel_initializer` of `kernel`) starts
    at the network's own value.
    """

    def start(self, learner, weights, support_loss, support, training):
        drawn = initializers(learner.inner_network())
        values = []
        for variable, weight in zip(learner.network_weights(), weights, strict=True):
            initializer = drawn.get(id(variable))
            if initializer is not None:
                initializer = seeded(initializer, learner.seeds)
                weight = tf.cast(initializer(variable.shape, dtype=variable.dtype), weight.dtype)
            values.append(weight)
        return values


def initializers(network):
    """id of a variable -> the Keras initializer that its layer has for it."""
    found = {}
    for layer in layers_of(network):
        for variable in variables_of_its_own(layer):
            for stem in (variable.name, variable.name.removesuffix("_kernel")):
                initializer = getattr(layer, f"{stem}_initializer", None)
                if isinstance(initializer, keras.initializers.Initializer):
                    found.setdefault(id(variable), initializer)
    return found


def seeded(initializer, seeds):
    """A copy of an initializer that draws from a `keras.random.SeedGenerator`."""
    config = initializer.get_config()
    return type(initializer)(**config | {"seed": seeds}) if "seed" in config else initializer
