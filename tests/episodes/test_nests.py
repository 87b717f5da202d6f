"""Classification episodes of a data set whose x is a nest of arrays."""

import collections

import numpy as np
import pytest
import tensorflow as tf

from tfmeta.episodes import classification, linear
from tfmeta.types import ClassDataset, Episode, Examples

Card = collections.namedtuple("Card", "picture numbers")
CLASS_IDS = np.repeat(np.arange(6), 8)
TAGS = np.arange(1, 49, dtype="int32")  # from 1: 0 can only be padding


def dataset():
    """48 rows; each holds its number, from 1, in every part."""
    picture = np.tile(TAGS.astype("uint8")[:, None, None], (1, 3, 2))
    numbers = np.stack([TAGS, -TAGS], axis=1).astype("float64")
    x = {"ids": TAGS[:, None], "cards": (Card(picture, numbers), TAGS > 0)}
    return ClassDataset(x, CLASS_IDS)


def first_batch(dataset, **options):
    options = {"ways": 4, "shots": 2, "queries": 3, "meta_batch_size": 20, **options}
    return next(classification(dataset, **options).as_numpy_iterator())


@pytest.mark.parametrize("count", [None, 6])
@pytest.mark.parametrize("ways", [4, (2, 4)])
def test_shapes_and_types_are_static(count, ways):
    stream = classification(dataset(), ways, 2, 3, meta_batch_size=3, count=count)
    for part, rows in zip(stream.element_spec, (8, 12), strict=True):
        card, flags = part.x["cards"]
        assert isinstance(card, Card)
        assert card.picture == tf.TensorSpec((3, rows, 3, 2), tf.float32)
        assert card.numbers == tf.TensorSpec((3, rows, 2), tf.float32)
        assert flags == tf.TensorSpec((3, rows), tf.bool)
        assert part.x["ids"] == tf.TensorSpec((3, rows, 1), tf.int32)
    assert isinstance(stream.element_spec, Episode)
    assert isinstance(stream.element_spec.query, Examples)


@pytest.mark.parametrize("sizes", [{}, {"ways": (2, 4), "shots": (1, 2)}])
def test_every_part_has_the_rows_of_the_same_stream_of_one_array(sizes):
    plain = first_batch(ClassDataset(TAGS[:, None], CLASS_IDS), **sizes)
    nested = first_batch(dataset(), **sizes)
    for one, other in zip(plain, nested, strict=True):
        card, flags = other.x["cards"]
        tags = one.x[..., 0]
        np.testing.assert_array_equal(other.x["ids"], one.x)
        np.testing.assert_array_equal(card.numbers, np.stack([tags, -tags], axis=-1))
        np.testing.assert_allclose(card.picture[:, :, 2, 1], tags / 255, rtol=1e-6)
        np.testing.assert_array_equal(flags, one.mask == 1)
        np.testing.assert_array_equal(other.y, one.y)
        np.testing.assert_array_equal(other.mask, one.mask)
    assert (nested.support.mask == 0).any() == bool(sizes)


def test_a_family_becomes_one_of_nests_by_map():
    def with_square(episode):
        return Episode(*(part._replace(x={"x": part.x, "square": part.x**2}) for part in episode))

    stream = linear(shots=2, queries=3, meta_batch_size=4, count=8)
    plain = next(iter(stream))
    nested = next(iter(stream.map(with_square)))
    assert isinstance(nested, Episode)
    np.testing.assert_array_equal(nested.query.x["square"], plain.query.x**2)
    np.testing.assert_array_equal(nested.query.y, plain.query.y)


def test_a_tuple_of_parts_is_one_x():
    pair = ClassDataset((TAGS, TAGS), CLASS_IDS)
    support, _ = first_batch(pair)
    assert isinstance(support.x, tuple)
    assert [part.shape for part in support.x] == [(20, 8), (20, 8)]
