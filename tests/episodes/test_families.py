"""Sinusoid tasks: the functions, their ranges, and the rules of a stream."""

import numpy as np
import pytest
import tensorflow as tf

from tfmeta.episodes import sinusoid, sinusoid_parameters


def tasks(**options):
    options = {"shots": 4, "queries": 3, "count": 50, **options}
    parts = [tf.nest.flatten(batch) for batch in sinusoid(**options).as_numpy_iterator()]
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_shapes_and_types_are_static():
    support, query = sinusoid(shots=10, queries=7, meta_batch_size=25).element_spec
    for part, rows in ((support, 10), (query, 7)):
        assert part.x == tf.TensorSpec((25, rows, 1), tf.float32)
        assert part.y == tf.TensorSpec((25, rows, 1), tf.float32)
        assert part.mask == tf.TensorSpec((25, rows), tf.float32)
    assert sinusoid().cardinality() == tf.data.INFINITE_CARDINALITY
    assert sinusoid(count=60).cardinality() == 3
    assert [len(b.query.mask) for b in sinusoid(count=60)] == [25, 25, 10]


def test_values_are_those_of_the_paper():
    x, y, mask, query_x, query_y, _ = tasks(count=2000, seed=5, meta_batch_size=500)
    p = sinusoid_parameters(np.arange(2000), seed=5)
    amplitude, phase = (
        p[name].numpy()[:, np.newaxis, np.newaxis] for name in ("amplitude", "phase")
    )
    np.testing.assert_allclose(y, amplitude * np.sin(x - phase), atol=1e-5)
    np.testing.assert_allclose(query_y, amplitude * np.sin(query_x - phase), atol=1e-5)
    assert (mask == 1).all()
    ranges = ((amplitude, 0.1, 5), (phase, 0, np.pi), (x, -5, 5), (query_x, -5, 5))
    for value, low, high in ranges:
        value = (value.ravel() - low) / (high - low)
        assert value.min() >= 0
        assert value.max() <= 1
        # Within 4.5 standard errors of a uniform's, in each tenth of the range.
        found = np.histogram(value, bins=10, range=(0, 1))[0] / len(value)
        assert abs(found - 0.1).max() < 4.5 * np.sqrt(0.09 / len(value))
    pairs = (
        (amplitude[:, 0, 0], phase[:, 0, 0]),
        (x[:, 0, 0], query_x[:, 0, 0]),
        (x[:-1, 0, 0], x[1:, 0, 0]),
    )
    assert all(abs(np.corrcoef(a, b)[0, 1]) < 0.1 for a, b in pairs)


def test_stream_depends_on_seed_and_number_alone():
    whole = tasks(count=600)
    assert same(whole, tasks(count=600, meta_batch_size=7))
    assert not same(whole, tasks(count=600, seed=1))
    assert same([a[300:] for a in whole], tasks(start=300, count=300))
    for worker in range(3):
        assert same([a[worker::3] for a in whole], tasks(start=worker, step=3, count=200))


def test_functions_do_not_depend_on_the_number_of_points():
    p = sinusoid_parameters([4], seed=0)
    x, y, *_ = tasks(shots=9, start=4, count=1)
    np.testing.assert_allclose(y, p["amplitude"] * tf.sin(x - p["phase"]), atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"shots": 0},
        {"queries": 0},
        {"meta_batch_size": 0},
        {"count": 0},
        {"seed": "a"},
        {"start": -1},
        {"step": 0},
        {"shots": 2.0},
    ],
)
def test_errors(options):
    ((name, value),) = options.items()
    message = f"Expected {name} to be an integer.* Received: {name}={value!r}"
    with pytest.raises(ValueError, match=message):
        sinusoid(**options)
