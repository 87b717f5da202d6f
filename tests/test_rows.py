"""Rows of anything with length and random access: the same episodes, and x once in memory."""

import gc
import os
import pickle
import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.machine import memory
from tfmeta import rows as rows_module
from tfmeta.datasets import class_split, described, from_arrays, labelled
from tfmeta.episodes import classification, sequence
from tfmeta.rows import Rows
from tfmeta.types import ClassDataset

X = np.random.default_rng(0).integers(0, 256, (60, 5, 4, 3), np.uint8)
LABELS = np.random.default_rng(1).permutation(np.repeat(np.arange(6), 10))


class Source:
    """A user's own object, which notices two readers at a time."""

    def __init__(self, x=X):
        self.x, self.readers, self.most = x, 0, 0

    def __len__(self):
        return len(self.x)

    def __getitem__(self, number):
        self.readers += 1
        self.most = max(self.most, self.readers)
        row = self.x[number]
        self.readers -= 1
        return row


class Batched(Source):
    """One that reads many rows at once, as the data sources of tfds do."""

    def __getitems__(self, numbers):
        return [self[number] for number in numbers]


def aligned(x):
    result = rows_module.empty_rows(len(x), x.shape[1:], x.dtype)
    result[...] = x
    return result


def unaligned(x=X):
    memory = np.empty(x.nbytes + 128, np.uint8)
    skip = -memory.ctypes.data % 64 + 16
    result = memory[skip : skip + x.nbytes].view(x.dtype).reshape(x.shape)
    result[...] = x
    return result


@pytest.fixture
def mapped(tmp_path):
    np.save(tmp_path / "x.npy", X)
    return np.load(tmp_path / "x.npy", mmap_mode="r")


@pytest.fixture
def all_large(monkeypatch):
    monkeypatch.setattr(rows_module, "LARGE", 1000)


def flat(dataset, count=8):
    return tf.nest.flatten([list(dataset.take(count).as_numpy_iterator())])


def assert_same(one, other, count=8):
    for a, b in zip(flat(one, count), flat(other, count), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_array_equal(a, b)


FIXED = {"ways": 3, "shots": 2, "queries": 3, "seed": 4}
PADDED = {"ways": (2, 5), "shots": (1, 4), "queries": 3, "seed": 4}


@pytest.mark.parametrize("kind", ["mapped", "unaligned", "strided", "object", "batched", "split"])
def test_episodes_are_the_same_wherever_the_rows_lie(kind, mapped, all_large):
    in_memory = ClassDataset(X.copy(), LABELS)
    sources = {
        "mapped": lambda: mapped, "unaligned": unaligned, "object": Source, "batched": Batched,
        "strided": lambda: np.asfortranarray(X), "split": lambda: mapped,
    }  # fmt: skip
    dataset = ClassDataset(sources[kind](), LABELS)
    assert isinstance(dataset.x, Rows)
    np.testing.assert_array_equal(dataset.x, in_memory.x)
    if kind == "split":
        dataset, in_memory = dataset.subset([4, 1, 2, 0, 5]), in_memory.subset([4, 1, 2, 0, 5])
    for options in (FIXED, PADDED):
        ours, theirs = (classification(d, **options) for d in (dataset, in_memory))
        assert ours.element_spec == theirs.element_spec
        assert_same(ours, theirs)
    if kind in ("mapped", "object"):
        assert_same(sequence(dataset, 3, 6), sequence(in_memory, 3, 6))
        assert_same(labelled(dataset, 7), labelled(in_memory, 7))


def test_rows_that_are_nests():
    numbers = np.arange(60, dtype=np.float32)
    dicts = Source([{"picture": p, "more": (n, b"text")} for p, n in zip(X, numbers, strict=True)])
    dataset = from_arrays(dicts, LABELS)
    assert dataset.example_shape == {"picture": (5, 4, 3), "more": ((), ())}
    episodes = classification(dataset, **PADDED)
    plain = classification(from_arrays({"picture": X, "n": numbers}, LABELS), **PADDED)
    for one, other in zip(episodes.take(3), plain.take(3), strict=True):
        np.testing.assert_array_equal(one.query.x["picture"], other.query.x["picture"])
        np.testing.assert_array_equal(one.support.x["more"][0], other.support.x["n"])
    in_nest = described(dataset, np.eye(6))
    assert in_nest.example_shape["x"]["more"] == ((), ())


def test_tfds_data_source(tmp_path):
    """A data set of tfds in ArrayRecord files, which are read by row."""
    tfds = pytest.importorskip("tensorflow_datasets")
    pytest.importorskip("array_record")
    pytest.importorskip("importlib_resources")

    features = tfds.features.FeaturesDict({"image": tfds.features.Image(shape=(5, 4, 3))})
    written = tfds.dataset_builders.store_as_tfds_dataset(
        name="pictures",
        version="1.0.0",
        features=features,
        split_datasets={"train": enumerate({"image": picture} for picture in X)},
        data_dir=str(tmp_path),
        file_format="array_record",
        disable_shuffling=True,
    )
    dataset = from_arrays(written.as_data_source(split="train"), LABELS)
    in_memory = from_arrays({"image": X}, LABELS)
    assert_same(classification(dataset, **FIXED), classification(in_memory, **FIXED), 3)


def test_a_source_is_read_by_one_thread_at_a_time():
    source = Source()
    first, second = class_split(from_arrays(source, LABELS), (0.5, 0.5))
    both = tf.data.Dataset.zip(
        classification(first, 2, queries=3), classification(second, 2, queries=3)
    )
    assert len(list(both.take(50))) == 50
    assert source.most == 1


def test_x_is_there_once_however_many_pipelines_read_it(all_large):
    rng = np.random.default_rng(0)
    for place in (unaligned, aligned):
        x = place(np.full((20_000, 100, 100), 7, np.uint8))  # 191 MiB
        labels = np.repeat(np.arange(200), 100)
        next(iter(classification(ClassDataset(x[:2000].copy(), labels[::10]), 3, queries=1)))
        before = memory()["now"]
        parts = class_split(from_arrays(x, rng.permutation(labels)), (0.5, 0.25, 0.25))
        streams = [iter(classification(part, 3, queries=1)) for part in parts * 3]
        assert all(next(stream) for stream in streams)
        assert memory()["now"] - before < x.nbytes / 2


def test_large_meta_batches_wait_two_at_a_time():
    """tf.data alone would let them fill half of the machine's memory while a learner is slow."""
    x = np.zeros((60, 200, 200, 3), np.uint8)
    episodes = classification(from_arrays(x, LABELS), 5, 4, 6)  # 92 MiB a meta-batch
    iterator = iter(episodes)
    size = next(iterator).query.x.numpy().nbytes * 10 / 6
    before = memory()["now"]
    for _ in range(6):
        next(iterator)
        time.sleep(0.2)
    assert memory()["now"] - before < (os.cpu_count() + 4) * size  # those being made, too


def test_a_small_array_is_copied_once_to_where_tensorflow_reads_it():
    dataset = ClassDataset(unaligned(), np.sort(LABELS))
    assert dataset.x is dataset.rows.source
    assert dataset.rows.in_place()
    part = dataset.subset([1, 2])
    assert np.shares_memory(part.x, dataset.x)  # classes that lie together
    assert part.rows.source is dataset.subset([5, 0]).rows.source
    np.testing.assert_array_equal(dataset.subset([5, 0]).x[:10], X[50:])


def test_no_thread_and_no_file_is_left(mapped, all_large):
    # Threads of TensorFlow's own pools are made once, by the first pipelines.
    for source in [Source(), mapped] * 2:
        next(iter(classification(from_arrays(source, LABELS), **FIXED)))
    gc.collect()
    before = threading.active_count(), len(os.listdir("/proc/self/task"))
    files = len(os.listdir("/proc/self/fd"))
    for source in [Source(), np.load(mapped.filename, mmap_mode="r")] * 10:
        next(iter(classification(from_arrays(source, LABELS), **FIXED)))
    del source
    gc.collect()
    assert (threading.active_count(), len(os.listdir("/proc/self/task"))) <= before
    assert len(os.listdir("/proc/self/fd")) == files


def test_rows_are_like_an_array(all_large):
    dataset = from_arrays(Source(), LABELS)
    expected = X[np.argsort(LABELS, kind="stable")]
    for index in (3, -1, slice(2, 30, 7), [4, 4, 0], np.array([[1, 2]]), (slice(None), 0), (3, 1)):
        np.testing.assert_array_equal(dataset.x[index], expected[index])
    np.testing.assert_array_equal(dataset.x / 2.0, expected / 2.0)
    np.testing.assert_array_equal(dataset.of_class(2), expected[20:30])
    assert (np.mean(dataset.x), len(dataset.x)) == (expected.mean(), 60)
    assert repr(dataset) == "<ClassDataset: 6 classes, 60 examples of shape (5, 4, 3), uint8>"
    copied = pickle.loads(pickle.dumps(from_arrays(X, LABELS)))
    np.testing.assert_array_equal(copied.x, expected)


def test_errors_of_rows_are_named(all_large):
    class Broken(Source):
        def __getitem__(self, number):
            if number == 7:
                raise OSError("the disk is gone")
            return super().__getitem__(number)

    differs = list(X)
    differs[9] = np.zeros((5, 4, 1), np.uint8)
    for source, message in (
        (Broken(), "rows that can be read. Received: OSError from row 7 of Broken: the disk is"),
        (Source(differs), r"\(5, 4, 3\) of uint8 .* Received: row 9 of shape \(5, 4, 1\)"),
    ):
        dataset = from_arrays(source, LABELS)
        with pytest.raises(ValueError, match=message):
            dataset.x[:]
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            list(classification(dataset, **FIXED, count=40))
    with pytest.raises(ValueError, match=r"one example. Received: Source without"):
        from_arrays(Source([]), [])
    with pytest.raises(ValueError, match=r"one label for each row of x.*60, 5, 4, 3.*59 labels"):
        from_arrays(Source(), LABELS[1:])
