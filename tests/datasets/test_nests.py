"""Data sets whose x is a nest of arrays: one row axis, the same order of rows in every part."""

import collections

import numpy as np
import pytest

from tfmeta.datasets import check_disjoint, class_split, from_arrays, labelled, rotated_classes
from tfmeta.types import ClassDataset

Card = collections.namedtuple("Card", "picture numbers")
LABELS = ["b", "a", "c", "a", "b", "c"]


def tokens():
    """6 rows; each holds its number in every part."""
    rows = np.arange(6)
    return {
        "ids": np.tile(rows[:, None], (1, 5)).astype("int32"),
        "more": (rows.astype("float64"), Card(np.tile(rows[:, None, None], (1, 2, 2)), rows * 2)),
    }


def parts(x):
    """The four parts of `tokens()`, or of rows of it."""
    return [x["ids"], x["more"][0], x["more"][1].picture, x["more"][1].numbers]


def row_numbers(x):
    """The number that each row holds, once it is known to be the same in every part."""
    ids, floats, picture, twice = parts(x)
    for other in (ids[:, -1], picture[:, 1, 1], twice // 2):
        np.testing.assert_array_equal(floats, other)
    return floats.astype(int).tolist()


def test_rows_of_every_part_are_sorted_by_class():
    dataset = from_arrays(tokens(), LABELS)
    assert list(dataset.x) == ["ids", "more"]
    assert isinstance(dataset.x["more"], tuple)
    assert isinstance(dataset.x["more"][1], Card)
    assert row_numbers(dataset.x) == [1, 3, 0, 4, 2, 5]
    assert [part.dtype for part in parts(dataset.x)] == [part.dtype for part in parts(tokens())]
    assert (dataset.num_classes, dataset.num_examples) == (3, 6)
    assert dataset.class_names == ("a", "b", "c")


def test_of_class_and_subset():
    dataset = from_arrays(tokens(), LABELS)
    assert row_numbers(dataset.of_class(1)) == [0, 4]
    assert np.shares_memory(dataset.of_class(1)["ids"], dataset.x["ids"])
    some = dataset.subset([2, 0])
    assert row_numbers(some.x) == [2, 5, 1, 3]
    assert some.class_names == ("c", "a")
    with pytest.raises(ValueError, match="at least one example"):
        dataset.subset([])


def test_rows_in_order_are_not_copied_again():
    x = ClassDataset(tokens(), [0, 0, 1, 1, 2, 2]).x  # where TensorFlow can read them
    assert ClassDataset(x, [0, 0, 1, 1, 2, 2]).x["ids"] is x["ids"]


def test_example_shape_and_repr():
    dataset = from_arrays(tokens(), LABELS)
    assert dataset.example_shape == {"ids": (5,), "more": ((), Card((2, 2), ()))}
    pair = from_arrays((np.zeros((2, 3), "uint8"), np.zeros(2, "float32")), [0, 1])
    assert pair.example_shape == ((3,), ())
    assert repr(pair) == (
        "<ClassDataset: 2 classes, 2 examples of shape ((3,), ()), ('uint8', 'float32')>"
    )


def test_a_list_is_an_array_and_not_a_nest():
    assert from_arrays([[1, 2], [3, 4]], [0, 1]).example_shape == (2,)
    assert from_arrays({"a": [[1, 2], [3, 4]]}, [0, 1]).example_shape == {"a": (2,)}


def test_any_mapping_becomes_a_dict(tmp_path):
    np.savez(tmp_path / "rows.npz", a=np.arange(2), b=np.zeros((2, 3)))
    dataset = from_arrays(np.load(tmp_path / "rows.npz"), [1, 0])
    assert type(dataset.x) is dict
    assert dataset.x["a"].tolist() == [1, 0]


@pytest.mark.parametrize("make", [ClassDataset, from_arrays])
@pytest.mark.parametrize(
    ("x", "received"),
    [
        (
            {"ids": np.zeros((6, 5)), "more": (np.zeros(5), Card(np.zeros(6), np.zeros(6)))},
            r"x\['ids'\] of shape \(6, 5\), x\['more'\]\[0\] of shape \(5,\), "
            r"x\['more'\]\[1\]\.picture of shape \(6,\), x\['more'\]\[1\]\.numbers of shape \(6,\)",
        ),
        ((np.zeros(6), 1.0), r"x\[0\] of shape \(6,\), x\[1\] of shape \(\)"),
        ((1, 2, 3, 4, 5, 6), r"x\[0\] of shape \(\), x\[1\] of shape \(\)"),
        ({"ids": None}, r"x\['ids'\] of shape \(\)"),
        ({}, r"no array in x, \{\}"),
        (({}, ()), r"no array in x, \(\{\}, \(\)\)"),
    ],
)
def test_parts_of_unequal_length(make, x, received):
    expected = r"Expected x to be .* a nest of arrays with the same number of rows\. Received: "
    with pytest.raises(ValueError, match=expected + received):
        make(x, [0, 0, 1, 1, 2, 2])


def test_wrong_number_of_labels():
    x = {"ids": np.zeros((6, 5)), "mask": np.zeros((6, 4))}
    shapes = r"\{'ids': \(6, 5\), 'mask': \(6, 4\)\}"
    with pytest.raises(ValueError, match=rf"one label.*x of shape {shapes} and 3 labels"):
        from_arrays(x, [0, 1, 2])
    with pytest.raises(ValueError, match=r"one class id.*\(6,\).*Received: shape \(3,\)"):
        ClassDataset(x, [0, 1, 2])


def test_an_array_without_rows():
    with pytest.raises(ValueError, match=r"one label.*x of shape \(\) and 2 labels"):
        from_arrays(3.0, [0, 1])
    with pytest.raises(ValueError, match=r"with rows.*Received: x of shape \(\)"):
        ClassDataset(3.0, [0, 1])


def test_class_split():
    first, second = class_split(from_arrays(tokens(), LABELS), (0.67, 0.33))
    check_disjoint(first, second)
    assert sorted(row_numbers(first.x) + row_numbers(second.x)) == list(range(6))


def test_labelled():
    x = {"pixels": np.full((6, 2), 51, "uint8"), **tokens()}
    batches = list(labelled(from_arrays(x, LABELS), batch_size=4).as_numpy_iterator())
    seen = {}
    for rows, class_ids in batches:
        assert rows["pixels"].dtype == np.float32
        np.testing.assert_array_equal(rows["pixels"], np.full((len(class_ids), 2), 0.2, "float32"))
        assert (rows["ids"].dtype, rows["more"][0].dtype) == (np.int32, np.float32)
        assert isinstance(rows["more"][1], Card)
        seen |= dict(zip(row_numbers(rows), class_ids.tolist(), strict=True))
    assert seen == {0: 1, 1: 0, 2: 2, 3: 0, 4: 1, 5: 2}


def test_rotated_classes_refuses_nests():
    squares = from_arrays((np.zeros((2, 3, 3)), np.zeros((2, 3, 3))), [0, 1])
    message = r"square images.*Received: a nest, .*\(\(3, 3\), \(3, 3\)\)"
    with pytest.raises(ValueError, match=message):
        rotated_classes(squares)
