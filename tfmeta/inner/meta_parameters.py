"""Variables that are meta-learned, and no weights of the network."""

import keras


class MetaParameters(keras.layers.Layer):
    """A layer that only holds variables, so that Keras trains and saves them with the learner.

    Args:
        values: dict from a name to a variable's first value, an array.
        **kwargs: `name`, as in `keras.layers.Layer`.
    """

    def __init__(self, values, **kwargs):
        super().__init__(**kwargs)
        for name, value in values.items():
            variable = self.add_weight(shape=value.shape, dtype=value.dtype.name, name=name)
            variable.assign(value)
        self.built = True

    def call(self, inputs):
        return inputs
