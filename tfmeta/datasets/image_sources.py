"""Where images lie: in a folder, or in a zip file, which is never extracted. No limit is passed."""

import hashlib
import os
import posixpath
import re
import stat
import threading
import zipfile

from tfmeta.datasets.image_files import folders_of, is_hidden, is_image

# Bytes of one file. A zip member of a few kB may say that it is larger than any memory.
LARGEST_FILE = 2**27


class InFolder:
    """Images below a folder; links are followed, but not in circles.

    Attributes:
        path: the folder.
        names: paths of the images, relative to it and with "/", class by class, sorted.
        files, folders: the same of all folders, and of all files but the images of a class, of
            which it has one; in no order, without what is hidden.
        kind: "folder" or "zip", in messages.

    Raises:
        FileNotFoundError: an image is a link to nowhere.
        PermissionError: a folder may not be read.
        ValueError: an image is no file, or a folder is called like an image.
    """

    kind = "folder"

    def __init__(self, path):
        self.path, self.files, self.folders, found = path, [], [], {}
        self._walk("", (), found)
        self._facts = [fact for _, facts in sorted(found.items()) for fact in facts]
        self.names = [name for name, *_ in self._facts]

    def _walk(self, here, above, found):
        folder = os.path.join(self.path, here) if here else self.path
        real, images = os.path.realpath(folder), []
        for entry in _entries(folder):
            name = f"{here}/{entry.name}" if here else entry.name
            if is_hidden(entry.name):
                continue
            if entry.is_dir():
                # A link to a folder above would be walked for ever.
                if os.path.realpath(entry.path) not in (real, *above):
                    _check_folders([name])
                    self.folders.append(name)
                    self._walk(name, (real, *above), found)
            elif is_image(entry.name):
                status = _checked_stat(entry, name)
                images.append((name, status.st_size, status.st_mtime_ns))
            else:
                self.files.append(name)
        if images:
            found[here] = sorted(images)
            self.files += [name for name, *_ in (images[:1] if here else images)]

    def read(self, name):
        """The bytes of an image."""
        # Not to wait for ever, should the file be a pipe by now.
        number = os.open(os.path.join(self.path, name), os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(number, "rb") as file:
            status = os.fstat(number)
            _check_is_file(status, name)
            _check_bytes(status.st_size, name)
            return file.read(status.st_size)

    def fingerprint(self):
        """A hash of the names, sizes and times of change of the images in classes."""
        return _hash(fact for fact in self._facts if "/" in fact[0])

    def close(self):
        pass


class InZip:
    """Images in a zip file: as `InFolder`.

    Raises:
        ValueError: the file is no zip file, a member would lie outside of it, or is there twice, or
            a folder is called like an image.
    """

    kind = "zip"

    def __init__(self, path):
        if not zipfile.is_zipfile(path):
            raise ValueError(
                f"Expected a folder or a zip file. Received: {path}, which is neither."
            )
        self.path, self.files, self._members = path, [], {}
        self._lock = threading.Lock()
        self._archive = zipfile.ZipFile(path)
        folders = set()
        for info in self._archive.infolist():
            name = _checked_member(info.filename, path)
            inside = [*folders_of(name), name] if info.is_dir() else folders_of(name)
            _check_folders(inside)
            folders.update(inside)
            if not info.is_dir():
                self.files.append(name)
            if not info.is_dir() and is_image(name):
                if name in self._members:
                    raise ValueError(
                        f"Expected each image once. Received: {name} twice in {path}. Make the "
                        "file anew from a folder."
                    )
                self._members[name] = info
        self.folders = list(folders)
        self.names = sorted(self._members, key=_by_class)

    def read(self, name):
        """The bytes of an image."""
        # What the archive says of the size is a bound: no more than that is unpacked.
        _check_bytes(self._members[name].file_size, name)
        with self._lock:  # before Python 3.13 not every read of one ZipFile is safe in threads
            return self._archive.read(self._members[name])

    def fingerprint(self):
        """A hash of the names, sizes and checksums of all images."""
        infos = ((name, self._members[name]) for name in self.names)
        return _hash((name, info.file_size, info.CRC) for name, info in infos)

    def close(self):
        """Lets go of the file."""
        self._archive.close()


def _entries(folder):
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise PermissionError(
            f"Expected a folder that can be read. Received: {error.filename} ({error.strerror}). "
            "Change its permissions, or move it away."
        ) from error


def class_of(name):
    """The class of an image: the folder that holds it."""
    return posixpath.dirname(name)


def _by_class(name):
    return class_of(name), name


def _hash(facts):
    return hashlib.sha256("\n".join(map(repr, facts)).encode("utf-8", "replace")).hexdigest()


def _checked_stat(entry, name):
    try:
        status = entry.stat()
    except OSError:
        raise FileNotFoundError(
            f"Expected images that are there. Received: {name}, a link to "
            f"{os.readlink(entry.path)}, which is not there. Mend the link, or remove it."
        ) from None
    _check_is_file(status, name)
    return status


def _check_is_file(status, name):
    """An image is a file: a pipe would be read for ever."""
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"Expected images in files. Received: {name}, which is no file.")


def _check_bytes(size, name):
    if size > LARGEST_FILE:
        raise ValueError(
            f"Expected images in files of at most {LARGEST_FILE // 2**20} MiB. Received: {name} of "
            f"{size / 2**20:,.0f} MiB. Shrink or remove it."
        )


def _check_folders(names):
    """No folder is called like an image: is it a class, or what was left of a picture?"""
    for name in filter(is_image, sorted(names)):
        raise ValueError(
            f"Expected images, and folders that are not called like one. Received: a folder {name}."
            " Give it another name, or remove it."
        )


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
