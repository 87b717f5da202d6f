"""Making a learner's weights: all of them, on what an episode looks like."""

import contextlib

import keras
import tensorflow as tf

from tfmeta.backend.private_keras import layers_in
from tfmeta.engine import losses
from tfmeta.engine.inputs import map_nest
from tfmeta.types import Episode, Examples


def build_on(learner, episode):
    """Make the weights of the network, and those of the learner's own layers.

    Args:
        learner: a learner.
        episode: `Episode` of one task, of anything with a shape `(rows, ...)` and a dtype.
    """
    if not (learner.built and learner.inner_network().built):
        learner.build(map_nest(lambda t: (None, *t.shape[1:]), episode.query.x))
    if unbuilt_layers(learner):
        parts = [map_nest(_symbolic, part) for part in episode]
        learner.mark_built(episode)
        try:
            with _some_loss(learner):
                one_pass = _Pass(learner)
                one_pass.compute_output_spec(*parts)
        except Exception:
            learner.mark_built(None)
            if one_pass.error is None:
                raise
            # Keras puts words of its own, about this layer, before what the learner says.
            raise one_pass.error from None


def build_network(network, inputs):
    """Make the weights of a network on symbolic inputs, a nest.

    Keras says that a `Sequential` whose first layer takes several inputs is built before all of its
    layers are, and symbolic inputs make no more of them: rows of zeros do.
    """
    if not network.built:
        network(inputs)
    if isinstance(network, keras.Sequential) and not all(x.built for x in network.layers):
        network(map_nest(lambda t: tf.zeros([1, *(n or 1 for n in t.shape[1:])], t.dtype), inputs))


@contextlib.contextmanager
def _some_loss(learner):
    """A loss for `adapt` to step on, where there is none yet: Keras builds a file's learner first.

    What it says does not count: the pass wants shapes alone.
    """
    if learner.query_loss is not None:
        yield
        return
    learner.query_loss = losses.FunctionLoss(lambda y, outputs: tf.reduce_mean(outputs, axis=-1))
    try:
        yield
    finally:
        learner.query_loss = None


class _Pass(keras.layers.Layer):
    """`adapt`, then `predict_query`, which make what a learner has of its own."""

    def __init__(self, learner):
        super().__init__()
        object.__setattr__(self, "learner", lambda: learner)  # past Keras: it is no part of this
        self.error = None

    def call(self, support, query):
        learner = self.learner()
        try:
            adapted = learner.adapt(Examples(*support))
            return tf.nest.flatten(learner.predict_query(adapted, query[0], mask=query[2]))
        except Exception as error:
            self.error = error
            raise


def unbuilt_layers(learner):
    """The layers, at any depth, whose weights are not made yet."""
    return [x for x in layers_in(learner) if not x.built]


def _symbolic(part):
    return keras.KerasTensor(tuple(part.shape), dtype=tf.as_dtype(part.dtype).name)


def network_input_shape(network):
    """Of a built network, `(None, ...)` or a nest of such."""
    shape = getattr(network, "input_shape", None)  # a subclassed network has none
    return shape or network.get_build_config()["input_shape"]


def symbolic_rows(x, skip):
    """Symbolic inputs `(None, ...)` like x, a nest of anything `[..., features]` with a dtype.

    Args:
        x: the nest.
        skip: the number of leading axes of x, of tasks and rows.
    """
    return map_nest(
        lambda t: keras.KerasTensor((None, *t.shape[skip:]), dtype=tf.as_dtype(t.dtype).name),
        x,
    )


def network_inputs(shape, dtype):
    """A symbolic input, or a nest of them, from a shape `(None, ...)` or a nest of shapes."""
    if isinstance(shape, dict):
        return {name: network_inputs(part, dtype) for name, part in shape.items()}
    if shape and isinstance(shape[0], list | tuple | dict):
        return tuple(network_inputs(part, dtype) for part in shape)
    return keras.KerasTensor(tuple(shape), dtype=dtype)


def episode_to_config(episode):
    """The shapes and dtypes of an `Episode` of one task, as JSON has them."""

    def encode(value):
        if isinstance(value, dict):
            return {"dict": {name: encode(part) for name, part in value.items()}}
        if isinstance(value, tuple):
            return {"tuple": [encode(part) for part in value]}
        return {"shape": list(value.shape), "dtype": tf.as_dtype(value.dtype).name}

    return [encode(tuple(part)) for part in episode]


def episode_from_config(config):
    """The inverse of `episode_to_config`."""

    def decode(value):
        if "dict" in value:
            return {name: decode(part) for name, part in value["dict"].items()}
        if "tuple" in value:
            return tuple(decode(part) for part in value["tuple"])
        return tf.TensorSpec(value["shape"], value["dtype"])

    return Episode(*(Examples(*decode(part)) for part in config))
