"""ResNet-12, the deeper network of few-shot image classification."""

from collections.abc import Sequence

import keras

from tfmeta.networks.blocks import (
    NORMS,
    check_choice,
    check_image_shape,
    check_outputs,
    check_positive,
    max_pool,
    normalize,
)


def resnet12(
    input_shape: tuple[int, ...],
    outputs: int | None,
    widths: Sequence[int] = (64, 128, 256, 512),
    norm: str | None = "batch",
    name: str = "resnet12",
) -> keras.Model:
    """Residual network of four blocks of three 3x3 convolutions.

    The block of MetaOptNet (Lee et al.): three times convolution without bias and
    normalisation, with LeakyReLU of slope 0.1 between; a normalised 1x1 convolution as the
    shortcut; LeakyReLU after the sum; 2x2 max pooling. The features are a
    global average of the last maps, as in TADAM (Oreshkin et al.), whose widths are the
    default. MetaOptNet has `widths=(64, 160, 320, 640)`: 12,424,320 trainable weights
    before the head.

    DropBlock, which MetaOptNet adds after the later blocks, is left out. The last layer is
    called "head".

    Args:
        input_shape: `(height, width, channels)`. A side that has reached 1 is not pooled
            further.
        outputs: logits, one a class, or the width of the embedding for a metric learner;
            None leaves the head out and returns the features, `widths[-1]` values.
        widths: channels of each block.
        norm: "batch"; "layer" (over height, width and channels of each example); "group"
            (8 groups); or None.
        name: name of the model.

    Returns:
        A `keras.Model`, `[batch, height, width, channels]` to `[batch, outputs]`.

    Raises:
        ValueError: an argument is none of the values above.

    Reference:
        - [Oreshkin et al., 2018](https://arxiv.org/abs/1805.10123)
        - [Lee et al., 2019](https://arxiv.org/abs/1904.03758)
    """
    input_shape, outputs = check_image_shape(input_shape), check_outputs(outputs)
    if not isinstance(widths, tuple | list) or not widths:
        raise ValueError(
            "Expected widths to be a tuple, one integer a block, such as (64, 128, 256, 512). "
            f"Received: {widths!r}."
        )
    check_choice("norm", norm, NORMS)
    x = inputs = keras.Input(input_shape)
    for i, width in enumerate(widths, start=1):
        x = _block(x, check_positive("each width in widths", width), norm, name=f"block{i}")
    x = keras.layers.GlobalAveragePooling2D(name="features")(x)
    if outputs is not None:
        x = keras.layers.Dense(outputs, name="head")(x)
    return keras.Model(inputs, x, name=name)


def _block(x, width, norm, name):
    shortcut = _conv(x, width, 1, norm, f"{name}_shortcut")
    for i in (1, 2, 3):
        x = _conv(x, width, 3, norm, f"{name}_conv{i}")
        if i == 3:
            x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
        x = keras.layers.LeakyReLU(negative_slope=0.1, name=f"{name}_relu{i}")(x)
    return max_pool(x, name=f"{name}_pool")


def _conv(x, width, size, norm, name):
    # Without normalisation there is no offset left to stand in for the bias.
    conv = keras.layers.Conv2D(
        width,
        size,
        padding="same",
        use_bias=norm is None,
        kernel_initializer="he_normal",
        name=name,
    )
    return normalize(conv(x), norm, name=f"{name}_norm")
