"""Bad input, told at the earliest moment: what was expected, what came, what to change.

This file: the learner, its network and its loss. One task given by hand is in `inputs.py`, data
sets of episodes are in `episode_checks.py`, losses that are not finite in `finite.py`.
"""

import keras

from tfmeta.engine import losses
from tfmeta.engine.checks import labels


def check_network(network, cls):
    """The first argument of a learner is a Keras model, or None."""
    if network is not None and not isinstance(network, keras.Model):
        raise ValueError(
            f"Expected a keras.Model as the network of {cls.__name__}. "
            f"Received: {network!r} of type {type(network).__name__}."
        )
    if hasattr(network, "adapt") and hasattr(network, "predict_query"):
        raise ValueError(
            f"Expected a plain keras.Model as the network of {cls.__name__}. Received: a learner, "
            f"{type(network).__name__}. Give its network, learner.network."
        )


def no_network(cls):
    """The error for a learner with neither a network nor layers of its own."""
    return NotImplementedError(
        f"Expected a network: {cls.__name__}(network), or a subclass with layers in "
        "`__init__` and a method `call(self, x)`. Received: neither."
    )


def check_compiled(learner, method):
    """`fit` and `evaluate` need a loss that fits the network."""
    name = type(learner).__name__
    if learner.query_loss is None and not (learner.compiled and learner.has_own_loss):
        raise ValueError(
            f"Expected a compiled learner before `{method}`. Received: {name} without a loss. "
            'Call learner.compile(optimizer="adam", loss=...) first.'
        )
    labels.check_class_loss(learner)
    if (
        learner.query_loss is not None
        and learner.predicts_logits()
        and losses.expects_probabilities(learner.query_loss)
    ):
        raise ValueError(
            "Expected a loss of logits: the outputs are not probabilities. Received: a "
            f"cross-entropy with from_logits=False in {name}. Compile with loss=keras.losses."
            "SparseCategoricalCrossentropy(from_logits=True), or end the network in a softmax."
        )


# Arguments of Keras's methods that have no meaning for episodes.
_WITHOUT_MEANING = {
    "batch_size": "Episodes come in meta-batches: set meta_batch_size where they are made.",
    "validation_batch_size": "Set meta_batch_size where the validation episodes are made.",
    "validation_split": "Pass validation_data=episodes, of classes that are not trained on.",
    "sample_weight": "The masks of episodes say which rows count; other weights are for the loss.",
    "class_weight": "Labels are drawn anew in each episode, and class 0 is another one each time.",
}


def check_keras_arguments(method, arguments):
    """A ValueError for an argument of a Keras method that would do nothing, or fail in it."""
    for name, why in _WITHOUT_MEANING.items():
        value = arguments.get(name)
        if value is not None and not (name == "validation_split" and value == 0):
            raise ValueError(
                f"Expected no {name} in `{method}`. Received: {name}={value!s:.40}. {why}"
            )


def check_built(learner, method):
    """`adapt` needs weights."""
    learner.build_on_network()
    if not learner.built:
        raise ValueError(
            f"Expected a built network before `{method}`. Received: {type(learner).__name__} whose "
            "network has no weights yet. Call learner.build((None, ...)) with the shape of the "
            "inputs, or learner.fit(...), or give the network a keras.Input."
        )


def check_frozen(network):
    """Raise a ValueError for a network that is trained, where a learner wants a frozen one."""
    if network.trainable_variables:
        raise ValueError(
            "Expected a frozen network. Received: one with "
            f"{len(network.trainable_variables)} trainable weights. Pretrain it, then set "
            "network.trainable = False and compile the learner again."
        )
