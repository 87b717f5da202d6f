"""What range inputs have: uint8 pictures are scaled, token ids not, floats are looked at."""

import warnings

import keras
import numpy as np
import tensorflow as tf

from tfmeta.backend.network_facts import is_container, layers_in_order
from tfmeta.backend.private_keras import layers_of
from tfmeta.inputs import scale_images

_OF_IDS = (
    keras.layers.Embedding,
    keras.layers.CategoryEncoding,
    keras.layers.Hashing,
    keras.layers.IntegerLookup,
)
#: Layers that bring their inputs into range: what comes into the network may have any.
_OF_RANGES = (
    keras.layers.Rescaling,
    keras.layers.Normalization,
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
)


def scaled(network, x, dtype="float32"):
    """Pictures of uint8, `0..255`, as floats `0..1`: tensors x, or a nest, for a network.

    The network says what is a picture: inputs that it looks up (an `Embedding`), or that it takes
    as integers, are ids, and stay what they are, as int32.
    """

    if all(getattr(leaf, "dtype", None) != tf.uint8 for leaf in tf.nest.flatten(x)):
        return x  # looks at no layer

    def scale(leaf, takes_ids):
        if not tf.is_tensor(leaf) or leaf.dtype != tf.uint8:
            return leaf
        return tf.cast(leaf, tf.int32) if takes_ids else scale_images(leaf, dtype)

    return _with_places(scale, network, x)


def check_ranges(learner, x, where):
    """Raise a ValueError for ids that were scaled like pictures, warn of pictures that were not.

    Args:
        learner: the learner, which warns once.
        x: NumPy inputs, `[..., rows, *shape]` with the shape that the network takes, or a nest.
        where: what x is called in a message.
    """

    def check(leaf, takes_ids):
        if not np.issubdtype(leaf.dtype, np.number) or leaf.dtype == np.uint8 or not leaf.size:
            return leaf
        if takes_ids and (leaf != np.floor(leaf)).any():
            raise ValueError(
                f"Expected integers in {where}, which the network looks up. Received: {leaf.dtype} "
                f"with {leaf[leaf != np.floor(leaf)][0]:.4g} in it. Ids in uint8 are taken for "
                'pictures when episodes are made, and scaled to 0..1: use x.astype("int32").'
            )
        if takes_ids or not _may_be_pictures(learner, leaf):
            return leaf
        if _is_scaled_twice(learner, leaf):
            learner.__dict__["_warned_of_range"] = True
            warnings.warn(
                f"Expected pictures that the network's Rescaling has not seen yet. Received: "
                f"values up to {leaf.max():.4g} in {where}, 0..1 already, as uint8 pictures are "
                "when episodes are made. Leave Rescaling out, or give floats of 0..255.",
                stacklevel=2,
            )
        elif _looks_like_bytes(learner, leaf):
            learner.__dict__["_warned_of_range"] = True
            warnings.warn(
                f"Expected pictures with values 0..1 in {where}. Received: {leaf.dtype} of "
                f"{leaf.min():.4g}..{leaf.max():.4g}, which train badly. Divide by 255, give uint8 "
                "(scaled for you), or begin the network with keras.layers.Rescaling(1 / 255).",
                stacklevel=2,
            )
        return leaf

    _with_places(check, learner.inner_network(), x)


def _may_be_pictures(learner, x):
    """True for `[..., height, width, channels]` of a learner that has not been warned."""
    return "_warned_of_range" not in learner.__dict__ and x.ndim >= 4 and x.shape[-1] in (1, 3, 4)


def _is_scaled_twice(learner, x):
    """True if values of 0..1 meet a network that begins by making them small."""
    if not 0 <= x.min() <= x.max() <= 1:
        return False
    first = _first_layer(learner.inner_network())
    return isinstance(first, keras.layers.Rescaling) and np.max(np.abs(first.scale)) < 0.1


def _looks_like_bytes(learner, x):
    """True if numbers seem to be the bytes of pictures, which no layer brings into range."""
    highest = np.inf if np.issubdtype(x.dtype, np.integer) else 255
    if not (x.min() >= 0 and 32 < x.max() <= highest):
        return False
    network = learner.inner_network()
    return not isinstance(_first_layer(network), _OF_RANGES) and not any(
        isinstance(x, keras.layers.Rescaling | keras.layers.Normalization)
        for x in layers_of(network)
    )


def _with_places(function, network, x):
    """`function(leaf, takes_ids)` of each leaf of a nest x of the network's inputs."""
    inputs = getattr(network, "inputs", None) or []
    if not isinstance(x, dict | tuple):
        return function(x, _takes_ids(network, inputs[0] if len(inputs) == 1 else None))
    if isinstance(x, dict):
        named = {t.name: t for t in inputs}
        struct = getattr(network, "input", None) if inputs else None
        named |= struct if isinstance(struct, dict) else {}
        return type(x)(
            (key, _with_place(function, network, part, named.get(key))) for key, part in x.items()
        )
    fits = len(inputs) == len(x)
    parts = [
        _with_place(function, network, part, inputs[i] if fits else None)
        for i, part in enumerate(x)
    ]
    return type(x)(*parts) if hasattr(x, "_fields") else tuple(parts)


def _with_place(function, network, part, tensor):
    if isinstance(part, dict | tuple):
        return _with_places(function, network, part)
    return function(part, _takes_ids(network, tensor))


def _takes_ids(network, tensor):
    """True if a network looks up what comes into it, at one of its `inputs`, None if unknown."""
    if tensor is not None and "int" in str(tensor.dtype):
        return True
    if tensor is None or len(network.inputs) == 1:
        return isinstance(_first_layer(network), _OF_IDS)
    layers = [x for x in layers_of(network) if isinstance(x, _OF_IDS)]
    return any(_is_input_of(tensor, layer) for layer in layers)


def _is_input_of(tensor, layer):
    try:
        return layer.input is tensor
    except (AttributeError, ValueError):  # called in several places, or in a layer of one's own
        return False


def _first_layer(network):
    """The first layer that is made of no others, or None."""
    leaves = (x for x in layers_in_order(network) if not is_container(x))
    return next((x for x in leaves if not isinstance(x, keras.layers.InputLayer)), None)
