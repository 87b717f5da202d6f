"""Token ids beside the vocabulary that a network was made for: told before a step is traced.

A CPU stops at such an id with the words of a kernel; a GPU reads zeros and says nothing.
"""

import keras
import numpy as np

from tfmeta.engine.checks.input_shapes import named_inputs


def check_token_ids(network, x, where):
    """A ValueError if ids that an `Embedding` layer reads are not below its `input_dim`.

    It is looked for where inputs go right into the layer; what is computed of them first is not.

    Args:
        network: a `keras.Model`.
        x: a nest of NumPy arrays.
        where: what `x` is called in a message.
    """
    for name, symbolic, part in named_inputs(network, x):
        for layer in _readers(network, symbolic):
            if not part.size or not np.issubdtype(part.dtype, np.integer):
                continue
            wrong = next(
                (n for n in (part.min(), part.max()) if not 0 <= n < layer.input_dim), None
            )
            if wrong is not None:
                raise ValueError(
                    f"Expected token ids 0..{layer.input_dim - 1} in {where}, {name}, for the "
                    f"Embedding layer {layer.name!r}. Received: {wrong}. Make the layer with "
                    f"input_dim={max(wrong + 1, layer.input_dim)} or more, such as the tokenizer's "
                    "vocabulary_size()."
                )


def _readers(network, symbolic):
    """The `Embedding` layers that an input of a network goes into."""
    if isinstance(network, keras.Sequential) and network.layers:
        first = network.layers[0]
        inside = getattr(first, "inputs", None) if isinstance(first, keras.Model) else None
        if inside:
            return _readers(first, inside[0]) if len(inside) == 1 else []
        return [first] if isinstance(first, keras.layers.Embedding) else []
    layers = [x for x in getattr(network, "layers", ()) if isinstance(x, keras.layers.Embedding)]
    return [x for x in layers if x.built and _input_of(x) is symbolic]


def _input_of(layer):
    try:
        return layer.input
    except (AttributeError, ValueError):  # it was called more often than once, or not symbolically
        return None
