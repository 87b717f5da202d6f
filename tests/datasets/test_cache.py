"""Caches on disk: made once, whole or not at all, of what they say, and of nothing that runs."""

import fcntl
import json
import os
import pickle
import re
import resource
import shutil
import signal
import threading
import warnings
import zipfile

import numpy as np
import pytest
from disks import PAGE_BYTES, filled, small_disk

from tfmeta.datasets import cache as caches
from tfmeta.datasets import from_folder, pictures
from tfmeta.rows import Rows

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def folder(tmp_path):
    """Three classes of 12 noisy pictures of 9x7x3."""
    rng, root = np.random.default_rng(0), tmp_path / "pictures"
    for c in ("a", "b", "b/deep"):
        (root / c).mkdir(parents=True)
        for i in range(12):
            pixels = rng.integers(0, 256, (9, 7, 3), np.uint8)
            Image.fromarray(pixels).save(root / c / f"{i:02}.png")
    return root


def assert_same(one, other):
    np.testing.assert_array_equal(one.x[:], other.x[:])
    np.testing.assert_array_equal(one.class_ids, other.class_ids)
    assert one.class_names == other.class_names


def zipped(folder, path):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return path


@pytest.mark.parametrize("as_zip", [False, True])
def test_a_cache_is_read_as_the_folder_is(folder, tmp_path, as_zip):
    path = zipped(folder, tmp_path / "pictures.zip") if as_zip else folder
    cache = tmp_path / "deep" / "cache"
    in_memory = from_folder(path, image_size=5)
    for _ in range(2):
        assert_same(from_folder(path, image_size=5, cache=cache), in_memory)
    assert sorted(os.listdir(cache)) == ["cache.json", "class_ids.npy", "lock", "x.bin"]
    assert not from_folder(path, image_size=5, cache=cache).x.flags.writeable
    assert_same(from_folder(path, image_size=5, in_memory=False), in_memory)


def test_a_cache_is_not_decoded_again(folder, tmp_path):
    times = ((folder / "a" / "00.png").stat().st_mtime_ns,) * 2
    expected = from_folder(folder, cache=tmp_path / "cache")
    size = (folder / "a" / "00.png").stat().st_size
    (folder / "a" / "00.png").write_bytes(b"x" * size)  # no picture any more
    os.utime(folder / "a" / "00.png", ns=times)
    assert_same(from_folder(folder, cache=tmp_path / "cache"), expected)


def test_caches_of_something_else(folder, tmp_path):
    cache = tmp_path / "cache"
    from_folder(folder, image_size=5, cache=cache)
    before = {name: (cache / name).read_bytes() for name in os.listdir(cache)}
    with pytest.raises(ValueError, match=r"image_size=\[5, 5\] and not \[6, 6\]. Pass another"):
        from_folder(folder, image_size=6, cache=cache)
    with pytest.raises(ValueError, match="channels=None and not 1"):
        from_folder(folder, image_size=5, channels=1, cache=cache)
    os.utime(folder / "a" / "03.png", (1, 1))
    with pytest.raises(ValueError, match="other images, or images that changed since"):
        from_folder(folder, image_size=5, cache=cache)
    (folder / "a" / "03.png").unlink()
    with pytest.raises(ValueError, match="another number of images"):
        from_folder(folder, image_size=5, cache=cache)
    with pytest.raises(ValueError, match=r"folder of its own.*holds a"):
        from_folder(folder, cache=folder)
    assert before == {name: (cache / name).read_bytes() for name in os.listdir(cache)}


def killed_after(writes, folder, cache):
    """A process makes the cache, and is killed at the moment when so much has been written."""
    child = os.fork()  # a new Python would import TensorFlow, each time
    if child == 0:
        left, real = [writes], os.fsync

        def fsync(number):
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            real(number)

        os.fsync = fsync
        signal.alarm(60)
        from_folder(folder, cache=cache)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_cache_goes_on_after_kills(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "_BATCH_BYTES", 1)  # batches of 16: three looks of three writes
    expected = from_folder(folder)
    for writes in range(12):
        cache = tmp_path / str(writes)
        first = killed_after(writes, folder, cache)
        assert first == (-signal.SIGKILL if writes < 11 else 0)
        assert (cache / "cache.json").exists() == (writes == 11)
        if 3 <= writes < 11:
            progress = json.loads((cache / "progress.json").read_text())
            assert progress["done"] == min(16 * (writes // 3), 36)
        assert killed_after(1, folder, cache) == first
        assert_same(from_folder(folder, cache=cache), expected)


def test_a_bar_shows_how_far_a_cache_of_many_pictures_is(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pictures, "_BATCH_BYTES", 1)  # batches of 16
    from_folder(folder, cache=tmp_path / "few")
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(caches, "_WITHOUT_BAR", 35)
    from_folder(folder)
    in_memory = capsys.readouterr().out
    from_folder(folder, cache=tmp_path / "cache")
    for said in (in_memory, capsys.readouterr().out):
        assert [said.count(f"{done}/36") for done in (16, 36)] == [1, 1]
    from_folder(folder, cache=tmp_path / "cache")
    assert capsys.readouterr().out == "", "it is only read"
    assert killed_after(4, folder, tmp_path / "killed") == -signal.SIGKILL
    from_folder(folder, cache=tmp_path / "killed")
    said = capsys.readouterr().out
    assert [said.count(f"{done}/36") for done in (16, 32, 36)] == [0, 1, 1], "it goes on"


def test_one_process_makes_a_cache_and_the_others_wait(folder, tmp_path):
    cache, waited, made = tmp_path / "cache", [], []
    cache.mkdir()

    def other():
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            made.append(from_folder(folder, cache=cache))
        waited.append("Waiting for another process" in str(said[0].message))

    thread = threading.Thread(target=other)
    with open(cache / "lock", "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        thread.start()
        thread.join(1.0)
        assert not made
        assert not (cache / "x.bin").exists()
    thread.join(60.0)
    assert waited == [True]
    assert_same(made[0], from_folder(folder))


def test_a_full_disk(folder, tmp_path):
    """A limit on the size of files says what a full disk says, with another number."""
    old, cache = tmp_path / "old", tmp_path / "cache"
    expected = from_folder(folder, image_size=5, cache=old)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"Expected room for the cache of .*Make room"):
            from_folder(folder, cache=cache)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert_same(from_folder(folder, image_size=5, cache=old), expected)
    assert_same(from_folder(folder, cache=cache), from_folder(folder))


def test_a_disk_that_is_really_full(folder, tmp_path, monkeypatch):
    """With room for each number of pages a cache is made, or what lacks is said."""
    monkeypatch.setattr(pictures, "_BATCH_BYTES", 1)  # batches of 16: the disk fills in between
    expected, small = from_folder(folder), from_folder(folder, image_size=5)
    pages = 0
    with small_disk(tmp_path / "disk", 100) as disk:
        from_folder(folder, image_size=5, cache=disk / "old")
        while True:
            cache, error = disk / f"new {pages}", None
            with filled(disk, pages * PAGE_BYTES):
                try:
                    from_folder(folder, cache=cache)
                except OSError as raised:
                    error = raised
                assert_same(from_folder(folder, image_size=5, cache=disk / "old"), small)
            assert (cache / "cache.json").exists() == (error is None)
            assert_same(from_folder(folder, cache=cache), expected)  # goes on
            if error is None:
                break
            words = "Expected room for the cache of .* Make room and call again"
            assert re.search(words, str(error))
            shutil.rmtree(cache)
            pages += 1
    assert pages >= 5  # of pictures two, of labels, progress and classes one each


def test_a_cache_that_is_cut_short_is_told_by_name(folder, tmp_path):
    cache = tmp_path / "cache"
    from_folder(folder, cache=cache)
    for name, message in (
        ("x.bin", r"x.bin has 3,402 bytes in the place of 6,804"),
        ("class_ids.npy", r"class_ids.npy does not fit"),
        ("cache.json", r"cache.json is cut short"),
    ):
        whole = (cache / name).read_bytes()
        (cache / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ValueError, match=f"Expected a cache that is whole.*{message}.*Remove"):
            from_folder(folder, cache=cache)
        (cache / name).unlink()
        if name != "cache.json":
            with pytest.raises(ValueError, match=f"{name} is not there"):
                from_folder(folder, cache=cache)
        (cache / name).write_bytes(whole)
    facts = json.loads((cache / "cache.json").read_text())
    for key, value in (("dtype", "O"), ("shape", [9, 7, -3]), ("rows", 10**12), ("format", 2)):
        (cache / "cache.json").write_text(json.dumps({**facts, key: value}))
        with pytest.raises(ValueError, match=r"Expected a cache that is whole.*cache.json"):
            from_folder(folder, cache=cache)


class Ran:
    def __reduce__(self):
        return os.mkdir, (os.environ["RAN"],)


def test_a_cache_from_a_stranger_runs_nothing_and_writes_nowhere_else(
    folder, tmp_path, monkeypatch
):
    monkeypatch.setenv("RAN", str(tmp_path / "ran"))
    cache, victim = tmp_path / "cache", tmp_path / "victim"
    from_folder(folder, cache=cache)
    for evil in (pickle.dumps(Ran()), None):
        if evil is None:
            np.save(cache / "class_ids.npy", np.array([Ran()] * 36), allow_pickle=True)
        else:
            (cache / "class_ids.npy").write_bytes(evil)
        with pytest.raises(ValueError, match=r"class_ids\.npy does not fit"):
            from_folder(folder, cache=cache)
    assert not (tmp_path / "ran").exists()
    victim.write_text("dear")
    for name in ("x.bin", "labels.txt", "lock", "progress.json.new", "cache.json.new"):
        begun = tmp_path / f"begun {name}"
        begun.mkdir()
        (begun / name).symlink_to(victim)
        if name.endswith(".new"):
            from_folder(folder, cache=begun)
        else:
            with pytest.raises(OSError, match="symbolic links"):
                from_folder(folder, cache=begun)
        assert victim.read_text() == "dear"


def test_skipped_pictures(folder, tmp_path):
    (folder / "b" / "04.png").write_bytes(b"no picture")
    (folder / "a" / "00.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"a/00\.png"):
        from_folder(folder, cache=tmp_path / "not whole")
    for options in ({}, {"cache": tmp_path / "cache"}, {"cache": tmp_path / "cache"}):
        with pytest.warns(UserWarning, match=r"Skipped 2 of 36 pictures: a/00.png.*b/04.png"):
            dataset = from_folder(folder, on_error="skip", **options)
        assert dataset.counts.tolist() == [11, 11, 12]
    with pytest.raises(ValueError, match=r"made with on_error='skip'.*Skipped 2 of 36"):
        from_folder(folder, cache=tmp_path / "cache")


def test_a_picture_that_turns_unreadable_is_named_or_skipped_and_counted(folder):
    import tensorflow as tf

    from tfmeta.episodes import classification

    datasets = [
        from_folder(folder, in_memory=False, on_error=on_error) for on_error in ("raise", "skip")
    ]
    whole = from_folder(folder)
    options = {"ways": 3, "shots": 2, "queries": 8, "meta_batch_size": 1, "count": 6}
    streams = [iter(classification(dataset, **options)) for dataset in datasets]
    (folder / "b" / "07.png").write_bytes(b"gone")
    gone = whole.x[19]  # the eighth of the second class
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"Received: b/07.png"):
        list(streams[0])
    with pytest.warns(UserWarning, match=r"Skipped 1 of 36 pictures: .*b/07.png.*Another"):
        found = list(streams[1])
    assert isinstance(datasets[1].x, Rows)
    assert list(datasets[1].x.source.skipped) == ["b/07.png"]
    replaced = 0
    for episode, expected in zip(found, classification(whole, **options), strict=True):
        ours, theirs = (
            np.rint(np.concatenate([part.x[0] for part in e]) * 255).astype(np.uint8)
            for e in (episode, expected)
        )
        assert len({row.tobytes() for row in ours}) == 30  # no picture twice
        differs = (ours != theirs).any(axis=(1, 2, 3))
        np.testing.assert_array_equal(differs, (theirs == gone).all(axis=(1, 2, 3)))
        replaced += differs.sum()
    assert replaced > 0
    none_left = iter(classification(datasets[1], ways=3, shots=2, queries=10, meta_batch_size=1))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"Expected another picture of its"):
        next(none_left)


def test_arguments(folder, tmp_path):
    with pytest.raises(ValueError, match="on_error to be 'raise' or 'skip'"):
        from_folder(folder, on_error="ignore")
    with pytest.raises(ValueError, match="not both"):
        from_folder(folder, cache=tmp_path / "cache", in_memory=False)
