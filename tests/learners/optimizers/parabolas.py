"""One weight on a parabola: tasks whose losses are known."""

import keras
import numpy as np
import tensorflow as tf

import tfmeta

SQUARES = keras.losses.MeanSquaredError(reduction="sum")
STEPS, STRETCH = 8, 2


def line(start=1.0, dtype="float64"):
    """A network of one weight; on the episode below its loss is (w - 2)^2."""
    layer = keras.layers.Dense(
        1, use_bias=False, kernel_initializer=keras.initializers.Constant(start), dtype=dtype
    )
    return keras.Sequential([keras.Input((1,), dtype=dtype), layer])


def parabola(tasks_, dtype="float64", target=2.0):
    x = np.ones((tasks_, 1, 1), dtype)
    examples = tfmeta.Examples(*map(tf.constant, (x, target * x, np.ones((tasks_, 1), "float32"))))
    return tfmeta.Episode(examples, examples)
