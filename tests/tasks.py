"""Small episodes and networks that many tests share."""

import keras
import numpy as np
import tensorflow as tf

import tfmeta

CROSSENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def regression(tasks=3, rows=4, width=1, dtype="float32", seed=0):
    """A meta-batch of lines with noise, `Episode` of tensors."""
    random = np.random.default_rng(seed)
    slope = random.normal(size=(tasks, width, 1))

    def examples():
        x = random.normal(size=(tasks, rows, width)).astype(dtype)
        y = (x @ slope + 0.1 * random.normal(size=(tasks, rows, 1))).astype(dtype)
        return tfmeta.Examples(*map(tf.constant, (x, y, np.ones((tasks, rows), "float32"))))

    return tfmeta.Episode(examples(), examples())


def images(tasks=2, ways=3, shots=1, queries=2, size=8, dtype="float32", seed=0):
    """A meta-batch of noisy pictures of a few classes, `Episode` of tensors."""
    random = np.random.default_rng(seed)
    classes = random.normal(size=(tasks, ways, size, size, 1))

    def examples(per_class):
        x = np.repeat(classes, per_class, axis=1)
        x = (x + 0.3 * random.normal(size=x.shape)).astype(dtype)
        y = np.tile(np.repeat(np.arange(ways, dtype="int32"), per_class), (tasks, 1))
        return tfmeta.Examples(*map(tf.constant, (x, y, np.ones(y.shape, "float32"))))

    return tfmeta.Episode(examples(shots), examples(queries))


def dataset(episode, repeat=None):
    """A `tf.data.Dataset` that gives one meta-batch, again and again."""
    return tf.data.Dataset.from_tensors(episode).repeat(repeat)


def one(examples, task=0):
    """One task of a meta-batch of `Examples`, as NumPy arrays."""
    return tfmeta.Examples(*[t[task].numpy() for t in examples])


def line():
    """A line of slope 0.5 and offset 0.2."""
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    network.set_weights([np.array([[0.5]], "float32"), np.array([0.2], "float32")])
    return network


def dense(outputs=1, inputs=1, dtype="float32", seed=0, **kwargs):
    """A smooth network: tanh, so that central differences meet no kink."""
    keras.utils.set_random_seed(seed)
    layers = [
        keras.Input((inputs,), dtype=dtype),
        keras.layers.Dense(5, "tanh", dtype=dtype, bias_initializer="random_normal"),
        keras.layers.Dense(4, "tanh", dtype=dtype),
        keras.layers.Dense(outputs, dtype=dtype, **kwargs),
    ]
    return keras.Sequential(layers)


def convolutional(outputs=3, size=8, dtype="float32", seed=0, norm=True, dropout=0.0):
    """A small convolutional network with normalisation and pooling."""
    keras.utils.set_random_seed(seed)
    layers = [keras.Input((size, size, 1), dtype=dtype)]
    for filters in (3, 4):
        layers.append(keras.layers.Conv2D(filters, 3, padding="same", dtype=dtype))
        if norm:
            layers.append(keras.layers.BatchNormalization(dtype=dtype))
        layers += [
            keras.layers.Activation("tanh", dtype=dtype),
            keras.layers.MaxPooling2D(dtype=dtype),
        ]
    if dropout:
        layers.append(keras.layers.Dropout(dropout, dtype=dtype))
    return keras.Sequential(
        [*layers, keras.layers.Flatten(dtype=dtype), keras.layers.Dense(outputs, dtype=dtype)]
    )
