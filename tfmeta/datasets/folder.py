"""A folder or zip file of images as a `ClassDataset`."""

import os
import posixpath
import re
import threading
import zipfile

import numpy as np

from tfmeta.datasets.arrays import from_arrays
from tfmeta.datasets.decode import checked_channels, checked_size, decode_all
from tfmeta.datasets.image_files import folders_of, is_image, warn_of_passed_over


def from_folder(path, image_size=None, channels=None):
    """Reads images from a folder in which each sub-folder is a class.

    The class of an image is the folder that directly holds it, named by its path inside
    `path`: "cat" for `path/cat/1.png`, "Greek/character01" for
    `path/Greek/character01/1.png`. Files of every kind that pillow reads (PNG, JPEG, WEBP, BMP,
    TIFF, the first picture of a GIF, ...) are read, in sorted order. Other files in class folders,
    images beside these, and folders without an image are passed over with a warning that names
    them; hidden files are without one.

    Args:
        path: a folder, or a .zip file, which is read in memory and never extracted.
        image_size: (height, width), or one integer for both; images are resized (antialiased).
            None keeps them as they are, which needs images of one size.
        channels: 1 (grey) or 3 (RGB). None keeps what the images have, which must agree.
            Transparent parts become white.

    Returns:
        `ClassDataset` with x uint8 `[rows, height, width, channels]`.

    Raises:
        FileNotFoundError: `path` does not exist, or an image in it is a link to nowhere.
        PermissionError: a folder may not be read.
        ValueError: `path` is neither a folder nor a zip file, holds no class, or an image is
            broken or differs in size or channels; a folder is called like an image; or a zip
            member would lie outside, or is there twice.
        ImportError: pillow is missing: `pip install tfmeta[images]`.
    """
    path = os.fspath(path)
    image_size, channels = checked_size(image_size), checked_channels(channels)
    if not os.path.exists(path):
        raise FileNotFoundError(f"Expected a folder or a zip file. Received: {path} (not found).")
    if os.path.isdir(path):
        names, others, folders = _names_in_folder(path)
        classes = _classes_of(names, path)
        warn_of_passed_over(path, others, folders)
        images = decode_all(lambda name: _read_file(path, name), names, image_size, channels)
    else:
        images, classes, names = _from_zip(path, image_size, channels)
    return from_arrays(_stack(images, names), classes)


def _names_in_folder(path):
    """Sorted paths, relative to `path` and with "/": of images below it, all files, all folders."""

    def fail(error):
        raise PermissionError(
            f"Expected a folder that can be read. Received: {error.filename} ({error.strerror}). "
            "Change its permissions, or move it away."
        ) from error

    files, folders = [], []
    for folder, subfolders, inside in os.walk(path, onerror=fail, followlinks=True):
        real = os.path.join(os.path.realpath(folder), "")
        subfolders[:] = [
            name
            for name in subfolders
            # A link to a folder above would be walked for ever.
            if not real.startswith(os.path.join(os.path.realpath(f"{folder}/{name}"), ""))
        ]
        here = os.path.relpath(folder, path).replace(os.sep, "/")
        subfolder_paths, file_paths = (
            [posixpath.normpath(posixpath.join(here, name)) for name in names]
            for names in (subfolders, inside)
        )
        _check_folders(subfolder_paths)
        folders += subfolder_paths
        files += file_paths
    names = sorted(filter(is_image, files))
    for name in names:
        _check_file(os.path.join(path, name), name)
    return names, files, folders


def _check_folders(names):
    """No folder is called like an image: is it a class, or what was left of a picture?"""
    for name in filter(is_image, sorted(names)):
        raise ValueError(
            f"Expected images, and folders that are not called like one. Received: a folder {name}."
            " Give it another name, or remove it."
        )


def _check_file(path, name):
    """An image is a file: a link may lead nowhere, and a pipe would be read for ever."""
    if not os.path.exists(path):
        raise FileNotFoundError(
            f"Expected images that are there. Received: {name}, a link to {os.readlink(path)}, "
            "which is not there. Mend the link, or remove it."
        )
    if not os.path.isfile(path):
        raise ValueError(f"Expected images in files. Received: {name}, which is no file.")


def _read_file(folder, name):
    with open(os.path.join(folder, name), "rb") as file:
        return file.read()


def _from_zip(path, image_size, channels):
    """Images, classes and names of the members of a zip file."""
    if not zipfile.is_zipfile(path):
        raise ValueError(f"Expected a folder or a zip file. Received: {path}, which is neither.")
    with zipfile.ZipFile(path) as archive:
        members, files, folders = {}, [], set()
        for info in archive.infolist():
            name = _checked_member(info.filename, path)
            inside = [*folders_of(name), name] if info.is_dir() else folders_of(name)
            _check_folders(inside)
            folders.update(inside)
            if not info.is_dir():
                files.append(name)
            if not info.is_dir() and is_image(name):
                if name in members:
                    raise ValueError(
                        f"Expected each image once. Received: {name} twice in {path}. Make the "
                        "file anew from a folder."
                    )
                members[name] = info
        names = sorted(members)
        classes = _classes_of(names, path)
        warn_of_passed_over(path, files, folders)
        lock = threading.Lock()

        def read(name):
            with lock:  # before Python 3.13 not every read of one ZipFile is safe in threads
                return archive.read(members[name])

        return decode_all(read, names, image_size, channels), classes, names


def _checked_member(name, path):
    """The normal form of a member's name, once it is known to lie inside the archive."""
    plain = posixpath.normpath(name.replace("\\", "/"))
    absolute = plain.startswith("/") or re.match("[A-Za-z]:", plain)
    if absolute or plain == ".." or plain.startswith("../"):
        raise ValueError(
            f"Expected zip members inside the archive's own folder. Received: {name!r} in {path}, "
            "which points outside. Do not trust this file."
        )
    return plain


def _classes_of(names, path):
    """The folder of each name; images directly in the root are taken out of `names`."""
    loose = [name for name in names if "/" not in name]
    names[:] = [name for name in names if "/" in name]
    if names:
        return [posixpath.dirname(name) for name in names]
    if loose:
        raise ValueError(
            f"Expected one sub-folder for each class. Received: {len(loose)} images directly in "
            f"{path}, such as {loose[0]}. Put the images of each class into a folder of its own."
        )
    raise ValueError(
        f"Expected images that pillow reads in one sub-folder for each class. Received: {path}, "
        "which has none."
    )


def _stack(images, names):
    """uint8 `[rows, height, width, channels]`, or an error that names two images that differ."""
    for axes, what, argument in (
        (slice(2, 3), "channels", "channels=1 or channels=3"),
        (slice(0, 2), "one size", "image_size=(height, width)"),
    ):
        for image, name in zip(images, names, strict=True):
            if image.shape[axes] != images[0].shape[axes]:
                raise ValueError(
                    f"Expected images of {what}. Received: {names[0]} of shape {images[0].shape} "
                    f"and {name} of shape {image.shape}. Pass {argument}."
                )
    return np.stack(images)
