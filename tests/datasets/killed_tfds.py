"""Run by `test_tfds.py`: `from_tfds` makes a cache, is killed on the way, goes on. Given a folder.

Prints a line for each cache: after which write it was killed, how that process ended, how many
pictures the cache had then, how the process that went on ended, and whether it has them all. The
processes are forks of one that has imported TensorFlow, and not started it.
"""

import json
import os
import pathlib
import signal
import sys
import types

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf

import tfmeta
from tfmeta.datasets import tfds

FOLDER = pathlib.Path(sys.argv[1])
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
LABELS = np.array([2, 0, 2, 0, 2, 0])
tfds._BATCH = 2  # three looks of three writes, two more at the end


def install(images):
    """A stand-in for tensorflow-datasets."""
    features = {
        "image": types.SimpleNamespace(shape=(8, 8, 3)),
        "label": types.SimpleNamespace(shape=(), names=["ant", "bee", "cat"]),
    }

    def load(name, **options):
        rows = {"image": images, "label": LABELS}
        return tf.data.Dataset.from_tensor_slices(rows), types.SimpleNamespace(features=features)

    sys.modules["tensorflow_datasets"] = types.SimpleNamespace(load=load)


def in_a_fork(function, *arguments):
    child = os.fork()
    if child == 0:
        signal.alarm(120)
        function(*arguments)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def make_until(writes, cache):
    """Makes the cache, and is killed at the moment when so much has been written."""
    left, real = [writes], os.fsync

    def fsync(number):
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        real(number)

    os.fsync = fsync
    tfmeta.datasets.from_tfds("pets", cache=cache)


def go_on(done, cache):
    """Goes on where it was; what was read before would be black if it was read again."""
    left = IMAGES.copy()
    left[:done] = 0
    install(left)
    found = tfmeta.datasets.from_tfds("pets", cache=cache)
    np.savez(FOLDER / "found.npz", **{name: found.of_class(name) for name in found.class_names})


install(IMAGES)
for writes in (2, 5, 9, 11):
    cache = FOLDER / f"cache {writes}"
    ended = in_a_fork(make_until, writes, cache)
    progress = cache / "progress.json"
    done = json.loads(progress.read_text())["done"] if progress.exists() else 0
    done = len(IMAGES) if ended == 0 else done
    code = in_a_fork(go_on, done, cache)
    found = np.load(FOLDER / "found.npz")
    same = {n: found[n].tolist() == IMAGES[i::2].tolist() for i, n in enumerate(("cat", "ant"))}
    whole = found.files == ["ant", "cat"] and all(same.values())
    print(json.dumps([writes, ended, done, code, whole]), flush=True)
print(json.dumps(sum(os.times()[:4])))
