"""from_folder: folders and zip files of images."""

import gc
import io
import os
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest

from benchmarks.machine import memory
from tfmeta.datasets import from_folder

Image = pytest.importorskip("PIL.Image")


def picture(value, size=(6, 4), mode="L"):
    """An image of one colour; size is (width, height), as pillow has it."""
    return Image.new(mode, size, value)


def save(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


@pytest.fixture
def folder(tmp_path):
    """Classes "a" (10, 11) and "b/deep" (20), with things around them that are no images."""
    root = tmp_path / "images"
    save(root / "a" / "2.PNG", picture(11))
    save(root / "a" / "1.png", picture(10))
    save(root / "b" / "deep" / "x.png", picture(20))
    (root / "a" / "notes.txt").write_text("no image")
    (root / "a" / "._1.png").write_text("left by macOS")
    (root / "empty").mkdir()
    save(root / "preview.png", picture(99))
    return root


def zipped(folder, path):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*"), reverse=True):
            archive.write(file, file.relative_to(folder))
    return path


def test_folders_are_classes(folder):
    dataset = from_folder(folder)
    assert dataset.class_names == ("a", "b/deep")
    assert dataset.x.dtype == np.uint8
    assert dataset.example_shape == (4, 6, 1)
    assert dataset.x[:, 0, 0, 0].tolist() == [10, 11, 20]


def test_zip_equals_the_folder(folder, tmp_path):
    path = zipped(folder, tmp_path / "images.zip")
    before = sorted(tmp_path.rglob("*"))
    from_zip, from_disk = from_folder(str(path)), from_folder(str(folder))
    np.testing.assert_array_equal(from_zip.x, from_disk.x)
    assert from_zip.class_names == from_disk.class_names
    assert sorted(tmp_path.rglob("*")) == before  # nothing extracted


def test_jpeg(tmp_path):
    save(tmp_path / "a" / "1.JPG", picture((200, 100, 50), mode="RGB"))
    save(tmp_path / "b" / "1.jpeg", picture((20, 40, 60), mode="RGB"))
    dataset = from_folder(tmp_path)
    assert dataset.example_shape == (4, 6, 3)
    np.testing.assert_allclose(dataset.x[0, 0, 0], [200, 100, 50], atol=3)


def test_upright_by_the_exif_tag(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a phone held upright
    save(tmp_path / "a" / "1.jpg", picture((1, 2, 3), mode="RGB"), exif=exif)
    assert from_folder(tmp_path).example_shape == (6, 4, 3)


def test_linked_folders_are_classes_and_loops_end(folder, tmp_path):
    os.symlink(folder / "a", folder / "linked")
    os.symlink(folder, folder / "b" / "loop")
    assert from_folder(folder).class_names == ("a", "b/deep", "linked")


@pytest.mark.parametrize(
    ("image", "shape", "values"),
    [
        (picture(1, mode="1"), (4, 6, 1), [255]),
        (picture((90, 0), mode="LA"), (4, 6, 1), [255]),
        (picture((10, 20, 30, 255), mode="RGBA"), (4, 6, 3), [10, 20, 30]),
        (picture((10, 20, 30, 0), mode="RGBA"), (4, 6, 3), [255, 255, 255]),
        (picture((10, 20, 30), mode="RGB").convert("P"), (4, 6, 3), None),
        (Image.fromarray(np.full((4, 6), 512, np.uint16)), (4, 6, 1), [2]),
    ],
    ids=["1 bit", "grey alpha", "opaque", "transparent", "palette", "16 bit"],
)
def test_modes(tmp_path, image, shape, values):
    save(tmp_path / "a" / "1.png", image)
    x = from_folder(tmp_path).x
    assert x.dtype == np.uint8
    assert x.shape == (1, *shape)
    if values is None:
        values = np.asarray(image.convert("RGB"))[0, 0]
    np.testing.assert_array_equal(x[0, 0, 0], values)


def test_channels(tmp_path):
    save(tmp_path / "a" / "grey.png", picture(7))
    save(tmp_path / "b" / "red.png", picture((255, 0, 0), mode="RGB"))
    with pytest.raises(ValueError, match=r"channels.*a/grey.png.*b/red.png.*channels=1"):
        from_folder(tmp_path)
    np.testing.assert_array_equal(from_folder(tmp_path, channels=1).x[:, 0, 0], [[7], [76]])
    assert from_folder(tmp_path, channels=3).x[:, 0, 0].tolist() == [[7, 7, 7], [255, 0, 0]]


def test_resize_takes_the_mean_over_areas(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 12), np.uint8)
    save(tmp_path / "a" / "1.png", Image.fromarray(pixels))
    resized = from_folder(tmp_path, image_size=(4, 6)).x[0, ..., 0]
    np.testing.assert_allclose(resized, pixels.reshape(4, 2, 6, 2).mean(axis=(1, 3)), atol=1)
    assert from_folder(tmp_path, image_size=5).example_shape == (5, 5, 1)
    assert from_folder(tmp_path, image_size=(20, 30)).example_shape == (20, 30, 1)


def test_images_of_different_sizes(tmp_path):
    save(tmp_path / "a" / "1.png", picture(1, size=(6, 4)))
    save(tmp_path / "b" / "2.png", picture(1, size=(5, 4)))
    with pytest.raises(
        ValueError,
        match=r"a/1.png of shape \(4, 6, 1\) and b/2.png of shape \(4, 5, 1\).*image_size",
    ):
        from_folder(tmp_path)


@pytest.mark.parametrize("as_zip", [False, True])
def test_a_broken_image_is_named(folder, tmp_path, as_zip):
    whole = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)
    Image.fromarray(noise).save(whole, "png")
    (folder / "a" / "cut.png").write_bytes(whole.getvalue()[:400])
    path = zipped(folder, tmp_path / "images.zip") if as_zip else folder
    with pytest.raises(ValueError, match=r"Received: a/cut.png .*Repair or remove"):
        from_folder(path)


def test_path_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere \(not found\)"):
        from_folder(tmp_path / "nowhere")
    (tmp_path / "file.txt").write_text("text")
    with pytest.raises(ValueError, match=r"folder or a zip file. Received: .*file.txt"):
        from_folder(tmp_path / "file.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"images that pillow reads.*which has none"):
        from_folder(tmp_path / "empty")
    save(tmp_path / "flat" / "1.png", picture(1))
    with pytest.raises(ValueError, match=r"1 images directly in .*flat, such as 1.png"):
        from_folder(tmp_path / "flat")


def test_unreadable_folder(folder, monkeypatch):
    # By force, since no folder is unreadable to root, as whom containers run tests.
    real = os.scandir

    def scandir(path):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(PermissionError, match=r"can be read. Received: .*deep \(Permission denied"):
        from_folder(folder)


@pytest.mark.parametrize(
    "name", ["../a/1.png", "a/../../1.png", "/a/1.png", "C:\\a\\1.png", "..\\a\\1.png"]
)
def test_zip_member_outside(tmp_path, name):
    path = tmp_path / "bad.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, b"")
    with pytest.raises(ValueError, match="points outside") as caught:
        from_folder(path)
    assert repr(name) in str(caught.value)


def test_zip_member_that_stays_inside(tmp_path):
    data = io.BytesIO()
    picture(5).save(data, "png")
    with zipfile.ZipFile(tmp_path / "odd.zip", "w") as archive:
        archive.writestr("a/../b/1.png", data.getvalue())
        archive.writestr("__MACOSX/b/1.png", b"left by macOS")
    assert from_folder(tmp_path / "odd.zip").class_names == ("b",)


def test_pipes_are_no_images(folder):
    os.mkfifo(folder / "a" / "3.png")
    with pytest.raises(ValueError, match=r"images in files. Received: a/3.png, which is no file"):
        from_folder(folder)


def test_a_file_that_becomes_a_pipe_does_not_hang(folder):
    dataset = from_folder(folder, in_memory=False)
    (folder / "a" / "1.png").unlink()
    os.mkfifo(folder / "a" / "1.png")
    with pytest.raises(ValueError, match=r"Received: a/1.png, which is no file"):
        dataset.x[0]


@pytest.mark.parametrize("as_zip", [False, True])
def test_a_file_that_is_too_large_is_not_read(folder, tmp_path, as_zip):
    with open(folder / "a" / "3.png", "wb") as file:
        file.truncate(200_000_000)
    path = folder
    if as_zip:
        path = tmp_path / "bomb.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.write(folder / "a" / "3.png", "a/3.png")
            archive.write(folder / "a" / "1.png", "a/1.png")
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"at most 128 MiB. Received: a/3.png of 191 MiB"):
        from_folder(path)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


def test_pictures_of_144_megapixels(tmp_path):
    """Decoded at an eighth of the size where the format can, refused where it cannot."""
    save(tmp_path / "a" / "1.png", picture(0, (12_000, 12_000), "1"))
    with pytest.raises(ValueError, match=r"50 million pixels. Received: a/1.png of 144 million"):
        from_folder(tmp_path, image_size=28)
    (tmp_path / "a" / "1.png").unlink()
    save(tmp_path / "a" / "1.jpg", picture(200, (12_000, 12_000)))
    gc.collect()
    before = memory(reset=True)["now"]
    dataset = from_folder(tmp_path, image_size=28)
    assert memory()["peak"] - before < 2**26
    np.testing.assert_allclose(dataset.x[0, 5, 5], [200], atol=3)


def test_a_large_jpeg_is_its_mean_over_areas(tmp_path):
    smooth = np.add.outer(np.arange(400), np.arange(600)) // 4
    save(tmp_path / "a" / "1.jpg", Image.fromarray(smooth.astype(np.uint8)), quality=95)
    resized = from_folder(tmp_path, image_size=(20, 30)).x[0, ..., 0]
    expected = smooth.reshape(20, 20, 30, 20).mean(axis=(1, 3))
    np.testing.assert_allclose(resized, expected, atol=1.5)


@pytest.mark.parametrize(
    "argument", [{"image_size": (4, 4, 3)}, {"image_size": 2.5}, {"channels": 2}]
)
def test_arguments(folder, argument):
    with pytest.raises(ValueError, match=f"Expected {next(iter(argument))} to be"):
        from_folder(folder, **argument)


def test_without_pillow(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"pip install tfmeta\[images\]"):
        from_folder(folder)
