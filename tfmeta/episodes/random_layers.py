"""Keras's random layers, drawing by a key that each task has, and not from a state."""

import contextlib
import inspect
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.loops import map_fn

# These draw once for all the pictures of a call, and so get them one by one.
_DRAW_ONCE = (keras.layers.RandomCrop,)
_IN_A_ROW = (keras.Sequential, keras.layers.Pipeline)
_MIX_LABELS = (keras.layers.MixUp, keras.layers.CutMix)


class Seeds(keras.random.SeedGenerator):
    """Gives layers seeds that depend on the key of a task and on the place of the draw only."""

    def __init__(self):
        super().__init__(seed=0)
        self._key, self._draws = None, 0

    @contextlib.contextmanager
    def of(self, key):
        """A scope, while a graph is written, in which seeds are those of a key, int64 `[]`."""
        before = self._key, self._draws
        self._key, self._draws = key, 0
        try:
            yield
        finally:
            self._key, self._draws = before

    def of_row(self, row):
        """A scope, inside one of a task, of one of its rows, int64 `[]`."""
        # Keras takes what is left by 2**31 - 2: the rows of a task stay apart.
        return self.of(self._key + (row + 1) * 65_537 + self._draws * 257)

    def next(self, ordered=True):
        """The next seed, int64 `[2]`, as Keras's random functions take it."""
        self._draws += 1
        return tf.stack([self._key, tf.constant(self._draws, tf.int64)])


class _Layer(NamedTuple):
    """A layer as `augmented` calls it."""

    call: Any
    mixes_labels: bool
    draws_once: bool


def one_by_one(call, x, seeds):
    """A layer on each row of x `[rows, ...]` by itself, each by a draw of its own."""

    def one(given):
        row, number = given
        with seeds.of_row(number):
            return call(row[tf.newaxis])[0]

    seeds.next()  # the next layer draws something else
    spec = tf.TensorSpec(call(x).shape[1:], x.dtype)
    numbers = tf.range(tf.shape(x, tf.int64)[0])
    return map_fn(one, (x, numbers), fn_output_signature=spec)


def flattened(layers):
    """A layer or a list of layers as a list, with what a Sequential or a Pipeline holds."""
    if isinstance(layers, list | tuple):
        return [one for layer in layers for one in flattened(layer)]
    return flattened(layers.layers) if isinstance(layers, _IN_A_ROW) else [layers]


def with_seeds(layer, seeds):
    """A layer that draws by `seeds`: a copy, if it is random."""
    if any(_generators(part) for part in _parts(layer)):
        if layer.weights:
            raise ValueError(
                "Expected random layers without weights, which can be copied. Received: "
                f"{layer.name} with {len(layer.weights)}. Give its layers one by one, in a list."
            )
        layer = type(layer).from_config(layer.get_config())
        for part in _parts(layer):
            for name in _generators(part):
                vars(part)[name] = seeds  # a built layer takes no attribute any more

    takes_training = "training" in inspect.signature(layer.call).parameters
    options = {"training": True} if takes_training else {}
    return _Layer(
        lambda x: layer(x, **options),
        isinstance(layer, _MIX_LABELS),
        isinstance(layer, _DRAW_ONCE),
    )


def _parts(layer):
    """A layer and the layers in it, at any depth."""
    held = list(vars(layer).values())
    held += [v for value in held if isinstance(value, list | tuple) for v in value]
    inside = {id(v): v for v in held if isinstance(v, keras.layers.Layer)}
    return [layer, *(part for one in inside.values() for part in _parts(one))]


def _generators(layer):
    """Names of the attributes that layers draw from."""
    return [n for n, v in vars(layer).items() if isinstance(v, keras.random.SeedGenerator)]


def check_layers(layers, y):
    """A ValueError unless the layers are some that suit episodes with the targets `y`, specs."""
    for layer in layers:
        if not isinstance(layer, keras.layers.Layer):
            raise ValueError(
                f"Expected Keras layers. Received: {layer!r}. A function goes by episodes.map(...)."
            )
        if tuple(getattr(layer, "value_range", None) or ()) == (0, 255):
            raise ValueError(
                f"Expected layers for pictures in 0..1, as episodes have them. Received: "
                f"{layer.name} with value_range=(0, 255). Pass it value_range=(0, 1)."
            )
        if isinstance(layer, _MIX_LABELS) and not all(
            spec.dtype.is_floating and spec.shape.rank == 3 for spec in y
        ):
            raise ValueError(
                f"Expected one-hot targets, [B, rows, ways] floats, which {layer.name} mixes. "
                f"Received: targets of shape {y[0].shape}, {y[0].dtype.name}. Map the episodes to "
                "tf.one_hot(y, ways) first, and compile with CategoricalCrossentropy."
            )
