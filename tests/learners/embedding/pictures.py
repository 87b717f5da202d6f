"""Pictures and a network for the tests of learners on a pretrained network."""

import numpy as np
import tasks

import tfmeta


def embedding(width=4):
    return tasks.convolutional(width, norm=False)


def task(shots=2):
    """Support set and query inputs of one task of three ways, NumPy."""
    episodes = tasks.images(shots=shots)
    return tasks.one(episodes.support), tasks.one(episodes.query).x


def base_classes(classes=6, rows=8):
    """Noisy pictures, `ClassDataset`."""
    random = np.random.default_rng(0)
    x = np.repeat(random.normal(size=(classes, 8, 8, 1)), rows, axis=0)
    x = (x + 0.3 * random.normal(size=x.shape)).astype("float32")
    return tfmeta.datasets.from_arrays(x, np.repeat(np.arange(classes), rows))


def softmax(logits):
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def unit(x, axis):
    return x / np.linalg.norm(x, axis=axis, keepdims=True)
