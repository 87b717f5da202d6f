"""A folder or zip file of images as a `ClassDataset`."""

import os
import warnings

import numpy as np

from tfmeta.arguments import check_flag
from tfmeta.datasets.arrays import from_arrays
from tfmeta.datasets.cache import cached, progress_bar
from tfmeta.datasets.decode import checked_channels, checked_size
from tfmeta.datasets.image_files import warn_of_passed_over
from tfmeta.datasets.image_sources import InFolder, InZip, class_of
from tfmeta.datasets.pictures import Pictures
from tfmeta.hints import Path
from tfmeta.rows import empty_rows
from tfmeta.types import ClassDataset


def from_folder(
    path: Path,
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    cache: Path | None = None,
    in_memory: bool = True,
    on_error: str = "raise",
) -> ClassDataset:
    """Reads images from a folder in which each sub-folder is a class.

    The class of an image is the folder that directly holds it, named by its path inside
    `path`: "cat" for `path/cat/1.png`, "Greek/character01" for
    `path/Greek/character01/1.png`. Files of every kind that pillow reads (PNG, JPEG, WEBP, BMP,
    TIFF, the first picture of a GIF, ...) are read, in sorted order. Other files in class folders,
    images beside these, and folders without an image are passed over with a warning that names
    them; hidden files are without one.

    A JPEG that is much larger than `image_size` is decoded at a half, a quarter or an eighth of its
    size. Files of more than 128 MiB are refused, and pictures of more than 50 million pixels.

    Args:
        path: a folder, or a .zip file, which is never extracted.
        image_size: (height, width), or one integer for both; images are resized (antialiased).
            None keeps them as they are, which needs images of one size.
        channels: 1 (grey) or 3 (RGB). None keeps what the images have, which must agree.
            Transparent parts become white.
        cache: a folder of its own, for what memory does not hold: the images are written there,
            decoded and resized, once, and read from there when an episode needs them. It is made
            where it is not; made further, where that was stopped; and refused where it is of
            other images, or of another size. Nothing in it can run code.
        in_memory: False decodes an image each time that an episode needs it: without a cache this
            is slow, and needs no room.
        on_error: what to do with an image that cannot be read: "raise" an error that names it, or
            "skip" it, with a warning that counts them. Where `in_memory` is False, another image of
            its class takes its place; `dataset.x.source.skipped` names them.

    Returns:
        `ClassDataset` with x uint8 `[rows, height, width, channels]`.

    Raises:
        FileNotFoundError: `path` does not exist, or an image in it is a link to nowhere.
        PermissionError: a folder may not be read.
        OSError: there is no room for the cache.
        ValueError: `path` is neither a folder nor a zip file, holds no class, or an image is
            broken, too large, or differs in size or channels; a folder is called like an image; a
            zip member would lie outside, or is there twice; or the cache is of something else.
        ImportError: pillow is missing: `pip install tfmeta[images]`.
    """
    path = os.fspath(path)
    image_size, channels = checked_size(image_size), checked_channels(channels)
    _check_how(cache, check_flag("in_memory", in_memory), on_error)
    if not os.path.exists(path):
        raise FileNotFoundError(f"Expected a folder or a zip file. Received: {path} (not found).")
    files = InFolder(path) if os.path.isdir(path) else InZip(path)
    _keep_those_in_classes(files)
    warn_of_passed_over(path, files.files, files.folders)
    pictures = Pictures(files, image_size, channels, on_error)
    if not in_memory and cache is None:
        return from_arrays(pictures, [class_of(name) for name in pictures.names])
    try:
        dataset = _read_all(pictures) if cache is None else _from_cache(pictures, cache)
    finally:
        files.close()
    if pictures.skipped:
        warnings.warn(pictures.said(), stacklevel=2)
    return dataset


def _check_how(cache, in_memory, on_error):
    if on_error not in ("raise", "skip"):
        raise ValueError(f"Expected on_error to be 'raise' or 'skip'. Received: {on_error!r}.")
    if cache is not None and not in_memory:
        raise ValueError(
            "Expected cache or in_memory=False, not both. Received: both. A cache is on disk."
        )


def _read_all(pictures):
    """The pictures in memory, once, where TensorFlow can read them."""
    x, names, update = None, [], progress_bar(len(pictures))
    for done, images, some in pictures.batches(0):
        if x is None:
            x = empty_rows(len(pictures), images.shape[1:], images.dtype)
        x[len(names) : len(names) + len(some)] = images
        names += some
        update(done)
    return from_arrays(x[: len(names)], [class_of(name) for name in names])


def _from_cache(pictures, cache):
    files = pictures.files
    dataset, skipped = cached(
        os.fspath(cache),
        {
            "kind": files.kind,
            "image_size": list(pictures.image_size or ()),
            "channels": pictures.channels,
            "images": len(pictures),
            "fingerprint": files.fingerprint(),
        },
        files.path,
        len(pictures),
        lambda start: (
            (done, images, np.array([class_of(name) for name in names], dtype=str))
            for done, images, names in pictures.batches(start)
        ),
        pictures.skipped,
    )
    pictures.skipped.update(skipped)
    if skipped and pictures.on_error == "raise":
        raise ValueError(
            f"Expected pictures that can all be read. Received: a cache made with on_error='skip'. "
            f"{pictures.said()}. Pass on_error='skip', or remove {cache} to make it anew."
        )
    return dataset


def _keep_those_in_classes(files):
    """Takes images directly in the root out of the names; a ValueError if there are no others."""
    loose = [name for name in files.names if "/" not in name]
    files.names = [name for name in files.names if "/" in name]
    if files.names:
        return
    if loose:
        raise ValueError(
            f"Expected one sub-folder for each class. Received: {len(loose)} images directly in "
            f"{files.path}, such as {loose[0]}. Put the images of each class into a folder of its "
            "own."
        )
    raise ValueError(
        "Expected images that pillow reads in one sub-folder for each class. Received: "
        f"{files.path}, which has none."
    )
