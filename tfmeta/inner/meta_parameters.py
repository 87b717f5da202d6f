"""Variables that are meta-learned, and no weights of the network."""

import keras


class MetaParameters(keras.layers.Layer):
    """A layer that only holds variables, so that Keras trains and saves them with the learner.

    Args:
        values: dict from a name to a variable's first value, an array.
        fixed: the same for variables that no gradient reaches.
        **kwargs: `name`, as in `keras.layers.Layer`.
    """

    def __init__(self, values, fixed=None, **kwargs):
        super().__init__(**kwargs)
        fixed = fixed or {}
        for name, value in (values | fixed).items():
            variable = self.add_weight(
                shape=value.shape, dtype=value.dtype.name, name=name, trainable=name not in fixed
            )
            variable.assign(value)
        self.built = True

    def call(self, inputs):
        return inputs
