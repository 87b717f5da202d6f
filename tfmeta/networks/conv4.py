"""Four convolutional blocks, the usual network of few-shot image classification."""

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


def conv4(
    input_shape: tuple[int, ...],
    outputs: int | None,
    filters: int = 64,
    downsample: str = "pool",
    norm: str | None = "batch",
    name: str = "conv4",
) -> keras.Model:
    """Four blocks of 3x3 convolution, normalisation and ReLU, each halving the image.

    - `downsample="pool"` (Vinyals et al.): 2x2 max pooling after each block, rounding
      down, so 28x28 goes 14, 7, 3, 1 and 84x84 goes 42, 21, 10, 5; the features are the
      flattened maps. A side that has reached 1 is not pooled further, so images below
      16x16 work too.
    - `downsample="stride"` (MAML on Omniglot): convolutions of stride 2 and no pooling,
      rounding up, so 28x28 goes 14, 7, 4, 2; the features are the mean of each map.

    Convolutions keep their bias, as in the published code. The last layer is called "head".

    Args:
        input_shape: `(height, width, channels)`.
        outputs: logits, one a class, or the width of the embedding for a metric learner;
            None leaves the head out and returns the features (ProtoNet's embedding: 64
            values for 28x28 images).
        filters: channels of every block; 64, or 32 against overfitting on mini-ImageNet.
        downsample: "pool" or "stride".
        norm: "batch"; "layer" (over height, width and channels of each example); "group"
            (8 groups); or None. With "batch", examples that are normalised together see
            each other.
        name: name of the model.

    Returns:
        A `keras.Model`, `[batch, height, width, channels]` to `[batch, outputs]`.

    Raises:
        ValueError: an argument is none of the values above.

    Reference:
        - [Vinyals et al., 2016](https://arxiv.org/abs/1606.04080)
        - [Finn et al., 2017](https://arxiv.org/abs/1703.03400)
        - [Snell et al., 2017](https://arxiv.org/abs/1703.05175)
    """
    input_shape, outputs = check_image_shape(input_shape), check_outputs(outputs)
    filters = check_positive("filters", filters)
    check_choice("downsample", downsample, ("pool", "stride"))
    check_choice("norm", norm, NORMS)
    pool = downsample == "pool"
    x = inputs = keras.Input(input_shape)
    for i in range(1, 5):
        strides = 1 if pool else 2
        x = keras.layers.Conv2D(filters, 3, strides, padding="same", name=f"conv{i}")(x)
        x = normalize(x, norm, name=f"norm{i}")
        x = keras.layers.ReLU(name=f"relu{i}")(x)
        if pool:
            x = max_pool(x, name=f"pool{i}")
    features = keras.layers.Flatten if pool else keras.layers.GlobalAveragePooling2D
    x = features(name="features")(x)
    if outputs is not None:
        x = keras.layers.Dense(outputs, name="head")(x)
    return keras.Model(inputs, x, name=name)
