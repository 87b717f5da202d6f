"""Data sets of tensorflow-datasets as a `ClassDataset`."""

import difflib
import functools
import os
import re
from typing import Any

import numpy as np
import tensorflow as tf

from tfmeta.datasets.arrays import checked_labels, from_arrays
from tfmeta.datasets.cache import cached
from tfmeta.datasets.decode import checked_channels, checked_size
from tfmeta.hints import Path
from tfmeta.rows import empty_rows
from tfmeta.types import ClassDataset

_BATCH = 256


def from_tfds(
    name: str,
    split: Any = "train",
    data_dir: Path | None = None,
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    download: bool = True,
    label_key: str = "label",
    image_key: str = "image",
    cache: Path | None = None,
) -> ClassDataset:
    """Loads a data set with `tfds.load` and groups it by label.

    Args:
        name: name of the data set, such as "omniglot" or "cifar100".
        split: a split of it, such as "train" or "train+test".
        data_dir: where tfds keeps its data; None for its own default.
        image_size: (height, width), or one integer for both; images are resized (antialiased).
            None keeps them as they are, which needs images of one size.
        channels: 1 (grey) or 3 (RGB); None keeps what the data set has.
        download: whether tfds may download and prepare the data set.
        label_key: the feature to group by: one integer or string an example.
        image_key: the feature that becomes x.
        cache: a folder of its own, for what memory does not hold, as in
            `tfmeta.datasets.from_folder`: the images are written there once, resized, and read from
            there when an episode needs them.

    Returns:
        `ClassDataset` with x `[rows, height, width, channels]` of the data set's own dtype
        (uint8 for images), and class names as tfds has them.

    Raises:
        ImportError: tensorflow-datasets is missing: `pip install tfmeta[tfds]`.
        ValueError: the data set cannot be loaded, lacks a feature, or its images differ in
            size and `image_size` is None; or the cache is of something else.
        OSError: there is no room for the cache.
    """
    image_size, channels = checked_size(image_size), checked_channels(channels)
    examples, info = _load(name, split, data_dir, download)
    features, count = info.features, int(examples.cardinality())
    label_feature = _feature(features, label_key, "label_key", name)
    _check_images(name, _feature(features, image_key, "image_key", name).shape, image_size)
    _check_count(count, split)

    def plain(example):
        return _image(example[image_key], image_size, channels), example[label_key]

    def named(distinct):
        return _names(distinct, label_feature)

    produce = functools.partial(_batches, examples, plain)
    if cache is None:
        x, labels = _read_all(produce, count)
        return from_arrays(x, labels, named(np.unique(labels)))
    identity = {
        "kind": "tfds",
        "name": getattr(info, "full_name", name),  # with its version
        "split": str(split),
        "image_size": list(image_size or ()),
        "channels": channels,
        "image_key": image_key,
        "label_key": label_key,
        "images": count,
    }
    source = f"{name!r} of tfds, split {split!r}"
    return cached(os.fspath(cache), identity, source, count, produce, {}, named)[0]


def _check_images(name, shape, image_size):
    """A ValueError if images are of no fixed shape and are not made so."""
    if image_size is None and None in shape:
        raise ValueError(
            f"Expected image_size for {name!r}, whose images have shape {shape}. "
            "Received: image_size=None. Pass image_size=(height, width)."
        )


def _check_count(count, split):
    if count == 0:
        raise ValueError(f"Expected at least one example. Received: none in split {split!r}.")


def _batches(examples, plain, start):
    """From example `start` on: how many there were, and arrays of images and labels."""
    batches = examples.skip(start).map(plain, num_parallel_calls=tf.data.AUTOTUNE)
    for images, labels in batches.batch(_BATCH).prefetch(2).as_numpy_iterator():
        start += len(images)
        yield start, images, checked_labels(labels)


def _read_all(produce, count):
    """All examples in memory, x where TensorFlow can read it."""
    x, labels, begin = None, [], 0
    for done, images, some in produce(0):
        if x is None:
            x = empty_rows(count, images.shape[1:], images.dtype)
        x[begin:done], begin = images, done
        labels.append(some)
    return x, np.concatenate(labels)


def _load(name, split, data_dir, download):
    """The `tf.data.Dataset` of examples, and what tfds knows of it."""
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(
            "tfmeta.datasets.from_tfds needs tensorflow-datasets: pip install tfmeta[tfds]"
        ) from error
    try:
        examples, info = tfds.load(
            name, split=split, data_dir=data_dir, download=download, with_info=True
        )
    except Exception as error:  # tfds raises many kinds, AssertionError among them
        raise ValueError(
            f"Expected a data set that tfds.load can load. Received: name={name!r}, "
            f"split={split!r}, data_dir={data_dir!r}, download={download!r}. "
            f"tfds says: {type(error).__name__}: {_in_short(error, name)}"
        ) from error
    return examples, info


def _in_short(error, name):
    """What tfds says, with the names nearest to `name` in the place of its whole catalogue."""
    said, *catalogue = re.split(r"\s*Available datasets:", str(error))
    if not catalogue:
        return said
    known = re.findall(r"^\s*- (\S+)$", catalogue[0], re.MULTILINE)
    near = difflib.get_close_matches(str(name), known)
    meant = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"{said}{meant} Its {len(known)} data sets: tfds.list_builders()."


def _feature(features, key, argument, name):
    """`features[key]`, or an error that lists the keys there are."""
    if key not in features:
        raise ValueError(
            f"Expected {argument} to be a feature of {name!r}: {sorted(features)}. "
            f"Received: {key!r}."
        )
    return features[key]


def _image(image, image_size, channels):
    """One image `[H, W, C]` in the channels and the size wanted, of its own dtype."""
    dtype, have = image.dtype, image.shape[-1]
    if channels == 1 and have == 3:
        image = tf.image.rgb_to_grayscale(image)
    elif channels == 3 and have == 1:
        image = tf.image.grayscale_to_rgb(image)
    elif channels not in (None, have):
        raise ValueError(f"Expected images with 1 or 3 channels. Received: {have}.")
    if image_size is not None:
        image = _resized(image, image_size)
    if image.dtype == dtype:
        return image
    return tf.cast(tf.round(image) if dtype.is_integer else image, dtype)


def _resized(image, image_size):
    """float32 `[height, width, C]`: the mean over areas when shrinking, as `from_folder` does."""
    resized = tf.cond(
        tf.reduce_all(tf.shape(image)[:2] >= image_size),
        lambda: tf.image.resize(image, image_size, method="area"),
        lambda: tf.image.resize(image, image_size, method="bilinear", antialias=True),
    )
    return tf.ensure_shape(resized, (*image_size, None))


def _names(distinct, label_feature):
    """Names of the distinct labels: those that the label feature has."""
    names = getattr(label_feature, "names", None)
    if names is None:
        return [str(label) for label in distinct.tolist()]
    if distinct.min() < 0:
        raise ValueError(
            "Expected a split with labels. Received: labels of -1, which is how tfds marks "
            "examples without one. Choose another split."
        )
    return [names[label] for label in distinct]
