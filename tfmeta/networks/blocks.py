"""What the networks share: checks of their arguments, normalisation, pooling."""

import math
from numbers import Integral

import keras

NORMS = ("batch", "layer", "group", None)


def check_positive(name, value, hint=""):
    """Returns `value` as an int; raises ValueError unless it is an integer from 1."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(
            f"Expected {name} to be an integer of at least 1{hint}. Received: {value!r}."
        )
    return int(value)


def check_outputs(outputs):
    """Returns `outputs` of a network whose head can be left out: an int, or None."""
    return (
        outputs if outputs is None else check_positive("outputs", outputs, ", or None for no head")
    )


def check_image_shape(input_shape):
    """Returns `input_shape` as a tuple of three ints."""
    is_shape = isinstance(input_shape, tuple | list) and len(input_shape) == 3
    if not is_shape or not all(isinstance(d, Integral) and d > 0 for d in input_shape):
        raise ValueError(
            "Expected input_shape to be (height, width, channels), three positive integers such as "
            f"(28, 28, 1). Received: {input_shape!r}."
        )
    return tuple(int(d) for d in input_shape)


def check_choice(name, value, choices):
    """Raises ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(
            f"Expected {name} to be one of {', '.join(map(repr, choices))}. Received: {value!r}."
        )


def normalize(x, norm, name):
    """Applies the normalisation called `norm` to feature maps.

    All three have one scale and one offset a channel, so a network has the same weights
    whichever is chosen. "layer" takes its statistics over height, width and channels of
    each example, which is group normalisation with a single group; "group" uses 8 groups,
    or the largest power of two below that divides the channels.

    Args:
        x: Keras tensor `[batch, height, width, channels]`.
        norm: "batch", "layer", "group" or None.
        name: name of the layer.

    Returns:
        Keras tensor of the same shape.

    Reference:
        - [Ioffe & Szegedy, 2015](https://arxiv.org/abs/1502.03167)
        - [Ba et al., 2016](https://arxiv.org/abs/1607.06450)
        - [Wu & He, 2018](https://arxiv.org/abs/1803.08494)
    """
    if norm is None:
        return x
    if norm == "batch":
        # Momentum 0.9 (Keras: 0.99): meta-training takes few, large batches, and the moving
        # averages must have settled when a metric learner is first evaluated.
        return keras.layers.BatchNormalization(momentum=0.9, name=name)(x)
    groups = 1 if norm == "layer" else math.gcd(8, x.shape[-1])
    return keras.layers.GroupNormalization(groups=groups, name=name)(x)


def max_pool(x, name):
    """Halves height and width, rounding down; a side that is already 1 stays 1.

    Args:
        x: Keras tensor `[batch, height, width, channels]`.
        name: name of the layer.

    Returns:
        Keras tensor `[batch, max(height // 2, 1), max(width // 2, 1), channels]`.
    """
    size = tuple(min(side, 2) for side in x.shape[1:3])
    return keras.layers.MaxPooling2D(size, name=name)(x)
