"""from_tfds and omniglot: a stand-in for tfds in the quick tests, the real one where it is."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import types
import zipfile

import numpy as np
import pytest
import tensorflow as tf

from tfmeta.datasets import check_disjoint, from_tfds, omniglot
from tfmeta.datasets.omniglot import published_names

OMNIGLOT = pathlib.Path(__file__).parents[2].parent / "shared" / "data" / "omniglot"


def feature(shape, names=None):
    return types.SimpleNamespace(shape=shape, names=names)


@pytest.fixture
def fake(monkeypatch):
    """Puts a module with a `load` of its own in the place of tensorflow_datasets."""

    def install(images, labels, names=None, image_shape=None):
        features = {
            "image": feature(image_shape or images.shape[1:]),
            "label": feature((), names),
            "id": feature(()),
        }
        calls = []

        def load(name, **options):
            calls.append((name, options))
            if name == "missing":
                raise AssertionError("Dataset missing: could not find data")
            rows = {"image": images, "label": labels, "id": np.arange(len(images))}
            info = types.SimpleNamespace(features=features)
            return tf.data.Dataset.from_tensor_slices(rows), info

        module = types.SimpleNamespace(load=load)
        monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)
        return calls

    return install


IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
LABELS = np.array([2, 0, 2, 0, 2, 0])


def test_groups_by_label_with_the_names_of_tfds(fake):
    calls = fake(IMAGES, LABELS, names=["ant", "bee", "cat"])
    dataset = from_tfds("pets", split="test", data_dir="/d", download=False)
    expected = {"split": "test", "data_dir": "/d", "download": False, "with_info": True}
    assert calls == [("pets", expected)]
    assert dataset.class_names == ("ant", "cat")  # no example of a bee
    assert dataset.x.dtype == np.uint8
    np.testing.assert_array_equal(dataset.of_class(0), IMAGES[1::2])
    np.testing.assert_array_equal(dataset.of_class(1), IMAGES[::2])


def test_label_key_of_integers_without_names(fake):
    fake(IMAGES, LABELS)
    dataset = from_tfds("pets", label_key="id")
    assert dataset.class_names == ("0", "1", "2", "3", "4", "5")


def test_shrinking_takes_the_mean_over_areas(fake):
    fake(IMAGES, LABELS)
    dataset = from_tfds("pets", image_size=2, label_key="id")
    mean = IMAGES.reshape(6, 2, 4, 2, 4, 3).mean(axis=(2, 4))
    assert dataset.x.dtype == np.uint8
    np.testing.assert_allclose(dataset.x, mean, atol=0.51)


def test_cache(fake, tmp_path):
    fake(IMAGES, LABELS, names=["ant", "bee", "cat"])
    in_memory = from_tfds("pets", image_size=4)
    for _ in range(2):
        cached = from_tfds("pets", image_size=4, cache=tmp_path / "pets")
        np.testing.assert_array_equal(cached.x, in_memory.x)
        assert cached.class_names == in_memory.class_names
    with pytest.raises(ValueError, match="split='train' and not 'test'"):
        from_tfds("pets", "test", image_size=4, cache=tmp_path / "pets")
    with pytest.raises(ValueError, match="label_key='label' and not 'id'"):
        from_tfds("pets", image_size=4, label_key="id", cache=tmp_path / "pets")
    numbered = from_tfds("pets", label_key="id", cache=tmp_path / "numbered")
    np.testing.assert_array_equal(numbered.x, IMAGES)


def test_a_cache_goes_on_after_kills(tmp_path):
    script = pathlib.Path(__file__).with_name("killed_tfds.py")
    result = subprocess.run(
        [sys.executable, script, tmp_path],
        env=os.environ | {"PYTHONPATH": str(script.parents[2])},
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    *found, seconds = [json.loads(line) for line in result.stdout.splitlines()]
    print(f"{seconds:.1f} s of CPU")
    dones = {2: 0, 5: 2, 9: 6, 11: 6}
    expected = [[w, -signal.SIGKILL if w < 11 else 0, d, 0, True] for w, d in dones.items()]
    assert found == expected


def test_enlarging(fake):
    fake(IMAGES, LABELS)
    assert from_tfds("pets", image_size=(16, 12)).example_shape == (16, 12, 3)


def test_channels(fake):
    fake(np.full((2, 4, 4, 3), 255, np.uint8), np.array([0, 1]))
    grey = from_tfds("pets", channels=1)
    assert grey.example_shape == (4, 4, 1)
    assert (grey.x == 255).all()  # white stays white
    fake(IMAGES[..., :1], LABELS)
    np.testing.assert_array_equal(
        from_tfds("pets", channels=3, label_key="id").x, IMAGES[..., [0, 0, 0]]
    )


def test_errors(fake, monkeypatch):
    fake(IMAGES, LABELS)
    with pytest.raises(ValueError, match=r"name='missing'.*could not find data") as caught:
        from_tfds("missing")
    assert isinstance(caught.value.__cause__, AssertionError)
    with pytest.raises(ValueError, match=r"label_key.*\['id', 'image', 'label'\].*'kind'"):
        from_tfds("pets", label_key="kind")
    with pytest.raises(ValueError, match=r"image_key.*Received: 'picture'"):
        from_tfds("pets", image_key="picture")
    with pytest.raises(ValueError, match=r"channels to be 1 .*Received: 4"):
        from_tfds("pets", channels=4)
    with pytest.raises(ValueError, match=r"image_size to be None.*Received: 0"):
        from_tfds("pets", image_size=0)
    fake(IMAGES, LABELS, image_shape=(None, None, 3))
    with pytest.raises(ValueError, match="Expected image_size for 'pets'"):
        from_tfds("pets")
    fake(IMAGES, LABELS - 1 - LABELS, names=["ant"])
    with pytest.raises(ValueError, match="split with labels"):
        from_tfds("pets")
    fake(IMAGES[:0], LABELS[:0])
    with pytest.raises(ValueError, match="none in split 'train'"):
        from_tfds("pets")
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ImportError, match=r"pip install tfmeta\[tfds\]"):
        from_tfds("pets")


def test_omniglot_protocols(fake):
    """1,623 classes on a white page with one dark pixel, whose place tells the class."""
    images = np.full((1623, 6, 6, 3), 255, np.uint8)
    images[np.arange(1623), np.arange(1623) % 6, np.arange(1623) // 6 % 6] = 0

    def load(name, split, **options):
        rows = slice(0, 964) if split == "train" else slice(964, 1623)
        names = sorted(name for part in published_names().values() for name in part)
        info = types.SimpleNamespace(
            features={"image": feature((6, 6, 3)), "label": feature((), names)}
        )
        data = {"image": images[rows], "label": np.arange(1623)[rows]}
        return tf.data.Dataset.from_tensor_slices(data), info

    fake(IMAGES, LABELS)
    sys.modules["tensorflow_datasets"].load = load
    train, test = omniglot(protocol="alphabets", image_size=6)
    assert (train.num_classes, test.num_classes) == (964, 659)
    assert train.x.dtype == np.uint8
    assert train.x[0, 0, 0, 0] == 255  # ink
    assert (train.x.reshape(964, -1) == 0).sum(axis=1).tolist() == [35] * 964  # paper
    train, test = omniglot(protocol="characters", image_size=6, seed=3)
    assert (train.num_classes, test.num_classes) == (4800, 1692)
    check_disjoint(train, test)
    characters = [{name.split("@")[0] for name in part.class_names} for part in (train, test)]
    assert [len(names) for names in characters] == [1200, 423]
    assert not characters[0] & characters[1]  # no rotation of a training character in the test
    parts = omniglot(protocol="vinyals", image_size=6)
    assert [part.num_classes for part in parts] == [4112, 688, 1692]
    check_disjoint(*parts)
    for part, names in zip(parts, published_names().values(), strict=True):
        assert part.class_names[: len(names)] == tuple(names)
        assert {name.split("@")[0] for name in part.class_names} == set(names)
    again, _ = omniglot(protocol="characters", image_size=6, seed=3)
    other, _ = omniglot(protocol="characters", image_size=6, seed=4)
    assert again.class_names == train.class_names != other.class_names


def test_the_published_split_has_every_character_once():
    names = published_names()
    assert {part: len(found) for part, found in names.items()} == {
        "train": 1028, "validation": 172, "test": 423,
    }  # fmt: skip
    every = [name.rsplit("_", 1) for found in names.values() for name in found]
    numbers = {}
    for alphabet, number in every:
        numbers.setdefault(alphabet, []).append(int(number))
    assert len(numbers) == 50
    assert sum(map(len, numbers.values())) == 1623
    assert all(sorted(found) == list(range(len(found))) for found in numbers.values())
    alphabets = [{name.rsplit("_", 1)[0] for name in found} for found in names.values()]
    assert [len(found) for found in alphabets] == [33, 5, 13]
    assert alphabets[0] & alphabets[2] == {"Gurmukhi"}  # as published
    assert not alphabets[1] & (alphabets[0] | alphabets[2])


def test_omniglot_unknown_protocol():
    with pytest.raises(ValueError, match=r"'characters' or 'vinyals'. Received: 'lake'"):
        omniglot(protocol="lake")


def check_real_omniglot(data_dir):
    train, test = omniglot(data_dir, download=False)
    check_disjoint(train, test)
    assert (train.num_classes, test.num_classes) == (964, 659)
    assert set(train.counts) == set(test.counts) == {20}
    assert train.example_shape == (28, 28, 1)
    assert train.x.dtype == np.uint8
    assert 5 < train.x.mean() < 40  # dark paper, thin bright ink
    assert train.x[:, 0, 0].mean() < 2
    parts = omniglot(data_dir, protocol="vinyals", download=False)
    check_disjoint(*parts)
    assert [part.num_classes for part in parts] == [4112, 688, 1692]
    first = parts[0].class_names[0]  # the same pictures as without a split
    np.testing.assert_array_equal(parts[0].of_class(first), train.of_class(first))
    turned = np.rot90(parts[0].of_class(first), axes=(1, 2))
    np.testing.assert_array_equal(parts[0].of_class(f"{first}@90"), turned)


def check_names_against_pictures(data_dir, every):
    """The zips say which folder of the alphabet a class is: Alphabet/characterNN, 20 pictures."""
    halves = {"train": "images_background", "test": "images_evaluation"}
    published, seen = {name for part in published_names().values() for name in part}, set()
    for split, zip_name in halves.items():
        dataset = from_tfds("omniglot", split, data_dir, channels=1, download=False)
        seen |= set(dataset.class_names)
        with zipfile.ZipFile(OMNIGLOT / f"{zip_name}.zip") as file:
            folders = {}
            for name in file.namelist():
                if name.endswith(".png"):
                    folders.setdefault(tuple(name.split("/")[-3:-1]), []).append(name)
            assert len(folders) == dataset.num_classes
            for (alphabet, character), names in list(folders.items())[::every]:
                theirs = [tf.io.decode_png(file.read(name)).numpy().tobytes() for name in names]
                mine = dataset.of_class(f"{alphabet}_{int(character[len('character') :]) - 1}")
                assert sorted(theirs) == sorted(picture.tobytes() for picture in mine)
    assert seen == published


def test_real_omniglot():
    data_dir = os.environ.get("TFMETA_TFDS_DIR")
    if not data_dir:
        pytest.skip("TFMETA_TFDS_DIR names no tfds data folder with Omniglot")
    pytest.importorskip("tensorflow_datasets")
    check_real_omniglot(data_dir)


@pytest.mark.slow
def test_real_omniglot_prepared_here(tmp_path):
    if not (OMNIGLOT / "prepare_tfds.py").exists():
        pytest.skip(f"no {OMNIGLOT / 'prepare_tfds.py'}")
    pytest.importorskip("tensorflow_datasets")
    pytest.importorskip("importlib_resources")
    command = [sys.executable, OMNIGLOT / "prepare_tfds.py", "--data-dir", tmp_path, "--link"]
    subprocess.run(command, check=True, capture_output=True)
    check_real_omniglot(tmp_path)
    check_names_against_pictures(tmp_path, every=20)
