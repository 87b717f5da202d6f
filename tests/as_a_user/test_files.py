"""Trials of a user with files, labels and names of classes: what works, and what is said."""

import os
import zipfile

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf

import tfmeta
from tfmeta.datasets import from_arrays, from_folder, from_tfds
from tfmeta.types import ClassDataset

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def folder(tmp_path):
    """Classes "a" and "b", an image in each."""
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / "images" / name / "1.png")
    return tmp_path / "images"


def zipped(folder, path, names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, (folder / "a" / "1.png").read_bytes())
    return path


def test_a_link_to_nowhere_is_named(folder):
    (folder / "a" / "2.png").symlink_to("/nowhere/2.png")
    with pytest.raises(FileNotFoundError, match=r"a/2\.png, a link to /nowhere/2\.png"):
        from_folder(folder)


def test_a_folder_that_is_called_like_an_image(folder):
    (folder / "a" / "2.png").mkdir()
    with pytest.raises(ValueError, match=r"Received: a folder a/2\.png"):
        from_folder(folder)


def test_a_pipe_that_is_called_like_an_image(folder):
    os.mkfifo(folder / "a" / "2.png")
    with pytest.raises(ValueError, match=r"a/2\.png, which is no file"):
        from_folder(folder)


def test_a_folder_in_a_zip_that_is_called_like_an_image(folder, tmp_path):
    path = zipped(folder, tmp_path / "images.zip", ["a/1.png", "b/2.png/3.png"])
    with pytest.raises(ValueError, match=r"Received: a folder b/2\.png"):
        from_folder(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")  # it is what zipfile says when it writes
@pytest.mark.parametrize("again", ["a/1.png", "./a/1.png", "b/../a/1.png"])
def test_a_member_that_is_in_a_zip_twice(folder, tmp_path, again):
    path = zipped(folder, tmp_path / "images.zip", ["a/1.png", "b/1.png", again])
    with pytest.raises(ValueError, match=r"each image once. Received: a/1\.png twice"):
        from_folder(path)


def test_an_unknown_name_of_tfds(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    with pytest.raises(ValueError, match="Did you mean omniglot") as caught:
        from_tfds("omniglott", data_dir=tmp_path, download=False)
    assert len(str(caught.value)) < 400


def test_labels_in_a_column_as_keras_has_them():
    x, labels = np.arange(6.0)[:, None], np.array([2, 0, 1, 2, 0, 1])
    column, flat = from_arrays(x, labels[:, None]), from_arrays(x, labels)
    assert column.class_names == flat.class_names == ("0", "1", "2")
    np.testing.assert_array_equal(column.x, flat.x)


def test_one_hot_labels_say_how_to_pass_them():
    with pytest.raises(ValueError, match=r"labels\.argmax\(axis=-1\)"):
        from_arrays(np.zeros((3, 2)), np.eye(3))


def test_two_classes_of_one_name():
    x, labels, names = np.zeros((4, 2)), [0, 1, 2, 0], ["ant", "bee", "ant"]
    for make in (from_arrays, ClassDataset):
        with pytest.raises(ValueError, match=r"class names that differ.*\['ant'\]"):
            make(x, labels, names)


def test_a_class_that_is_taken_twice():
    dataset = from_arrays(np.zeros((4, 2)), [0, 1, 2, 0])
    with pytest.raises(ValueError, match=r"each class once.*\['1'\]"):
        dataset.subset([1, 0, 1])


def test_a_picture_that_turns_unreadable_in_the_middle_of_fit(tmp_path):
    """It is named, or counted and replaced by another one of its class."""
    random = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        for i in range(8):
            pixels = random.integers(0, 256, (6, 6, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")

    def fit(on_error):
        dataset = from_folder(tmp_path, in_memory=False, on_error=on_error)
        path, whole = tmp_path / "b" / "5.png", (tmp_path / "b" / "5.png").read_bytes()
        spoil = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: path.write_bytes(b"gone") if batch == 0 else None
        )
        learner = tfmeta.learners.ProtoNet(tfmeta.networks.mlp((6, 6, 3), 4, hidden=()))
        learner.compile("sgd", tasks.CROSSENTROPY, run_eagerly=True)
        episodes = tfmeta.episodes.classification(
            dataset, ways=3, shots=2, queries=2, meta_batch_size=1
        )
        try:
            learner.fit(episodes, steps_per_epoch=8, callbacks=[spoil], verbose=0)
        finally:
            path.write_bytes(whole)
        return int(learner.optimizer.iterations), list(dataset.x.source.skipped)

    with pytest.raises(tf.errors.InvalidArgumentError, match=r"Received: b/5\.png"):
        fit("raise")
    with pytest.warns(UserWarning, match=r"Skipped 1 of 24 pictures: b/5\.png"):
        assert fit("skip") == (8, ["b/5.png"])
