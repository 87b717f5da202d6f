"""Disks that are really full: small file systems in memory, where this user may mount them."""

import contextlib
import os
import shutil
import subprocess

import pytest

PAGE_BYTES = 4096


@contextlib.contextmanager
def small_disk(folder, kilobytes):
    """A new folder on a file system of so many kB; the test is skipped where none may be made."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root may mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@contextlib.contextmanager
def filled(folder, free):
    """A file takes all but so many bytes of a file system, and goes at the end."""
    path = folder / "filler"
    path.write_bytes(bytes(max(0, shutil.disk_usage(folder).free - free)))
    assert shutil.disk_usage(folder).free == free
    try:
        yield
    finally:
        os.remove(path)
