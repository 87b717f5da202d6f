"""glyphs: the data set inside the package, and the script that renders it."""

import importlib.util
import pathlib
import time

import numpy as np
import pytest

from tfmeta.datasets import check_disjoint, glyphs

SPLITS = ("train", "validation", "test")
TOOL = pathlib.Path(__file__).parents[2] / "tools" / "render_glyphs.py"


@pytest.mark.parametrize("split", SPLITS)
def test_shape_and_rows(split):
    dataset = glyphs(split)
    assert dataset.x.dtype == np.uint8
    assert dataset.example_shape == (28, 28, 1)
    assert dataset.counts.min() >= 30
    assert dataset.num_classes >= 30
    corners = dataset.x[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert np.median(corners) == 0  # paper
    assert (dataset.x.reshape(len(dataset.x), -1).max(axis=1) > 128).all()  # ink in every row


@pytest.mark.parametrize("split", SPLITS)
def test_without_variations_ten_distinct_pictures_a_class(split):
    dataset = glyphs(split, variations=0)
    for class_id in range(dataset.num_classes):
        rows = dataset.of_class(class_id)
        assert len(np.unique(rows.reshape(len(rows), -1), axis=0)) == len(rows) >= 10


def test_splits_share_no_script_and_no_class():
    parts = [glyphs(split, variations=0) for split in SPLITS]
    check_disjoint(*parts)
    scripts = [{name.split(" ")[0] for name in part.class_names} for part in parts]
    assert scripts == [{"LATIN", "DIGIT"}, {"CYRILLIC"}, {"GREEK", "ARMENIAN", "GEORGIAN"}]


def test_no_picture_is_in_two_classes():
    pictures = [glyphs(split, variations=0) for split in SPLITS]
    rows = np.concatenate([part.x.reshape(len(part.x), -1) for part in pictures])
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_fixed_by_the_seed():
    first, again, other = (glyphs("validation", variations=1, seed=s).x for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_variations_multiply_the_rows_and_differ():
    plain, three = glyphs("validation", variations=0), glyphs("validation", variations=3)
    assert three.num_examples == 3 * plain.num_examples
    assert three.class_names == plain.class_names
    assert (three.x[0] != three.x[1]).any()
    # A warp moves ink, it does not replace it: the mean picture of a class stays close.
    means = [part.of_class(0).mean(axis=0).ravel() for part in (plain, three)]
    assert np.corrcoef(means)[0, 1] > 0.9


def test_a_whole_split_is_quick():
    start = time.perf_counter()
    glyphs("train")
    assert time.perf_counter() - start < 5  # takes 0.5 s


def test_errors():
    with pytest.raises(ValueError, match=r"one of \['test', 'train', 'validation'\].*'val'"):
        glyphs("val")
    with pytest.raises(ValueError, match=r"integer from 0. Received: -1"):
        glyphs(variations=-1)


def test_the_script_renders_the_shipped_file():
    pytest.importorskip("matplotlib")
    pytest.importorskip("PIL")
    spec = importlib.util.spec_from_file_location("render_glyphs", TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    rendered = tool.render()
    with np.load(tool.OUT) as shipped:
        assert set(shipped) == set(rendered)
        for key in ("class_names", "class_ids"):
            np.testing.assert_array_equal(rendered[key], shipped[key])
        # Another release of FreeType may round the edge of a letter differently.
        np.testing.assert_allclose(rendered["images"], shipped["images"].astype(int), atol=3)
