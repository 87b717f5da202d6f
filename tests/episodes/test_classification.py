"""Classification episodes: what is drawn, in which shapes, and what is refused."""

import numpy as np
import pytest
import tensorflow as tf

from tfmeta.episodes import classification
from tfmeta.types import ClassDataset, Episode, Examples

CLASSES, PER_CLASS = 12, 9


def tagged(counts=(PER_CLASS,) * CLASSES, dtype="int32"):
    """Each example's only pixel is its row number, from 1: 0 can only be padding."""
    rows = np.arange(1, sum(counts) + 1).astype(dtype)[:, np.newaxis]
    return ClassDataset(rows, np.repeat(np.arange(len(counts)), counts))


def episodes(dataset=None, **options):
    """All episodes of a counted stream, one after the other, as NumPy arrays."""
    options = {"ways": 4, "shots": 2, "queries": 3, "count": 30, **options}
    batches = classification(tagged() if dataset is None else dataset, **options)
    parts = [tf.nest.flatten(batch) for batch in batches.as_numpy_iterator()]
    merged = [np.concatenate(part) for part in zip(*parts, strict=True)]
    return Episode(Examples(*merged[:3]), Examples(*merged[3:]))


def same(one, other):
    pairs = zip(tf.nest.flatten(one), tf.nest.flatten(other), strict=True)
    return all(a.shape == b.shape and (a == b).all() for a, b in pairs)


def every(one, step, start=0):
    return tf.nest.map_structure(lambda a: a[start::step], one)


@pytest.mark.parametrize("count", [None, 8])
def test_shapes_and_types_are_static(count):
    images = ClassDataset(np.full((60, 3, 4, 1), 51, "uint8"), np.repeat(np.arange(6), 10))
    dataset = classification(images, ways=5, shots=2, queries=3, meta_batch_size=4, count=count)
    for part, rows in zip(dataset.element_spec, (10, 15), strict=True):
        assert part.x == tf.TensorSpec((4, rows, 3, 4, 1), tf.float32)
        assert part.y == tf.TensorSpec((4, rows), tf.int32)
        assert part.mask == tf.TensorSpec((4, rows), tf.float32)
    batch = next(iter(dataset))
    assert isinstance(batch, Episode)
    assert isinstance(batch.query, Examples)
    np.testing.assert_array_equal(batch.query.x, np.full((4, 15, 3, 4, 1), 0.2, "float32"))
    np.testing.assert_array_equal(batch.support.mask, np.ones((4, 10)))
    np.testing.assert_array_equal(np.sort(batch.query.y[0]), np.repeat(np.arange(5), 3))


@pytest.mark.parametrize(
    ("given", "expected"),
    [("uint8", tf.float32), ("float64", tf.float32), ("float16", tf.float32), ("int64", tf.int64)],
)
def test_type_of_inputs(given, expected):
    spec = classification(tagged(dtype=given), ways=4, shots=2, queries=3).element_spec
    assert spec.support.x.dtype == expected


def test_classes_and_examples_are_drawn_without_replacement():
    support, query = episodes(count=100)
    for i in range(100):
        rows = np.concatenate([support.x[i], query.x[i]])[:, 0]
        labels = np.concatenate([support.y[i], query.y[i]])
        assert len(set(rows)) == 4 * (2 + 3)
        class_of = {}
        for row, label in zip(rows, labels, strict=True):
            assert class_of.setdefault(label, (row - 1) // PER_CLASS) == (row - 1) // PER_CLASS
        assert sorted(class_of) == [0, 1, 2, 3]
        assert len(set(class_of.values())) == 4


def test_every_example_of_a_class_can_be_drawn_when_all_are_needed():
    support, query = episodes(shots=4, queries=PER_CLASS - 4)
    rows = np.concatenate([support.x, query.x], axis=1)[..., 0] - 1
    for row in rows:
        classes = np.unique(row // PER_CLASS)
        assert sorted(row) == [c * PER_CLASS + i for c in classes for i in range(PER_CLASS)]


@pytest.mark.parametrize("ways", [4, CLASSES])
def test_choice_of_classes_labels_and_examples_is_uniform(ways):
    number = 3000
    support, query = episodes(ways=ways, shots=1, queries=1, count=number, meta_batch_size=500)
    for part in (support, query):
        classes, examples = (part.x[..., 0] - 1) // PER_CLASS, (part.x[..., 0] - 1) % PER_CLASS
        for label in range(ways):
            # 99.99 % quantiles: 37.4 with 11 degrees of freedom, 31.8 with 8.
            for drawn, values, limit in ((classes, CLASSES, 38), (examples, PER_CLASS, 32)):
                found = np.bincount(drawn[part.y == label], minlength=values)
                expected = number / values
                assert ((found - expected) ** 2 / expected).sum() < limit
    pairs = np.bincount(
        (support.x[:, 0, 0] - 1) % PER_CLASS * PER_CLASS + (query.x[:, 0, 0] - 1) % PER_CLASS
    )
    assert (np.count_nonzero(pairs), pairs.max() < 90) == (PER_CLASS * (PER_CLASS - 1), True)


def test_stream_depends_on_the_seed_alone():
    assert same(episodes(seed=3), episodes(seed=3))
    assert not same(episodes(seed=3), episodes(seed=4))
    assert not same(episodes(seed=3), episodes(seed=3 + 2**32))
    # Neighbouring seeds must not be one stream read from another place.
    first, second = episodes(seed=0, count=200).query.x, episodes(seed=1, count=200).query.x
    assert not {row.tobytes() for row in first} & {row.tobytes() for row in second}


def test_numpy_integers_are_integers():
    found = {"seed": np.int64(3), "count": np.int8(50), "start": np.int32(2), "step": np.int8(100)}
    found |= {"ways": (np.int8(2), np.int8(4)), "shots": np.uint8(2), "queries": np.int16(3)}
    plain = {name: int(value) for name, value in found.items() if name != "ways"}
    assert same(episodes(**found), episodes(**plain, ways=(2, 4)))


@pytest.mark.parametrize("meta_batch_size", [1, 7, 30, 64])
def test_meta_batch_size_does_not_change_the_episodes(meta_batch_size):
    assert same(episodes(), episodes(meta_batch_size=meta_batch_size))


def test_start_and_step_cut_the_same_stream():
    whole = episodes(count=600, meta_batch_size=100)  # more than two blocks of drawing
    assert same(every(whole, 1, start=290), episodes(start=290, count=310, meta_batch_size=31))
    for worker in range(3):
        assert same(every(whole, 3, worker), episodes(start=worker, step=3, count=200))
    far = episodes(start=2**40, step=5, count=4)
    assert same(every(far, 2), episodes(start=2**40, step=10, count=2))


def test_count():
    dataset = classification(tagged(), 4, 2, 3, meta_batch_size=4, count=10)
    assert dataset.cardinality() == 3
    assert dataset.element_spec.support.x.shape == (None, 8, 1)
    passes = [list(dataset.as_numpy_iterator()) for _ in range(2)]
    assert [len(batch.support.x) for batch in passes[0]] == [4, 4, 2]
    assert all(same(a, b) for a, b in zip(*passes, strict=True))
    assert same(episodes(count=10), every(tf.nest.map_structure(lambda a: a[:10], episodes()), 1))
    endless = classification(tagged(), 4, 2, 3)
    assert endless.cardinality() == tf.data.INFINITE_CARDINALITY
    assert len(list(endless.take(200))) == 200


@pytest.mark.parametrize("dtype", ["int32", "uint8"])
def test_variable_ways_and_shots_are_padded(dtype):
    support, query = episodes(
        tagged(dtype=dtype), ways=(2, 5), shots=(1, 4), queries=3, count=400, meta_batch_size=50
    )
    assert support.x.shape == (400, 20, 1)
    assert query.x.shape == (400, 15, 1)
    for part in (support, query):
        assert (part.x[part.mask == 0] == 0).all()
        assert (part.y[part.mask == 0] == 0).all()
        assert (part.x[part.mask == 1] > 0).all()
    shots, queries = support.mask.reshape(400, 5, 4).sum(2), query.mask.reshape(400, 5, 3).sum(2)
    ways = (shots > 0).sum(1)
    np.testing.assert_array_equal(queries, 3 * (np.arange(5) < ways[:, np.newaxis]))
    np.testing.assert_array_equal(shots > 0, np.arange(5) < ways[:, np.newaxis])
    assert (np.bincount(ways)[2:] > 60).all()
    assert (np.bincount(shots[shots > 0].astype(int))[1:] > 250).all()
    real = support.mask.reshape(400, 5, 4)
    assert (np.diff(real, axis=2) <= 0).all()  # real rows first


def test_variable_sizes_pad_the_episodes_of_the_largest_size():
    fixed, padded = episodes(ways=5, shots=4), episodes(ways=(2, 5), shots=(1, 4))
    real = padded.support.mask == 1
    np.testing.assert_array_equal(padded.support.x[real], fixed.support.x[real])
    assert same(episodes(ways=(5, 5), shots=(4, 4)), fixed)


def test_classes_of_unequal_size():
    counts = (5, 40, 7, 300, 5)
    support, query = episodes(tagged(counts), ways=5, count=400, meta_batch_size=50)
    rows = np.concatenate([support.x, query.x], axis=1)[..., 0] - 1
    assert all(len(set(row)) == 25 for row in rows)
    drawn = np.bincount(rows.ravel(), minlength=sum(counts))
    ends = np.cumsum(counts)
    for end, size in zip(ends, counts, strict=True):
        of_class = drawn[end - size : end]
        assert of_class.sum() == 400 * 5
        assert of_class.min() >= (1 if size <= 40 else 0)
        assert of_class.max() < 2000 / size + 6 * np.sqrt(2000 / size) + 1


def test_no_python_runs_in_the_pipeline():
    graph = classification(tagged(), 4, 2, 3)._as_serialized_graph().numpy()
    assert b"PyFunc" not in graph
    assert b"Generator" not in graph


def test_data_are_captured_once_and_not_written_into_the_graph():
    images = ClassDataset(np.zeros((1000, 28, 28, 1), "uint8"), np.repeat(np.arange(10), 100))
    dataset = classification(images)
    functions = [f for d in _chain(dataset) for f in d._functions()]
    sizes = [len(f.function.graph.as_graph_def().SerializeToString()) for f in functions]
    assert sizes
    assert max(sizes) < 100_000


def _chain(dataset):
    return [dataset, *(d for parent in dataset._inputs() for d in _chain(parent))]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ways": 13}, r"Expected at least ways=13 classes. Received: a data set of 12 classes"),
        ({"ways": 1}, r"Expected ways to be an integer of at least 2. Received: ways=1\."),
        ({"ways": 2.5}, r"Expected ways to be an integer of at least 2. Received: ways=2.5\."),
        ({"ways": (5, 2)}, r"low <= high. Received: ways=\(5, 2\)"),
        ({"ways": (1, 3)}, r"Expected ways to be an integer of at least 2. Received: ways=1\."),
        ({"shots": 0}, r"Expected shots to be an integer of at least 1. Received: shots=0\."),
        ({"shots": (3, 1)}, r"low <= high. Received: shots=\(3, 1\)"),
        ({"shots": (1, 2, 3)}, r"a pair \(low, high\).*Received: shots=\(1, 2, 3\)"),
        ({"queries": 0}, r"Expected queries to be an integer of at least 1. Received: queries=0\."),
        ({"meta_batch_size": 0}, r"Expected meta_batch_size .* Received: meta_batch_size=0\."),
        ({"count": 0}, r"Expected count to be an integer of at least 1. Received: count=0\."),
        ({"seed": 0.5}, r"Expected seed to be an integer. Received: seed=0.5\."),
        ({"seed": None}, r"Expected seed to be an integer. Received: seed=None\."),
        ({"seed": True}, r"Expected seed to be an integer. Received: seed=True\."),
        ({"start": -1}, r"Expected start to be an integer of at least 0. Received: start=-1\."),
        ({"step": 0}, r"Expected step to be an integer of at least 1. Received: step=0\."),
        ({"dataset": [1, 2]}, r"Expected a ClassDataset. Received: list; .*from_arrays"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        classification(**{"dataset": tagged(), "ways": 4, "shots": 2, "queries": 3, **options})


def test_error_names_the_classes_that_are_too_small():
    dataset = ClassDataset(np.zeros((12, 1)), [0] * 3 + [1] * 7 + [2] * 2, ["ant", "bee", "cow"])
    message = r"shots \+ queries = 1 \+ 4 = 5 .* Received: 'ant' \(3\), 'cow' \(2\)\. Lower shots"
    with pytest.raises(ValueError, match=message):
        classification(dataset, ways=2, shots=1, queries=4)
    with pytest.raises(ValueError, match="and 7 more classes"):
        classification(tagged(), ways=2, shots=5, queries=5)
