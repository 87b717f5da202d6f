"""Files of backups: each whole or not there at all, the last two kept."""

import io
import json
import os
import pathlib
import shutil
import warnings
import zipfile

import numpy as np

_KEPT = 2
_PARTIAL = ".partial"  # the end of a file's name while it is written
_KERAS_FILES = ("latest.weights.h5", "training_metadata.json")


class BackupFolder:
    """A folder of backups, `000000000400.npz` being the one after outer step 400.

    A file holds arrays and a dict of facts. It is written beside its place, and moved there when
    all of it is on the disk: a process may be killed, and a disk may be full, at any moment.

    Args:
        path: the folder.
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)

    def prepare(self):
        """Make the folder, and remove what a killed process left half written.

        Raises:
            ValueError: there is a file in its place, or nothing can be written there.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for left in self.path.glob("*" + _PARTIAL):
                left.unlink()
        except OSError as error:
            raise ValueError(
                f"Expected backup_dir to be a folder that can be written to. Received: "
                f"{self.path}: {error.strerror}. Give another folder."
            ) from error

    def write(self, number, arrays, facts):
        """Write one backup, and remove all but the last two.

        Args:
            number: of the outer step, an int.
            arrays: a list of NumPy arrays.
            facts: a dict, to be written as JSON.

        Returns:
            None, or the OSError that it was not written for: the files before are as they were.
        """
        path = self.path / f"{number:012}.npz"
        partial = path.with_name(path.name + _PARTIAL)
        named = {f"{i:06}": array for i, array in enumerate(arrays)}
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # Unbuffered: what a buffer holds when the disk is full is tried again at its end.
            with open(partial, "wb", buffering=0) as file:
                np.savez(_Whole(file), facts=np.array(json.dumps(facts)), **named)
                os.fsync(file.fileno())
            partial.replace(path)
            self._sync()
        except OSError as error:
            partial.unlink(missing_ok=True)
            return error
        for old in self._files()[_KEPT:]:
            old.unlink()
        return None

    def newest(self):
        """The newest backup that can be read: `(path, arrays, facts)`, or None if there is none.

        Raises:
            ValueError: there are files, and none of them can be read.
        """
        found = []
        for path in self._files():
            try:
                arrays, facts = _read(path)
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
                found.append(f"{path.name}, {path.stat().st_size} bytes, {_damage(path, error)}")
                continue
            if found:
                warnings.warn(
                    f"Expected backups in {self.path} that can be read. Received: "
                    f"{'; '.join(found)}. Going on with the one before, {path.name}.",
                    stacklevel=2,
                )
            return path, arrays, facts
        if found:
            raise ValueError(
                f"Expected a backup in {self.path} that can be read. Received: "
                f"{'; '.join(found)}. Remove the folder to begin anew."
            )
        self._check_not_of_keras()
        return None

    def remove(self):
        """Remove all backups, and the folder if nothing else is in it."""
        for file in [*self._files(), *self.path.glob("*" + _PARTIAL)]:
            file.unlink()
        if self.path.exists() and not any(self.path.iterdir()):
            self.path.rmdir()

    def free(self):
        """Bytes that are free on the folder's disk, in words."""
        return f"{shutil.disk_usage(self.path).free:,} bytes are free in {self.path}"

    def _files(self):
        return sorted(self.path.glob("[0-9]*.npz"), reverse=True)

    def _sync(self):
        """Wait until the names in the folder are on the disk, where a system can."""
        if hasattr(os, "O_DIRECTORY"):
            folder = os.open(self.path, os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _check_not_of_keras(self):
        theirs = [name for name in _KERAS_FILES if (self.path / name).exists()]
        if theirs:
            raise ValueError(
                f"Expected a folder of tfmeta.callbacks.BackupAndRestore. Received: {self.path} "
                f"with {' and '.join(theirs)} of keras.callbacks.BackupAndRestore. Go on with "
                "that callback, or give another folder."
            )


class _Whole(io.RawIOBase):
    """A raw file of which each `write` writes all bytes, or fails: of a full disk, it writes some.

    Args:
        file: the raw file.
    """

    def __init__(self, file):
        super().__init__()
        self._file = file

    def write(self, data):
        rest = memoryview(data).cast("B")
        size = len(rest)
        while len(rest):
            rest = rest[self._file.write(rest) :]
        return size

    def read(self, size=-1):
        return self._file.read(size)

    def seek(self, *place):
        return self._file.seek(*place)

    def tell(self):
        return self._file.tell()

    def seekable(self):
        return True


def _read(path):
    """Arrays, each against its checksum, and facts."""
    with np.load(path, allow_pickle=False) as file:
        facts = json.loads(str(file["facts"]))
        return [file[name] for name in sorted(file.files) if name != "facts"], facts


def _damage(path, error):
    if path.stat().st_size == 0:
        return "is empty"
    if isinstance(error, PermissionError):
        return "may not be read"
    whole = zipfile.is_zipfile(path)
    return f"is damaged ({error})" if whole else "is truncated (the end of the file is missing)"
