"""Bad input, told at the earliest moment: what was expected, what came, what to change."""

import contextlib
import re

import keras
import numpy as np
import tensorflow as tf

from tfmeta.inner import has_batch_norm
from tfmeta.learners.metrics import FunctionLoss
from tfmeta.types import Episode, Examples, scale_images

_HOW_TO_PASS = (
    "Pass a tf.data.Dataset of meta-batched tfmeta.Episode, such as "
    "tfmeta.episodes.classification(dataset, ways=5, shots=1)."
)
_NOT_FINITE = "tfmeta-not-finite"


def check_network(network, cls):
    """The first argument of a learner is a Keras model, or None."""
    if network is not None and not isinstance(network, keras.Model):
        raise ValueError(
            f"Expected a keras.Model as the network of {cls.__name__}. "
            f"Received: {network!r} of type {type(network).__name__}."
        )


def as_loss(loss):
    """The `keras.losses.Loss` that `compile(loss=...)` names, or None."""
    if isinstance(loss, (list, tuple)) or (isinstance(loss, dict) and "class_name" not in loss):
        raise ValueError(
            "Expected one loss, for a network with one output. "
            f"Received: a {type(loss).__name__} of losses."
        )
    loss = keras.losses.get(loss)
    return loss if loss is None or isinstance(loss, keras.losses.Loss) else FunctionLoss(loss)


def check_compiled(learner, method):
    """`fit` and `evaluate` need a loss."""
    if not learner.compiled or learner._query_loss is None:
        raise ValueError(
            f"Expected a compiled learner before `{method}`. Received: {type(learner).__name__} without "
            'a loss. Call learner.compile(optimizer="adam", loss=...) first.'
        )


def check_built(learner, method):
    """`adapt` needs weights."""
    network = learner.network
    if not (learner.built if network is None else network.built):
        raise ValueError(
            f"Expected a built network before `{method}`. Received: {type(learner).__name__} whose "
            "network has no weights yet. Call learner.build((None, ...)) with the shape of the inputs, "
            "or learner.fit(...), or give the network a keras.Input."
        )


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
            f"Expected tfmeta.Examples, the support set of one task. Received: {type(support).__name__}. "
            f"Pass {hint}."
        )
    x, y = as_tensor(learner, support.x), as_tensor(learner, support.y)
    if x.shape[0] != y.shape[0] or x.shape[0] == 0:
        raise ValueError(
            "Expected support.x and support.y with the same number of rows, at least one. "
            f"Received: x of shape {x.shape}, y of shape {y.shape}."
        )
    mask = tf.ones(tf.shape(x)[:1], tf.float32) if support.mask is None else support.mask
    if tf.executing_eagerly() and y.dtype.is_integer and int(tf.reduce_min(y)) < 0:
        raise ValueError(
            f"Expected class labels 0..ways-1. Received: {int(tf.reduce_min(y))} in support.y."
        )
    return Examples(x, y, tf.convert_to_tensor(mask))


def network_dtype(learner):
    """The dtype of the network's weights, which is that of its inputs."""
    variables = learner.inner_network().variables
    floats = [v.dtype for v in variables if "float" in str(v.dtype)]
    return floats[0] if floats else keras.config.floatx()


def check_finite_or_steps(episodes, steps, argument):
    """An endless data set needs a number of steps."""
    if steps is None and isinstance(episodes, tf.data.Dataset):
        if int(episodes.cardinality()) == tf.data.INFINITE_CARDINALITY:
            raise ValueError(
                f"Expected `{argument}`, because the episodes are endless. Received: {argument}=None. "
                f"Pass {argument}=100, say, or make the episodes with count=..."
            )


def prepare(learner, episodes):
    """Check the element type and the first meta-batch, and build the network."""
    spec = getattr(episodes, "element_spec", None)
    if not isinstance(spec, Episode) or not all(isinstance(part, Examples) for part in spec):
        raise ValueError(
            f"Expected episodes. Received: {_describe(episodes, spec)}. {_HOW_TO_PASS}"
        )
    for name, part in zip(("support", "query"), spec, strict=True):
        for field, tensor in zip(Examples._fields, part, strict=True):
            if tensor is None or getattr(tensor, "shape", tf.TensorShape(None)).rank == 0:
                raise ValueError(f"Expected tensors in {name}.{field}. Received: {tensor}.")
        if part.x.shape.rank is None or part.x.shape.rank < 2 or part.mask.shape.rank != 2:
            raise ValueError(
                f"Expected a meta-batch: {name}.x of shape [B, rows, ...] and {name}.mask of shape "
                f"[B, rows]. Received: {part.x.shape} and {part.mask.shape}. Add `.batch(4)` to a data "
                "set of single episodes."
            )
    network = learner.inner_network()
    if not network.built:
        with learner.distribute_strategy.scope():
            network.build((None, *spec.query.x.shape[2:]))
            learner.built = True
    learner.check_episodes(_first(episodes))


def _first(episodes):
    """The first meta-batch as NumPy arrays; None for a distributed data set."""
    if not isinstance(episodes, tf.data.Dataset):
        return None
    first = next(iter(episodes.take(1)), None)
    if first is None:
        raise ValueError(
            "Expected at least one meta-batch of episodes. Received: an empty data set."
        )
    return tf.nest.map_structure(lambda t: t.numpy(), first)


def _describe(episodes, spec):
    if spec is None:
        return f"an object of type {type(episodes).__name__}"
    return f"a data set of {type(spec).__name__}"


def check_ways(outputs, first):
    """The labels of classification episodes fit the width of a network's outputs.

    Args:
        outputs: number of outputs of the network.
        first: the first meta-batch, NumPy arrays.
    """
    if first is None:
        return
    y = np.concatenate([first.support.y.ravel(), first.query.y.ravel()])
    ways, low = int(y.max()) + 1, int(y.min())
    padded = not (first.support.mask.all() and first.query.mask.all())
    if low < 0:
        raise ValueError(f"Expected class labels 0..ways-1. Received: {low}.")
    if ways > outputs or (ways < outputs and not padded):
        raise ValueError(
            f"Expected as many ways as the network has outputs, {outputs}. Received: episodes of {ways} "
            f"ways. Make the network with outputs={ways}, or the episodes with ways={outputs}."
        )


def assert_masks(learner, episodes):
    """Stop a learner, or a network, that would count padded rows as real ones."""
    if learner.supports_masks and not has_batch_norm(learner.inner_network()):
        return
    why = (
        "a network without BatchNormalization (norm='layer' or 'group'), whose statistics would count "
        "padded rows" if learner.supports_masks else "a learner with supports_masks = True"
    )  # fmt: skip
    real = tf.reduce_all(episodes.support.mask > 0) & tf.reduce_all(episodes.query.mask > 0)
    if not getattr(learner, "jit_compile", False):
        tf.debugging.Assert(
            real,
            [f"{_NOT_FINITE}: Expected, for episodes of variable ways or shots, {why}. Received: "
             f"padded rows in {type(learner).__name__}."],
        )  # fmt: skip


def describe_rate(learner):
    """The arguments of the inner loop, for messages."""
    names = ("inner_learning_rate", "inner_steps")
    return ", ".join(f"{n}={getattr(learner, n)}" for n in names if hasattr(learner, n))


def check_inner_losses(learner, adapted):
    """Eagerly, stop at a support loss that is NaN or infinite."""
    losses = getattr(adapted, "inner_losses", ())
    if not tf.executing_eagerly() or not tf.is_tensor(losses):
        return
    bad = ~np.isfinite(losses.numpy())
    if bad.any():
        raise FloatingPointError(
            _inner_message(learner, int(bad.argmax()), losses[int(bad.argmax())])
        )


def _inner_message(learner, step, value):
    return (
        f"Expected a finite inner loss. Received: {value} at inner step {step} of "
        f"{type(learner).__name__}({describe_rate(learner)}). Lower inner_learning_rate, or scale the "
        "inputs."
    )


def assert_finite(learner, results, gradients):
    """Stop a step whose inner or query loss is NaN or infinite, before it changes a weight.

    Under XLA, which drops assertions, `readable_errors` cannot help and Keras shows a NaN loss.

    Returns:
        The gradients, which wait for the check.
    """
    if learner.jit_compile:
        return gradients
    checks = [(results.loss, f"Expected a finite query loss. Received: NaN or infinity in "
                             f"{type(learner).__name__}({describe_rate(learner)}).")]  # fmt: skip
    if tf.is_tensor(results.inner_losses):
        for step, losses in enumerate(tf.unstack(results.inner_losses, axis=1)):
            checks.append((losses, _inner_message(learner, step, "NaN or infinity")))
    asserts = [
        tf.debugging.Assert(tf.reduce_all(tf.math.is_finite(value)), [f"{_NOT_FINITE}: {message}"])
        for value, message in reversed(checks)
    ]
    with tf.control_dependencies([a for a in asserts if a is not None]):
        return [tf.identity(g) for g in gradients]


@contextlib.contextmanager
def readable_errors(learner):
    """Turn a failed assertion of a compiled step into a plain exception."""
    del learner
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        found = re.search(_NOT_FINITE + r": ([^\]]*)", str(error))
        if not found:
            raise
        message = found.group(1).strip().strip("'\"")
        kind = FloatingPointError if "finite" in message else ValueError
        raise kind(message) from None
