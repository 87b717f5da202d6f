"""A data set's rows in a folder of their own: written once, piece by piece, and mapped.

    x.bin           the rows, one after the other, and nothing else
    class_ids.npy   the class of each
    cache.json      what it is of, shape, type and names; written last: with it, the cache is whole
    progress.json   in its place while it is made: what there was at the last look
    labels.txt      labels of the rows so far, one a line, as JSON
    lock            held by the process that makes it

A file that is not whole is never read: `progress.json` and `cache.json` are replaced at once, and
name what must be there. Nothing is unpickled, no name in a file is a path, no link is followed.
"""

import contextlib
import errno
import json
import math
import os
import shutil
import warnings

import numpy as np

from tfmeta.types import ClassDataset

_FORMAT = 1
_WITHOUT_BAR = 2000  # images, which take a few seconds
_OWN = {"x.bin", "class_ids.npy", "cache.json", "progress.json", "labels.txt", "lock"}
_MEANINGS = {
    "kind": "another kind of source",
    "fingerprint": "other images, or images that changed since",
    "images": "another number of images",
}


def cached(path, identity, source, count, produce, skipped, named=None):
    """The data set in a cache, which is made first where it is not whole.

    Args:
        path: folder of the cache.
        identity: dict of JSON values, what the cache is of.
        source: what the examples are read from, in messages.
        count: number of examples to go through.
        produce: function from a number of examples to an iterator over those from there on:
            `(done, rows, labels)`, arrays `[rows, ...]` and `[rows]`.
        skipped: dict of what was left out, which `produce` fills as it goes.
        named: function from the sorted distinct labels to their names; `str` of each by default.

    Returns:
        `(ClassDataset, dict of what was left out)`.

    Raises:
        ValueError: the folder holds something else, the cache is of something else, or a file in it
            is cut short or is none.
        OSError: there is no room.
    """
    _check_folder(path)
    if not os.path.exists(os.path.join(path, "cache.json")):
        with _lock(path):
            if not os.path.exists(
                os.path.join(path, "cache.json")
            ):  # by another process, meanwhile
                with _told_of_room(path, source):
                    _make(path, identity, source, count, produce, skipped, named)
    facts = _read_json(path, "cache.json")
    _check_identity(path, facts, identity, source)
    return _open(path, facts), dict(facts.get("skipped", {}))


def progress_bar(count):
    """A function of the number of examples done: Keras's bar, where there are many."""
    if count <= _WITHOUT_BAR:
        return lambda done: None
    import keras

    return keras.utils.Progbar(count, unit_name="image").update


def _make(path, identity, source, count, produce, skipped, named):
    facts = {"format": _FORMAT, "identity": identity, "source": source, "done": 0, "rows": 0}
    facts |= {"x_bytes": 0, "label_bytes": 0, "shape": None, "dtype": None, "skipped": {}}
    if os.path.exists(os.path.join(path, "progress.json")):
        facts = _read_json(path, "progress.json")
        _check_identity(path, facts, identity, source)
        _check_progress(path, facts)
    update = progress_bar(count)
    with contextlib.ExitStack() as stack:
        x = stack.enter_context(_open_at(path, "x.bin", facts["x_bytes"]))
        labels = stack.enter_context(_open_at(path, "labels.txt", facts["label_bytes"]))
        skipped.update(facts["skipped"])
        for done, rows, some in produce(facts["done"]):
            if facts["shape"] is None:
                facts |= {"shape": list(rows.shape[1:]), "dtype": rows.dtype.str}
            _check_room(path, (count - facts["done"]) * rows[:1].nbytes)
            x.write(np.ascontiguousarray(rows).data)
            labels.write("".join(json.dumps(v) + "\n" for v in some.tolist()).encode())
            for file in (x, labels):
                file.flush()
                os.fsync(file.fileno())
            facts |= {"done": done, "rows": facts["rows"] + len(rows), "skipped": skipped}
            facts |= {"x_bytes": x.tell(), "label_bytes": labels.tell()}
            _write_json(path, "progress.json", facts)
            update(done)
    _finish(path, facts, named)


def _check_progress(path, facts):
    counts = [facts.get(key) for key in ("done", "rows", "x_bytes", "label_bytes")]
    plain = all(isinstance(n, int) and n >= 0 for n in counts)
    if not plain or not isinstance(facts.get("skipped"), dict):
        raise _broken(path, "progress.json", f"does not fit together ({counts})")


def _finish(path, facts, named):
    """Writes what makes the cache whole."""
    if not facts["rows"]:
        raise ValueError(f"Expected at least one example. Received: none in {facts['source']}.")
    with open(os.path.join(path, "labels.txt"), encoding="utf-8") as file:
        labels = np.array([json.loads(line) for line in file])
    distinct, class_ids = np.unique(labels, return_inverse=True)
    names = [str(v) for v in distinct.tolist()] if named is None else list(named(distinct))
    with _new_file(path, "class_ids.npy") as file:
        np.save(file, class_ids.astype(np.int64), allow_pickle=False)
    _write_json(path, "cache.json", {**facts, "names": names})
    for name in ("progress.json", "labels.txt"):
        os.remove(os.path.join(path, name))


def _open(path, facts):
    """The `ClassDataset` of a whole cache, its rows mapped."""
    x_path, ids_path = (os.path.join(path, name) for name in ("x.bin", "class_ids.npy"))
    try:
        dtype, shape = np.dtype(facts["dtype"]), (facts["rows"], *facts["shape"])
        names, expected = facts["names"], math.prod(shape) * dtype.itemsize
        if dtype.kind not in "biuf" or min(shape) < 1 or expected != facts["x_bytes"]:
            raise ValueError(f"{shape} of {dtype} in {facts['x_bytes']} bytes")
    except (KeyError, TypeError, ValueError) as error:
        raise _broken(path, "cache.json", f"does not fit together ({error})") from error
    for file in (x_path, ids_path):
        if not os.path.isfile(file) or os.path.islink(file):
            raise _broken(path, os.path.basename(file), "is not there, or is no plain file")
    if os.path.getsize(x_path) != expected:
        found = os.path.getsize(x_path)
        raise _broken(path, "x.bin", f"has {found:,} bytes in the place of {expected:,}")
    try:
        class_ids = np.load(ids_path, allow_pickle=False)
        return ClassDataset(np.memmap(x_path, dtype, "r", shape=shape), class_ids, names)
    except (ValueError, EOFError, OSError) as error:
        raise _broken(path, "class_ids.npy", f"does not fit ({error})") from error


def _check_identity(path, facts, identity, source):
    """The cache is of what is asked for, and of a format that is known."""
    if facts.get("format") != _FORMAT:
        raise _broken(path, "cache.json", f"is of format {facts.get('format')!r}, not {_FORMAT}")
    found = facts.get("identity")
    found = found if isinstance(found, dict) else {}
    differing = [key for key in identity if found.get(key) != identity[key]]
    if not differing:
        return
    said = [_MEANINGS[key] for key in differing if key in _MEANINGS]
    said += [
        f"{key}={found.get(key)!r} and not {identity[key]!r}"
        for key in differing
        if key not in _MEANINGS
    ]
    raise ValueError(
        f"Expected a cache of {source}. Received: {path}, made of {facts.get('source')!r}: "
        f"{', '.join(said)}. Pass another cache folder, or remove this one to make it anew."
    )


def _broken(path, name, what):
    return ValueError(
        f"Expected a cache that is whole. Received: {os.path.join(path, name)} {what}. Remove the "
        f"folder {path}, and it is made anew."
    )


def _check_folder(path):
    """The folder is there, and nobody else's."""
    os.makedirs(path, exist_ok=True)
    # What ends in .new was being written when its process was stopped.
    others = [n for n in os.listdir(path) if n not in _OWN and n.removesuffix(".new") not in _OWN]
    if others:
        raise ValueError(
            f"Expected a folder of its own for the cache. Received: {path}, which holds "
            f"{sorted(others)[0]}. Pass the path of a folder that is not there yet."
        )


@contextlib.contextmanager
def _lock(path):
    """Only one process makes a cache; the others wait for it. A process that ends lets go."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    with open(os.open(os.path.join(path, "lock"), flags, 0o666), "rb+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            warnings.warn(f"Waiting for another process, which makes {path}.", stacklevel=6)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _open_at(path, name, size):
    """A file to go on with, cut to `size` bytes: what came after the last look is dropped."""
    name = os.path.join(path, name)
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    file = os.fdopen(os.open(name, flags, 0o666), "rb+")
    if os.fstat(file.fileno()).st_size < size:
        file.close()
        raise _broken(path, os.path.basename(name), f"has less than {size:,} bytes")
    file.truncate(size)
    file.seek(size)
    return file


@contextlib.contextmanager
def _new_file(path, name):
    """A file that is there as a whole, or as it was before."""
    new = os.path.join(path, f"{name}.new")
    with contextlib.suppress(FileNotFoundError):
        os.remove(new)
    with open(new, "xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, os.path.join(path, name))


def _write_json(path, name, value):
    with _new_file(path, name) as file:
        file.write(json.dumps(value).encode())


def _read_json(path, name):
    try:
        with open(os.path.join(path, name), encoding="utf-8") as file:
            value = json.load(file)
        if not isinstance(value, dict):
            raise ValueError(f"a {type(value).__name__}")
    except (ValueError, RecursionError) as error:
        raise _broken(path, name, f"is cut short, or no JSON object ({error})") from error
    return value


def _check_room(path, needed):
    if shutil.disk_usage(path).free < needed:
        raise OSError(errno.ENOSPC, f"{needed / 1e9:.1f} GB are still to be written")


@contextlib.contextmanager
def _told_of_room(path, source):
    """Says what happened where a disk is full; what is written so far stays."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        free = shutil.disk_usage(path).free
        raise OSError(
            error.errno,
            f"Expected room for the cache of {source}. Received: {error.strerror}; {free / 1e9:.1f}"
            f" GB are free at {path}. Make room and call again, which goes on from there, or "
            "remove this folder.",
        ) from error
