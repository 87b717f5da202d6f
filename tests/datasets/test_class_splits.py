"""class_split, check_disjoint and rotated_classes."""

import numpy as np
import pytest

from tfmeta.datasets import check_disjoint, class_split, from_arrays, rotated_classes


@pytest.fixture
def dataset():
    """20 classes of 3 rows; each row holds its class id."""
    labels = np.repeat(np.arange(20), 3)
    return from_arrays(labels[:, None], labels, [f"class {i}" for i in range(20)])


def test_split_is_disjoint_and_complete(dataset):
    parts = class_split(dataset, (0.7, 0.15, 0.15), seed=1)
    assert [part.num_classes for part in parts] == [14, 3, 3]
    check_disjoint(*parts)
    assert {name for part in parts for name in part.class_names} == set(dataset.class_names)
    for part in parts:
        for class_id, name in enumerate(part.class_names):
            assert {f"class {row}" for row in part.of_class(class_id)[:, 0]} == {name}


def test_split_depends_on_the_seed_alone(dataset):
    first, again, other = (class_split(dataset, (0.5, 0.5), seed)[0] for seed in (0, 0, 1))
    assert first.class_names == again.class_names
    assert first.class_names != other.class_names


def test_split_may_leave_classes_out(dataset):
    assert [p.num_classes for p in class_split(dataset, (0.5, 0.25))] == [10, 5]


def test_split_uses_every_class_when_the_sum_is_one(dataset):
    thirds = class_split(dataset, [1 / 3] * 3)
    assert sum(part.num_classes for part in thirds) == 20
    assert sum(part.num_classes for part in class_split(dataset, [0.1] * 10)) == 20


@pytest.mark.parametrize("fractions", [(0.8, 0.3), (0.5, 0.0), (-0.1, 0.5), (), 0.5])
def test_split_fractions_out_of_range(dataset, fractions):
    with pytest.raises(ValueError, match="fractions above 0 with a sum of at most 1"):
        class_split(dataset, fractions)


def test_split_part_without_a_class(dataset):
    with pytest.raises(ValueError, match=r"20 classes.*parts of \[20, 0\]"):
        class_split(dataset, (0.99, 0.01))


def test_check_disjoint_names_the_shared_classes(dataset):
    first, second = dataset.subset(range(12)), dataset.subset(range(10, 20))
    with pytest.raises(ValueError, match=r"2 shared by number 0 and number 2.*class 10, class 11"):
        check_disjoint(first, dataset.subset([19]), second)


def test_check_disjoint_accepts_disjoint_sets(dataset):
    assert check_disjoint(dataset.subset([0, 1]), dataset.subset([2])) is None


def test_rotated_classes():
    x = np.arange(2 * 9, dtype=np.uint8).reshape(2, 3, 3, 1)
    rotated = rotated_classes(from_arrays(x, ["a", "b"]))
    assert rotated.class_names == ("a", "b", "a@90", "b@90", "a@180", "b@180", "a@270", "b@270")
    assert rotated.x.dtype == np.uint8
    assert rotated.counts.tolist() == [1] * 8
    np.testing.assert_array_equal(rotated.of_class(1)[0], x[1])
    upright, turned = x[1, ..., 0], rotated.of_class(3)[0, ..., 0]
    np.testing.assert_array_equal(turned[-1], upright[:, 0])  # left edge is now the bottom
    np.testing.assert_array_equal(rotated.of_class(5)[0, ..., 0], upright[::-1, ::-1])
    np.testing.assert_array_equal(rotated.of_class(6)[0, ..., 0], np.rot90(x[0, ..., 0], 3))


@pytest.mark.parametrize("shape", [(2, 3, 4, 1), (2, 5)])
def test_rotated_classes_needs_square_images(shape):
    with pytest.raises(ValueError, match=r"square images.*Received: \(" + str(shape[1])):
        rotated_classes(from_arrays(np.zeros(shape), [0, 1]))
