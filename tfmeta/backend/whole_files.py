"""Files and folders that are there whole or not at all: written beside their place, then put there.

A full disk or a kill while something is written leaves what was there before.
"""

import contextlib
import os
import pathlib
import secrets
import shutil


@contextlib.contextmanager
def whole_file(path):
    """A file of bytes to write to, which takes the place of `path` when the block is through.

    Yields:
        A binary file.
    """
    path = pathlib.Path(path)
    partial = _beside(path)
    try:
        with open(partial, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path):
    """A new folder to write to, which takes the place of `path` when the block is through.

    What was there goes when the new one is whole. A folder cannot replace another in one step:
    for the time of a rename the old one is beside its place, under a name that ends in ".old".

    Yields:
        A `pathlib.Path`.
    """
    path = pathlib.Path(path)
    partial = _beside(path)
    old = partial.with_name(f"{partial.name}.old")
    partial.mkdir()
    try:
        yield partial
        if path.exists():
            path.rename(old)
        try:
            partial.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def _beside(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")
