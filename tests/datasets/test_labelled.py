"""labelled: batches for an ordinary classifier."""

import numpy as np
import pytest

from tfmeta.datasets import from_arrays, labelled


@pytest.fixture
def dataset():
    """7 rows; each holds its number, of two classes."""
    return from_arrays(np.arange(7, dtype=np.uint8)[:, None], ["a"] * 3 + ["b"] * 4)


def rows_of(batches):
    return np.concatenate([np.ravel(x) for x, _ in batches])


def test_a_pass_has_every_example_once_under_its_class(dataset):
    batches = list(labelled(dataset, batch_size=3).as_numpy_iterator())
    assert [len(x) for x, _ in batches] == [3, 3, 1]
    for x, class_ids in batches:
        assert (x.dtype, class_ids.dtype) == (np.float32, np.int32)
        np.testing.assert_array_equal(class_ids, np.ravel(np.rint(x * 255)) >= 3)
    np.testing.assert_allclose(np.sort(rows_of(batches)), np.arange(7) / 255, rtol=1e-6)


def test_each_pass_has_an_order_of_its_own_from_the_seed(dataset):
    first, again, other = (labelled(dataset, 2, seed) for seed in (0, 0, 1))
    passes = [rows_of(first), rows_of(first)]
    assert not np.array_equal(*passes)
    np.testing.assert_array_equal([rows_of(again), rows_of(again)], passes)
    assert not np.array_equal(rows_of(other), passes[0])


@pytest.mark.parametrize(("dtype", "expected"), [("float64", "float32"), ("int64", "int64")])
def test_other_types_are_not_scaled(dtype, expected):
    x = np.array([[3], [4]], dtype)
    batches = labelled(from_arrays(x, [0, 1]))
    assert next(iter(batches))[0].dtype == expected
    assert sorted(rows_of(batches)) == [3, 4]


def test_bad_arguments(dataset):
    with pytest.raises(ValueError, match=r"Expected a ClassDataset\. Received: ndarray"):
        labelled(dataset.x)
    for size in (0, 1.5):
        with pytest.raises(ValueError, match=f"Expected batch_size .* Received: batch_size={size}"):
            labelled(dataset, size)
