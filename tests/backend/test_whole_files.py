"""Files and folders that are there whole, whenever their writer stops."""

import random
import subprocess
import sys
import time

import pytest

from tfmeta.backend import whole_files

# By the file alone: a process of these starts without TensorFlow.
WRITER = """
import importlib.util, itertools, pathlib, sys
spec = importlib.util.spec_from_file_location("whole_files", sys.argv[1])
whole_files = importlib.util.module_from_spec(spec)
spec.loader.exec_module(whole_files)
target = pathlib.Path(sys.argv[2])
for turn in itertools.count():
    with whole_files.whole_folder(target / "folder") as folder:
        for name in ("first", "second"):
            (folder / name).write_text(str(turn) * 1000)
    with whole_files.whole_file(target / "file") as file:
        file.write(str(turn).encode() * 100_000)
    print(turn, flush=True)
"""


def test_a_writer_that_is_killed_leaves_what_is_whole(tmp_path):
    draws = random.Random(0)
    for turn in range(10):
        target = tmp_path / str(turn)
        target.mkdir()
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, whole_files.__file__, target], stdout=subprocess.PIPE
        )
        process.stdout.readline()  # one is written
        time.sleep(draws.uniform(0.0, 0.02))
        process.kill()
        process.communicate()
        # In the middle of an exchange the old one is beside its place.
        folder = target / "folder"
        folder = folder if folder.exists() else next(target.glob(".folder.*.old"))
        first, second = ((folder / name).read_text() for name in ("first", "second"))
        assert first == second
        size = (target / "file").stat().st_size
        assert size
        assert size % 100_000 == 0


def write_folder(path, text, error=None):
    with whole_files.whole_folder(path) as folder:
        (folder / "name").write_text(text)
        if error:
            raise error


def write_file(path, text, error=None):
    with whole_files.whole_file(path) as file:
        file.write(text.encode())
        if error:
            raise error


def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path):
    folder, file = tmp_path / "new" / "folder", tmp_path / "new" / "file"
    for write, path in ((write_folder, folder), (write_file, file)):
        write(path, "older")
        write(path, "old")
        with pytest.raises(OSError, match="full"):
            write(path, "new", OSError("full"))
    assert (folder / "name").read_text() == "old"
    assert file.read_text() == "old"
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["file", "folder"]
