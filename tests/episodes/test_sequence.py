"""Sequences: what is drawn, in which order, and what is refused."""

import numpy as np
import pytest
import tensorflow as tf

from tfmeta.episodes import linear_regression, sequence
from tfmeta.types import ClassDataset, Episode

CLASSES, PER_CLASS = 12, 9


def tagged(dtype="int32"):
    """Each example's only pixel is its row number."""
    rows = np.arange(CLASSES * PER_CLASS).astype(dtype)[:, np.newaxis]
    return ClassDataset(rows, np.repeat(np.arange(CLASSES), PER_CLASS))


def drawn(make=sequence, *arguments, **options):
    """All sequences of a counted stream, `(x, y)` of all rows, as NumPy arrays."""
    x, y = [], []
    for episode in make(*arguments, **({"count": 30} | options)).as_numpy_iterator():
        x.append(np.concatenate([part.x for part in episode], axis=1))
        y.append(np.concatenate([part.y for part in episode], axis=1))
    return np.concatenate(x), np.concatenate(y)


@pytest.mark.parametrize("count", [None, 8])
def test_shapes_and_types_are_static(count):
    images = ClassDataset(np.full((60, 3, 4, 1), 51, "uint8"), np.repeat(np.arange(6), 10))
    dataset = sequence(images, ways=5, length=12, meta_batch_size=4, count=count)
    for part, rows in zip(dataset.element_spec, (11, 1), strict=True):
        assert part.x == tf.TensorSpec((4, rows, 3, 4, 1), tf.float32)
        assert part.y == tf.TensorSpec((4, rows), tf.int32)
        assert part.mask == tf.TensorSpec((4, rows), tf.float32)
    batch = next(iter(dataset))
    assert isinstance(batch, Episode)
    np.testing.assert_array_equal(batch.support.x, np.full((4, 11, 3, 4, 1), 0.2, "float32"))
    np.testing.assert_array_equal(batch.query.mask, np.ones((4, 1)))


def test_each_row_is_of_any_class_and_an_example_that_was_not_there():
    x, y = drawn(sequence, tagged(), ways=4, length=8, count=400)
    assert x.shape == (400, 8, 1)
    for row, labels in zip(x[..., 0], y, strict=True):
        assert len(set(row)) == 8  # no example twice
        class_of = dict(zip(labels, row // PER_CLASS, strict=True))
        assert [class_of[label] for label in labels] == list(row // PER_CLASS)
        assert len(set(class_of.values())) == len(class_of)  # each class has one label
    # Each label is as likely at each place, whatever came before: 400 / 4, six deviations wide.
    shares = np.stack([(y == label).mean(axis=0) for label in range(4)])
    assert np.abs(shares - 0.25).max() < 0.13
    last, seen = y[:, -1], np.stack([(y[:, :-1] == label).sum(axis=1) for label in range(4)], 1)
    assert abs((last == seen.argmin(axis=1)).mean() - 0.25) < 0.13


def test_examples_come_again_where_a_class_has_no_more():
    x, y = drawn(sequence, tagged(), ways=2, length=18, count=50)
    again = 0
    for row, labels in zip(x[..., 0], y, strict=True):
        for label in (0, 1):
            of_class = row[labels == label]
            assert len(set(of_class[:PER_CLASS])) == min(len(of_class), PER_CLASS)
            more = max(len(of_class) - PER_CLASS, 0)
            np.testing.assert_array_equal(of_class[PER_CLASS:], of_class[:more])
            again += len(of_class) > PER_CLASS
    assert again > 10


def test_labels_are_given_to_classes_at_random():
    x, y = drawn(sequence, tagged(), ways=4, length=8, count=400)
    classes = x[..., 0] // PER_CLASS
    table = np.zeros((CLASSES, 4))
    np.add.at(table, (classes.ravel(), y.ravel()), 1)
    shares = table / table.sum(axis=1, keepdims=True)
    assert np.abs(shares - 0.25).max() < 0.15


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (sequence, {"dataset": tagged(), "ways": 3, "length": 7}),
        (linear_regression, {"dimensions": 2, "length": 4, "noise": 0.1}),
    ],
)
def test_a_stream_depends_on_the_seed_and_the_number_alone(make, arguments):
    def of(**options):
        return drawn(make, **arguments, **options)

    expected = of(meta_batch_size=4)
    for other in (of(meta_batch_size=7), of(meta_batch_size=4)):
        for a, b in zip(expected, other, strict=True):
            np.testing.assert_array_equal(a, b)
    shifted = of(meta_batch_size=5, start=3, step=2, count=10)
    for a, b in zip(expected, shifted, strict=True):
        np.testing.assert_array_equal(a[3:23:2], b)
    assert not np.array_equal(expected[1], of(meta_batch_size=4, seed=1)[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 3}, "Expected sequences at least as long as ways=4.*Received: length=3"),
        ({"ways": 13, "length": 13}, "Expected at least ways=13 classes. Received:.*12 classes"),
        ({"length": 37}, r"length / ways = 37 / 4, 10 examples in each class. Received: '0' \(9\)"),
        ({"ways": 1}, "Expected ways to be an integer of at least 2"),
        ({"length": 2.0}, "Expected length to be an integer"),
        ({"count": 0}, "Expected count to be an integer of at least 1"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        sequence(tagged(), **({"ways": 4} | options))


def test_what_is_no_dataset_is_refused():
    with pytest.raises(ValueError, match=r"Expected a ClassDataset. Received: ndarray"):
        sequence(np.zeros((3, 2)))


def test_linear_regression_is_linear_with_standard_normal_parts():
    x, y = drawn(linear_regression, dimensions=3, length=8, count=2000)
    assert x.shape == (2000, 8, 3)
    assert y.shape == (2000, 8, 1)
    w = np.stack([np.linalg.lstsq(a, b, rcond=None)[0][:, 0] for a, b in zip(x, y, strict=True)])
    np.testing.assert_allclose(np.einsum("eld,ed->el", x, w), y[..., 0], atol=1e-3)
    for values in (w, x):
        assert abs(values.mean()) < 0.06
        assert abs(values.std() - 1) < 0.05
    noisy = drawn(linear_regression, dimensions=3, length=8, count=2000, noise=0.5)
    np.testing.assert_array_equal(noisy[0], x)
    assert abs((noisy[1] - y).std() - 0.5) < 0.02


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dimensions": 0}, "Expected dimensions to be an integer of at least 1"),
        ({"length": 1}, "Expected length to be an integer of at least 2"),
        ({"noise": -1.0}, "Expected noise >= 0"),
    ],
)
def test_what_linear_regression_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        linear_regression(**options)
