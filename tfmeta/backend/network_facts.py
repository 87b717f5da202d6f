"""What a network is made of: its layers, their weights, how it ends."""

import functools

import keras
import tensorflow as tf

from tfmeta.backend import private_keras


def batch_norm_layers(network):
    """The BatchNormalization layers of a network, at any depth."""
    return [
        layer
        for layer in private_keras.layers_of(network)
        if isinstance(layer, keras.layers.BatchNormalization)
    ]


def has_batch_norm(network):
    """True if the network holds a BatchNormalization layer."""
    return bool(batch_norm_layers(network))


def layers_with_weights(network, variables):
    """The layers of a network, first to last, that hold some of the variables themselves.

    The network is one of them, and the first, if it has weights of its own.
    """
    wanted = {id(v) for v in variables}
    return [
        layer
        for layer in layers_in_order(network)
        if any(id(v) in wanted for v in held_weights(layer))
    ]


def layers_in_order(layer):
    """A layer and all layers in it, at any depth, in the order in which they were put there.

    Keras's own list of them turns those of a layer in a layer around.
    """
    parts = private_keras.parts_of(layer)
    found = [layer, *(x for part in parts for x in layers_in_order(part))]
    return list({id(x): x for x in found}.values())


def is_container(layer):
    """True if a layer is made of others."""
    return bool(private_keras.parts_of(layer))


def held_weights(layer):
    """The trainable variables of a layer itself, without those of layers in it."""
    inner = private_keras.layers_in(layer)
    within = {id(v) for part in inner for v in part.trainable_variables}
    return [v for v in layer.trainable_variables if id(v) not in within]


def ends_linear(network):
    """True if the last layer certainly gives logits: a Dense or Conv layer without activation."""
    outputs = getattr(network, "outputs", None) or ()
    if len(outputs) != 1:
        return False
    layer = private_keras.layer_of_output(outputs[0])
    return getattr(layer, "kernel", None) is not None and (
        getattr(layer, "activation", None) is keras.activations.linear
    )


def check_runs_on_given_weights(network):
    """No layer keeps anything that a call on given weights would miss."""
    for layer in private_keras.layers_of(network):
        if getattr(layer, "stateful", False) is True:
            raise ValueError(
                "Expected layers that keep nothing from one call to the next, because each task "
                f"runs the network on weights and a state of its own. Received: {layer.name!r} "
                f"({type(layer).__name__}) with stateful=True. Make it with stateful=False."
            )
        if getattr(layer, "activity_regularizer", None) is not None:
            raise ValueError(
                "Expected regularisers of weights only. Received: an activity_regularizer in layer "
                f"{layer.name!r}. Use kernel_regularizer, or add the penalty in a loss."
            )
        for name, value in vars(layer).items():
            # TensorFlow's own notes of what it tracks hold the variable, too.
            if not name.startswith("_self_") and _holds_variable(value):
                raise ValueError(
                    "Expected Keras weights only. Received: a tf.Variable in the attribute "
                    f"{name!r} of layer {layer.name!r} ({type(layer).__name__}), which cannot be "
                    "replaced by a task's own value. Make it with self.add_weight(...)."
                )


def check_no_added_losses(scope, *networks):
    """No layer called `add_loss` in a scope: a task's loss is the compiled one, and nothing else.

    Args:
        scope: `keras.StatelessScope` that collected the losses.
        *networks: models whose layers were called in it.
    """
    if not scope.losses:
        return
    added = {id(loss) for loss in scope.losses}
    layers = [x for network in networks for x in private_keras.layers_of(network)]
    names = sorted({x.name for x in layers if added & private_keras.added_losses(x)})
    raise ValueError(
        "Expected layers that add no loss of their own, which would be no part of a task's loss. "
        f"Received: add_loss in {names or 'a layer'}. Use kernel_regularizer for a penalty of "
        "weights; for one of outputs, add it in the compiled loss."
    )


def _holds_variable(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return any(map(_holds_variable, value))
    if isinstance(value, tf.Module):  # what is fixed in it may stay as it is
        return bool(value.trainable_variables)
    return isinstance(value, tf.Variable)


def can_be_cloned(network):
    """True for a Sequential or functional model with no `call` of its own."""
    call = getattr(type(network), "call", None)
    return call in (keras.Sequential.call, _functional().call)


@functools.cache
def _functional():
    """The class that Keras makes of `keras.Model(inputs, outputs)`."""
    x = keras.Input((1,))
    return type(keras.Model(x, keras.layers.Identity()(x)))
