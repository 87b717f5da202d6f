"""Episodes whose pictures Keras's preprocessing layers change, each time in another way."""

from typing import Any

import tensorflow as tf

from tfmeta.arguments import check_flag, check_integer
from tfmeta.episodes.random_layers import Seeds, check_layers, flattened, one_by_one, with_seeds
from tfmeta.loops import map_fn
from tfmeta.ops import random_numbers as rng
from tfmeta.stream import prefetched
from tfmeta.types import Episode, Examples


def augmented(
    episodes: tf.data.Dataset,
    layers: Any,
    support: bool = True,
    query: bool = True,
    *,
    seed: int = 0,
    start: int = 0,
    step: int = 1,
) -> tf.data.Dataset:
    """Episodes after random changes by Keras layers, such as crops, flips and colours.

    Each picture of each episode gets a draw of its own. What episode number i gets depends on
    `seed` and i only, as everything of an episode does; so `start` and `step` are those of
    `episodes`, and a run that resumes sees what it would have seen. Episodes that are counted get
    another draw on each pass. To evaluate, use the episodes as they are.

    The layers run in the pipeline and are traced there once; the learner sees shapes that do not
    change. Random layers are copied, and those given stay as they are.

    `keras.layers.MixUp` and `CutMix` mix the rows of a set, and their labels, which must be one-hot
    (`docs/data.md` shows how); such episodes have no padding.

    Args:
        episodes: `tf.data.Dataset` of meta-batched `Episode`, x one tensor `[B, rows, ...]`, as
            `tfmeta.episodes.classification` gives them. Padding stays 0.
        layers: a Keras layer, or a list of them, called one after the other on the x of a set,
            `[rows, H, W, C]`, with `training=True` if they take it. Pictures are floats in
            `0..1`: give layers that ask for it `value_range=(0, 1)`. Layers of your own draw by
            `keras.random`, from a `keras.random.SeedGenerator` that is an attribute.
        support, query: whether these sets are changed.
        seed: int.
        start, step: number of the first episode, and distance between neighbours.

    Returns:
        `tf.data.Dataset` of `Episode` in the shapes of `episodes`, but for what the layers change.

    Raises:
        ValueError: an argument is out of range, a layer expects pixels in `0..255`, mixes labels
            that are not one-hot, or has weights beside randomness.

    Example:

    ```python
    layers = [keras.layers.RandomFlip(), keras.layers.RandomTranslation(0.1, 0.1)]
    episodes = tfmeta.episodes.augmented(tfmeta.episodes.classification(train), layers)
    learner.fit(episodes, steps_per_epoch=1000)
    ```
    """
    layers = flattened(layers)
    is_changed = check_flag("support", support), check_flag("query", query)
    seed, start = check_integer("seed", seed), check_integer("start", start, 0)
    step = check_integer("step", step, 1)
    _check_episodes(episodes)
    check_layers(layers, [part.y for part in episodes.element_spec])
    seeds = Seeds()
    layers = [with_seeds(layer, seeds) for layer in layers]

    def change(of_pass, done, episode):
        numbers = start + step * (done + tf.range(_tasks(episode)))
        keys = rng.random_bits(seed, numbers + of_pass, 2)  # [2, B]
        parts = zip(episode, is_changed, tf.unstack(tf.cast(keys, tf.int64)), strict=True)
        return Episode(*(_changed(p, layers, seeds, k) if on else p for p, on, k in parts))

    if int(episodes.cardinality()) == tf.data.INFINITE_CARDINALITY:
        return prefetched(_mapped(episodes, change, tf.constant(0, tf.int64)))
    # Each pass is numbered from another place, far from each other.
    passes = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).take(1)
    result = passes.flat_map(lambda key: _mapped(episodes, change, tf.cast(key, tf.int64) * 2**20))
    result = result.apply(tf.data.experimental.assert_cardinality(episodes.cardinality()))
    return prefetched(result)


def _mapped(episodes, change, of_pass):
    """`change(of_pass, number of episodes before, episode)` of each meta-batch."""

    def count(done, episode):
        return done + _tasks(episode), (done, episode)

    counted = episodes.scan(tf.constant(0, tf.int64), count)
    return counted.map(
        lambda done, episode: change(of_pass, done, episode), tf.data.AUTOTUNE, deterministic=True
    )


def _tasks(episode):
    """B, of a meta-batch."""
    return tf.shape(episode.query.mask, tf.int64)[0]


def _changed(examples, layers, seeds, keys):
    """`Examples` of a meta-batch after the layers, each task by a key of its own, int64 `[B]`."""

    def one_task(x, y, mask, key):
        with seeds.of(key):
            for layer in layers:
                x, y = _after(layer, x, y, mask, seeds)
        real = tf.reshape(mask > 0, [-1] + [1] * (x.shape.rank - 1))
        return tf.where(real, x, tf.zeros([], x.dtype)), y

    x, y, mask = examples
    given = (x, y, mask, keys)
    specs = [tf.TensorSpec(t.shape[1:], t.dtype) for t in given]
    found = tf.function(one_task).get_concrete_function(*specs).structured_outputs
    spec = tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape, t.dtype), found)
    x, y = map_fn(lambda task: one_task(*task), given, fn_output_signature=spec)
    return Examples(x, y, mask)


def _after(layer, x, y, mask, seeds):
    """x and y of one task, `[rows, ...]`, after a layer."""
    if layer.mixes_labels:
        whole = tf.debugging.Assert(
            tf.reduce_all(mask > 0),
            ["Expected episodes without padding to mix their rows. Received: a 0 in a mask."],
        )
        with tf.control_dependencies([whole]):
            mixed = layer.call({"images": tf.identity(x), "labels": y})
        return mixed["images"], tf.cast(mixed["labels"], y.dtype)
    return (one_by_one(layer.call, x, seeds) if layer.draws_once else layer.call(x)), y


def _check_episodes(episodes):
    spec = getattr(episodes, "element_spec", None)
    if not isinstance(spec, Episode):
        raise ValueError(
            "Expected a tf.data.Dataset of tfmeta.Episode, such as "
            f"tfmeta.episodes.classification(dataset). Received: {type(episodes).__name__}."
        )
    if not isinstance(spec.support.x, tf.TensorSpec):
        raise ValueError(
            f"Expected episodes whose x is one tensor. Received: {spec.support.x}. Change a part "
            "of a nest by episodes.map(...)."
        )
