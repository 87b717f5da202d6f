"""from_arrays: grouping rows by label."""

import numpy as np
import pytest

from tfmeta.datasets import from_arrays


def test_groups_rows_by_label():
    x = np.arange(10, dtype=np.uint8).reshape(5, 2)
    dataset = from_arrays(x, [30, 10, 30, -2, 10])
    assert dataset.class_names == ("-2", "10", "30")
    assert dataset.x.dtype == np.uint8
    np.testing.assert_array_equal(dataset.of_class(0), x[[3]])
    np.testing.assert_array_equal(dataset.of_class(1), x[[1, 4]])
    np.testing.assert_array_equal(dataset.of_class(2), x[[0, 2]])


@pytest.mark.parametrize(
    "labels",
    [
        ["cat", "ant", "cat"],
        np.array(["cat", "ant", "cat"], object),
        np.array([b"cat", b"ant", b"cat"]),
    ],
)
def test_string_labels(labels):
    dataset = from_arrays(np.array([1.0, 2.0, 3.0]), labels)
    assert dataset.class_names == ("ant", "cat")
    np.testing.assert_array_equal(dataset.of_class(1), [1.0, 3.0])


def test_integers_in_an_object_column():
    dataset = from_arrays(np.zeros(3), np.array([12, 2, 12], object))
    assert dataset.class_names == ("2", "12")  # sorted as numbers, not as text


def test_class_names_follow_the_sorted_labels():
    dataset = from_arrays(np.zeros((3, 1)), [7, 5, 7], class_names=["five", "seven"])
    assert dataset.class_names == ("five", "seven")
    assert dataset.counts.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("labels", "names", "match"),
    [
        ([0.0, 1.0, 1.0], None, "labels that are not integers, dtype float64"),
        ([0, 1], None, r"one label for each row of x.*\(3, 2\) and 2 labels"),
        (np.eye(3), None, r"argmax"),
        (np.array([1, "a", None], object), None, "all integers or all strings"),
        ([0, 1, 1], ["only one"], "Expected 2 class names.*Received: 1"),
    ],
)
def test_errors(labels, names, match):
    with pytest.raises(ValueError, match=match):
        from_arrays(np.zeros((3, 2)), labels, names)
