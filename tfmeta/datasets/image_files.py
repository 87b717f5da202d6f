"""Which files of a folder are images, and what is said of the others."""

import functools
import posixpath
import warnings

from tfmeta.datasets.decode import image_module

# Pillow knows them by name: data, films, text, and drawings that take another program.
_NO_PICTURES = {"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"}
_SHOWN = 5


def is_image(name):
    """Whether a relative path has an ending that pillow reads, and is not hidden."""
    return not is_hidden(name) and posixpath.splitext(name)[1].lower() in _endings()


def is_hidden(name):
    """Whether a relative path, or a folder in it, is hidden."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


@functools.cache
def _endings():
    image_class = image_module()
    kinds = image_class.registered_extensions()  # those of plugins that are imported, too
    readable = set(image_class.OPEN) - _NO_PICTURES
    return {ending for ending, kind in kinds.items() if kind in readable}


def warn_of_passed_over(path, files, folders):
    """Say what was no example: other files in class folders, images beside them, lost classes.

    Args:
        path: what was read.
        files: relative paths of all files in it.
        folders: relative paths of all folders in it.
    """
    said = [
        (_others(files), "files that pillow does not read"),
        ([f for f in files if "/" not in f and is_image(f)], "images beside the class folders"),
        (_without_images(files, folders), "folders without an image, which are no class"),
    ]
    said = [f"{len(names)} {what}: {_named(names)}" for names, what in said if names]
    if said:
        warnings.warn(f"Passed over in {path}: {'; '.join(said)}.", stacklevel=3)


def _others(files):
    return [f for f in files if "/" in f and not is_hidden(f) and not is_image(f)]


def _without_images(files, folders):
    """The folders that hold no image at any depth, without those inside of such a one."""
    full = {parent for name in filter(is_image, files) for parent in folders_of(name)}
    empty = {folder for folder in folders if folder not in full and not is_hidden(folder)}
    return sorted(f for f in empty if not empty & set(folders_of(f)))


def folders_of(name):
    """The folders that a path lies in, "a" and "a/b" of "a/b/1.png"."""
    parts = name.split("/")[:-1]
    return ["/".join(parts[: i + 1]) for i in range(len(parts))]


def _named(names):
    names = sorted(names)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
