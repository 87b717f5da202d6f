"""Every private name of Keras that tfmeta uses, each with its reason, behind a name of its own.

Methods of Keras's that tfmeta overrides cannot stand here; `tests/backend/test_private.py` lists
them.
"""

try:
    # Keras writes an HDF5 file of a learner that it cannot load, and says nothing: this is how it
    # tells models what they are asked for.
    from keras.src.backend.common.global_state import get_global_attribute as keras_state
except ImportError:
    keras_state = None


def writes_hdf5():
    """True while Keras writes or reads a model as an HDF5 file."""
    return keras_state is not None and bool(keras_state("use_legacy_config"))


# Layers: `Model.layers` ends at the first floor, and a layer has no public list of those in it.


def layers_of(layer):
    """A layer and all layers in it, at any depth, a list; none of what is no layer."""
    return list(layer._flatten_layers()) if hasattr(layer, "_flatten_layers") else []


def layers_in(layer):
    """All layers in a layer, at any depth, a list."""
    return list(layer._flatten_layers(include_self=False))


def parts_of(layer):
    """The layers that a layer is made of, without those in them, a list."""
    return list(layer._flatten_layers(include_self=False, recursive=False))


def variables_of_its_own(layer):
    """The variables of a layer that may be trained, without those of layers in it, frozen or not.

    `trainable_variables` has those of layers in it, too, and none if the layer is frozen.
    """
    return list(layer._trainable_variables)


def is_called(layer):
    """True if a layer is in a functional model: `output` raises an error where it is not."""
    return bool(layer._inbound_nodes)


def layer_of_output(tensor):
    """The layer that a symbolic tensor of a functional model comes from."""
    return tensor._keras_history.operation


def added_losses(layer):
    """Ids of the losses that a layer has added in a scope, which lists them without the layer."""
    return set(getattr(layer, "_loss_ids", ()))


def mask_of(values):
    """What a layer or a loss of Keras says that counts of a tensor: bool, or None for all."""
    return getattr(values, "_keras_mask", None)


# Losses, metrics and the optimizer.


def loss_arguments(loss):
    """What a loss of Keras hands to its function, a dict; Huber's config leaves its delta out."""
    return getattr(loss, "_fn_kwargs", {})


def compiled_metrics(model):
    """The metrics that `compile` took, in one object that can be built before the first step.

    None if there are none, or nothing was compiled.
    """
    return model._compile_metrics


def loss_tracker(model):
    """The metric that `fit` reports as "loss", for a step that computes it by itself."""
    return model._loss_tracker


def counted_steps(optimizer):
    """The variable that counts an optimizer's calls; `iterations` may be a part of it."""
    return optimizer._iterations


def summed_over_replicas(optimizer, gradients, variables):
    """The gradients, summed over replicas as Keras's own optimizers do it inside of a step."""
    pairs = optimizer._all_reduce_sum_gradients(zip(gradients, variables, strict=True))
    return [gradient for gradient, _ in pairs]


# `fit` and its callbacks.


def is_inside_fit(kwargs):
    """True for the arguments with which `fit` calls `evaluate`."""
    return bool(kwargs.get("_use_cached_eval_dataset"))


def begin_at_epoch(model, epoch):
    """Let a `fit` that has begun go on at an epoch; None for the next `fit` to begin at its own."""
    model._initial_epoch = epoch


def train_writer(callback):
    """The summary writer of a `keras.callbacks.TensorBoard`: a second one had a file of its own."""
    return callback._train_writer
