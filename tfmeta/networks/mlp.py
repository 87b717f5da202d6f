"""Fully connected network."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import keras

from tfmeta.networks.blocks import check_outputs, check_positive


def mlp(
    input_shape: tuple[int, ...],
    outputs: int | None,
    hidden: Sequence[int] = (40, 40),
    activation: Any = "relu",
    kernel_initializer: Any = "glorot_uniform",
    name: str = "mlp",
) -> keras.Model:
    """Fully connected network; its default is the sinusoid regressor of MAML.

    The last layer is called "head" and has no activation.

    MAML's published code draws the weights from a truncated normal of deviation 0.01 (for
    that, `kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.01)`); Keras's
    own initialiser is the default here.

    Args:
        input_shape: shape of one example, a tuple, or an int for a vector. Examples of
            more than one axis are flattened.
        outputs: width of the last layer: regression targets, logits (one a class), or
            the width of the embedding for a metric learner; None leaves the head out and
            returns the features, `hidden[-1]` values.
        hidden: widths of the hidden layers; `()` makes a linear model.
        activation: activation of the hidden layers, whatever Keras takes.
        kernel_initializer: initialiser of all the kernels, whatever Keras takes.
        name: name of the model.

    Returns:
        A `keras.Model`, `[batch, *input_shape]` to `[batch, outputs]`, or to
        `[batch, hidden[-1]]` without a head.

    Raises:
        ValueError: a shape or width is not a positive integer, or there is no layer at all.

    Reference:
        - [Finn et al., 2017](https://arxiv.org/abs/1703.03400)
    """
    shape, outputs = _example_shape(input_shape), check_outputs(outputs)
    if not isinstance(hidden, tuple | list):
        raise ValueError(
            f"Expected hidden to be a tuple of widths, such as (40, 40). Received: {hidden!r}."
        )
    if outputs is None and not hidden:
        raise ValueError(
            "Expected a network with a layer. Received: outputs=None and hidden=(). Pass outputs, "
            "or the widths of hidden layers."
        )
    inputs = keras.Input(shape)
    x = keras.layers.Flatten(name="flatten")(inputs) if len(shape) > 1 else inputs
    for i, width in enumerate(hidden, start=1):
        width = check_positive("each width in hidden", width)
        layer = keras.layers.Dense(
            width, activation, kernel_initializer=_fresh(kernel_initializer), name=f"dense{i}"
        )
        x = layer(x)
    if outputs is not None:
        initializer = _fresh(kernel_initializer)
        x = keras.layers.Dense(outputs, kernel_initializer=initializer, name="head")(x)
    return keras.Model(inputs, x, name=name)


def _fresh(initializer):
    """A copy with its own seed: one instance gives layers of equal shape equal weights."""
    is_instance = isinstance(initializer, keras.initializers.Initializer)
    return initializer.clone() if is_instance else initializer


def _example_shape(input_shape):
    is_shape = isinstance(input_shape, tuple | list) and len(input_shape) > 0
    shape = tuple(input_shape) if is_shape else (input_shape,)
    if not all(isinstance(d, Integral) and not isinstance(d, bool) and d > 0 for d in shape):
        raise ValueError(
            "Expected input_shape to be a positive integer or a tuple of them, such as (1,). "
            f"Received: {input_shape!r}."
        )
    return tuple(int(d) for d in shape)
