"""Data sets of episodes: checked, before the first step, against a learner."""

from typing import Any, NamedTuple

import tensorflow as tf

from tfmeta.backend.network_facts import batch_norm_layers, check_runs_on_given_weights
from tfmeta.engine import losses
from tfmeta.engine.building import build_on
from tfmeta.engine.checks import labels
from tfmeta.engine.checks.doubts import check_leak
from tfmeta.engine.checks.finite import MARK
from tfmeta.engine.checks.token_ids import check_token_ids
from tfmeta.engine.input_ranges import check_ranges
from tfmeta.engine.inputs import as_targets, as_tensor, check_labels
from tfmeta.types import Episode, Examples

_HOW_TO_PASS = (
    "Pass a tf.data.Dataset of meta-batched tfmeta.Episode, such as "
    "tfmeta.episodes.classification(dataset, ways=5, shots=1)."
)


class FirstSeen(NamedTuple):
    """Of a data set, for callbacks, which are not told what `fit` trains on.

    Attributes:
        episode: its first episode, a meta-batch of one, NumPy arrays.
        tasks: the number of episodes in its first meta-batch.
    """

    episode: Any
    tasks: int


def prepare(learner, episodes):
    """Check the element type and the first meta-batch, and build the network."""
    spec = _episode_spec(episodes)
    one = tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape[1:], t.dtype), spec)
    if not (learner.built and learner.inner_network().built):
        with learner.distribute_strategy.scope():
            build_on(learner, one)
    check_runs_on_given_weights(learner.inner_network())
    if isinstance(episodes, tf.data.Dataset):
        first = _first(episodes)
        check_meta_batch(learner, first)
        check_leak(learner, first)
        one_episode = tf.nest.map_structure(lambda t: t[:1].copy(), first)
        vars(learner)["_first"] = FirstSeen(one_episode, len(first.support.mask))
    vars(learner)["_last_prepared"] = one  # what `export` makes its signatures for


def check_meta_batch(learner, first):
    """Raise a ValueError if a meta-batch, `Episode` of NumPy arrays, does not fit a learner."""
    x = tf.nest.flatten(first.support.x)[0]
    if x.shape[1] == 0:
        raise ValueError(
            "Expected support examples to adapt on. Received: episodes with shots = 0, support.x "
            f"of shape {x.shape}. Make the episodes with shots=1 or more."
        )
    if not (first.support.mask.all() and first.query.mask.all()) and not masks_work(learner):
        raise ValueError(_padding_message(learner))
    for name, part in zip(Episode._fields, first, strict=True):
        if not part.mask.any(axis=1).all():
            raise ValueError(
                f"Expected a real row in each task's {name} set. Received: a mask of zeros."
            )
        labels.check_one_a_row(learner, part.y, f"{name}.y", 2)
        check_token_ids(learner.inner_network(), part.x, f"{name}.x")
    check_ranges(learner, first.support.x, "support.x")
    if learner.integer_labels:
        check_labels(first.support.y, None, "support.y", learner.query_loss)
        check_labels(first.query.y, None, "query.y", learner.query_loss)
    learner.check_episodes(first)


def check_finite_or_steps(episodes, steps, argument):
    """An endless data set needs a number of steps."""
    endless = isinstance(episodes, tf.data.Dataset) and (
        int(episodes.cardinality()) == tf.data.INFINITE_CARDINALITY
    )
    if steps is None and endless:
        raise ValueError(
            f"Expected `{argument}`, because the episodes are endless. Received: {argument}=None. "
            f"Pass {argument}=100, say, or make the episodes with count=..."
        )


def check_no_targets(y, method):
    """Episodes hold their own targets."""
    if y is not None:
        raise ValueError(
            f"Expected episodes alone, `{method}(episodes)`. Received: a second argument of type "
            f"{type(y).__name__}. {_HOW_TO_PASS}"
        )


def as_meta_batch(learner, episodes):
    """One meta-batch given by hand as tensors: `Episode`, masks optional."""
    if not isinstance(episodes, Episode) or not all(isinstance(e, Examples) for e in episodes):
        raise ValueError(
            "Expected one meta-batch, a tfmeta.Episode of arrays [B, rows, ...]. "
            f"Received: {type(episodes).__name__}."
        )

    def tensors(part):
        x, y = as_tensor(learner, part.x), as_targets(learner, part.y)
        mask = tf.ones(tf.shape(y)[:2]) if part.mask is None else part.mask
        return Examples(x, y, tf.convert_to_tensor(mask, tf.float32))

    episodes = Episode(*map(tensors, episodes))
    prepare(learner, tf.data.Dataset.from_tensors(episodes))
    return episodes


def check_ways(outputs, first, loss=None):
    """The labels of classification episodes fit the width of a network's outputs.

    Args:
        outputs: number of outputs of the network.
        first: the first meta-batch, NumPy arrays.
        loss: the compiled loss, whose `ignore_class` is no way, or None.
    """
    ignored = losses.ignored_class(loss)
    real = [part.y[part.y != ignored] for part in first]
    ways = int(max(y.max(initial=-1) for y in real)) + 1
    padded = not (first.support.mask.all() and first.query.mask.all())
    if ways > outputs or (ways < outputs and not padded and ignored is None):
        raise ValueError(
            f"Expected as many ways as the network has outputs, {outputs}. Received: episodes of "
            f"{ways} ways. Make the network with outputs={ways}, or the episodes with "
            f"ways={outputs}."
        )


def masks_work(learner):
    """True if padded rows change nothing in the results of a learner."""
    # A frozen layer goes by its moving averages, which are none of the batch's.
    layers = batch_norm_layers(learner.inner_network())
    return learner.supports_masks and not any(layer.trainable for layer in layers)


def assert_masks(learner, episodes):
    """Stop a compiled step that would count padded rows as real ones (XLA cannot stop)."""
    if masks_work(learner) or learner.jit_compile:
        return
    real = tf.reduce_all(episodes.support.mask > 0) & tf.reduce_all(episodes.query.mask > 0)
    tf.debugging.Assert(real, [f"{MARK}: {_padding_message(learner)}"])


def _padding_message(learner):
    wanted = (
        "a network without BatchNormalization (norm='layer' or 'group'), whose statistics would "
        "count padded rows"
        if learner.supports_masks
        else "a learner with supports_masks = True"
    )
    return (
        f"Expected, for episodes of variable ways or shots, {wanted}. Received: padded rows in "
        f"{type(learner).__name__}."
    )


def _episode_spec(episodes):
    """The element spec of a data set, if it is one of meta-batched episodes."""
    spec = getattr(episodes, "element_spec", None)
    wrong = not isinstance(spec, Episode) or isinstance(episodes, tf.data.Iterator)
    if wrong or not all(isinstance(part, Examples) for part in spec):
        raise ValueError(
            f"Expected episodes. Received: {_describe(episodes, spec)}. {_HOW_TO_PASS}"
        )
    for name, part in zip(Episode._fields, spec, strict=True):
        for field, value in zip(Examples._fields, part, strict=True):
            for tensor in tf.nest.flatten(value):
                if tensor is None or not hasattr(tensor, "shape"):
                    raise ValueError(f"Expected tensors in {name}.{field}. Received: {tensor}.")
        if not _is_meta_batch(part):
            raise ValueError(
                f"Expected a meta-batch: {name}.x of shape [B, rows, ...] and {name}.mask of shape "
                f"[B, rows]. Received: {_shapes(part.x)} and {part.mask.shape}. "
                f"{_AGAIN if part.mask.shape.rank == 3 else _SINGLE}"
            )
    return spec


_SINGLE = "Add `.batch(4)` to a data set of single episodes."
_AGAIN = "Leave out `.batch`, and set meta_batch_size where the episodes are made."


def _is_meta_batch(part):
    ranks = [t.shape.rank for t in tf.nest.flatten(part)]
    return part.mask.shape.rank == 2 and all(rank is not None and rank >= 2 for rank in ranks)


def _shapes(x):
    return x.shape if hasattr(x, "shape") else tf.nest.map_structure(lambda t: t.shape, x)


def _first(episodes):
    first = next(iter(episodes.take(1)), None)
    if first is None:
        raise ValueError(
            "Expected at least one meta-batch of episodes. Received: an empty data set."
        )
    return tf.nest.map_structure(lambda t: t.numpy(), first)


def _describe(episodes, spec):
    if isinstance(episodes, tf.data.Iterator):
        return "an iterator, of which nothing can be read twice; pass the data set itself"
    if isinstance(spec, tuple) and any(isinstance(part, Examples) for part in spec):
        return (
            "a data set of pairs that are no Episode; what is mapped over episodes takes one and "
            "returns one, .map(lambda episode: tfmeta.Episode(f(episode.support), episode.query))"
        )
    if getattr(spec, "_fields", None) == Episode._fields:
        return (
            "a data set of tuples that are called like Episode, which tf.data.Dataset.load gives; "
            ".map(lambda e: tfmeta.Episode(tfmeta.Examples(*e[0]), tfmeta.Examples(*e[1]))) makes "
            "episodes of them"
        )
    if spec is not None:
        return f"a data set of {type(spec).__name__}"
    if isinstance(episodes, Episode):
        return "one Episode (tf.data.Dataset.from_tensors(episode) makes a data set of it)"
    return f"an object of type {type(episodes).__name__}"
