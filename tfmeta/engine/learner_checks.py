"""Bad input, told at the earliest moment: what was expected, what came, what to change.

This file: the learner, its network, its loss, and one task given by hand. Data sets of episodes
are in `episode_checks.py`, losses that are not finite in `finite.py`.
"""

import keras
import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.engine import losses
from tfmeta.inputs import scale_images
from tfmeta.types import Episode, Examples


def check_network(network, cls):
    """The first argument of a learner is a Keras model, or None."""
    if network is not None and not isinstance(network, keras.Model):
        raise ValueError(
            f"Expected a keras.Model as the network of {cls.__name__}. "
            f"Received: {network!r} of type {type(network).__name__}."
        )


def check_evaluation_steps(evaluation_steps, most_steps):
    """Of a learner with parameters for each inner step."""
    if evaluation_steps is not None and evaluation_steps > most_steps:
        raise ValueError(
            "Expected evaluation_steps <= inner_steps, which there are learned parameters for. "
            f"Received: evaluation_steps={evaluation_steps}, inner_steps={most_steps}."
        )


def check_inner_steps(learner, steps, weights):
    """The inner loop has weights to change, and parameters for as many steps."""
    check_integer("inner_steps", steps, 0)
    if learner.most_steps is not None and steps > learner.most_steps:
        raise ValueError(
            f"Expected at most {learner.most_steps} inner steps: {type(learner).__name__} learns "
            f"parameters for each of its inner_steps. Received: {steps}. Train with more "
            "inner_steps, or take fewer (evaluation_steps)."
        )
    if not weights:
        raise ValueError(
            "Expected a network with trainable weights. Received: none. Set trainable = True."
        )


def check_weights_with_parameters(learner):
    """What is learned besides the weights was made for those that are trainable now."""
    if learner.meta_parameters is None:
        return
    made_for, now = learner._made_for(), learner.weights_with_parameters()
    if [id(v) for v in made_for] != [id(v) for v in now]:
        raise ValueError(
            f"Expected the trainable weights that {type(learner).__name__} has made parameters "
            f"for, {[v.path for v in made_for]}. Received: {[v.path for v in now]}. Freeze layers "
            "before you make the learner."
        )


def unreached(names, positions):
    """The error for weights that the support loss does not depend on."""
    return ValueError(
        "Expected the support loss to depend on every trainable weight. Received: no gradient for "
        f"{[names[i] for i in positions]}. Remove these layers from the network, or set their "
        "`trainable = False`."
    )


def check_compiled(learner, method):
    """`fit` and `evaluate` need a loss that fits the network."""
    name = type(learner).__name__
    if not learner.compiled or learner.query_loss is None:
        raise ValueError(
            f"Expected a compiled learner before `{method}`. Received: {name} without a loss. "
            'Call learner.compile(optimizer="adam", loss=...) first.'
        )
    if learner.predicts_logits() and losses.expects_probabilities(learner.query_loss):
        raise ValueError(
            "Expected a loss of logits: the outputs are not probabilities. Received: a "
            f"cross-entropy with from_logits=False in {name}. Compile with loss=keras.losses."
            "SparseCategoricalCrossentropy(from_logits=True), or end the network in a softmax."
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


def network_dtype(learner):
    """The dtype of the network's weights, which is that of its inputs."""
    variables = learner.inner_network().variables
    floats = [v.dtype for v in variables if "float" in str(v.dtype)]
    return floats[0] if floats else keras.config.floatx()


def as_tensor(learner, value):
    """A tensor of the network's dtype: floats are cast, uint8 images are scaled to 0..1."""
    dtype = network_dtype(learner)
    if isinstance(value, np.ndarray) or not tf.is_tensor(value):
        value = np.asarray(value)
        if value.dtype == object:
            raise ValueError(
                f"Expected an array of numbers. Received: dtype object, {value!r:.80}."
            )
    value = scale_images(tf.convert_to_tensor(value), dtype)
    return tf.cast(value, dtype) if value.dtype.is_floating else value


def as_examples(learner, support):
    """`Examples` of tensors of one task, from tensors or arrays, with or without a mask."""
    if isinstance(support, Episode) or not isinstance(support, Examples):
        hint = "episode.support" if isinstance(support, Episode) else "tfmeta.Examples(x, y)"
        raise ValueError(
            "Expected tfmeta.Examples, the support set of one task. "
            f"Received: {type(support).__name__}. Pass {hint}."
        )
    x, y = as_tensor(learner, support.x), _as_targets(learner, support.y)
    if x.shape.rank == 0 or y.shape.rank == 0 or x.shape[0] != y.shape[0] or x.shape[0] == 0:
        raise ValueError(
            "Expected support.x and support.y with the same number of rows, at least one "
            f"(shots > 0). Received: x of shape {x.shape}, y of shape {y.shape}."
        )
    mask = tf.ones(tf.shape(x)[:1], tf.float32) if support.mask is None else support.mask
    mask = tf.cast(tf.convert_to_tensor(mask), tf.float32)
    if mask.shape.rank != 1 or not mask.shape.is_compatible_with(x.shape[:1]):
        raise ValueError(
            f"Expected a mask of shape [{x.shape[0]}], one number a row. Received: {mask.shape}."
        )
    if tf.executing_eagerly() and not tf.reduce_any(mask > 0):
        raise ValueError("Expected a real row in the support set. Received: a mask of zeros.")
    if tf.executing_eagerly() and learner.integer_labels:
        check_labels(y.numpy(), None, "support.y")
    return Examples(x, y, mask)


def _as_targets(learner, y):
    # uint8 labels are labels, not pictures.
    if learner.integer_labels and not tf.is_tensor(y):
        y = np.asarray(y)
        y = y.astype("int32") if y.dtype == np.uint8 else y
    return as_tensor(learner, y)


def check_labels(y, outputs, where):
    """Class labels are integers `0..outputs-1`.

    Args:
        y: NumPy array of labels.
        outputs: number of classes, or None if it is not known.
        where: what `y` is called in a message.
    """
    if not np.issubdtype(y.dtype, np.integer):
        raise ValueError(
            f"Expected integer class labels in {where}. Received: dtype {y.dtype}. Use "
            'y.astype("int32"), or a loss for these targets.'
        )
    wanted = "0..ways-1" if outputs is None else f"0..{outputs - 1}, one for each output"
    if y.size and (y.min() < 0 or (outputs is not None and y.max() >= outputs)):
        received = y.min() if y.min() < 0 else y.max()
        raise ValueError(f"Expected class labels {wanted}. Received: {received} in {where}.")
