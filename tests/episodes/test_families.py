"""Sinusoid tasks: the functions, their ranges, and the rules of a stream."""

import inspect

import numpy as np
import pytest
import tensorflow as tf

from tfmeta import episodes
from tfmeta.episodes import sinusoid


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
    p = sinusoid.parameters(np.arange(2000), seed=5)
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
    p = sinusoid.parameters([4], seed=0)
    x, y, *_ = tasks(shots=9, start=4, count=1)
    np.testing.assert_allclose(y, p["amplitude"] * tf.sin(x - p["phase"]), atol=1e-5)


def drawn(function, count=400, **options):
    """Parts of some episodes as NumPy, and their parameters `[E, 1, 1]`."""
    parts = [tf.nest.flatten(b) for b in function(count=count, **options).as_numpy_iterator()]
    arrays = [np.concatenate(part) for part in zip(*parts, strict=True)]
    parameters = function.parameters(np.arange(count), seed=options.get("seed", 0))
    return arrays, tf.nest.map_structure(lambda p: p.numpy()[:, None, None], parameters)


FORMULAS = {
    "line": lambda x, p: p["slope"] * x + p["intercept"],
    "linear": lambda x, p: p["slope"] * x,
    "polynomial": lambda x, p: p["a"] + p["b"] * x + p["c"] * x**2 + p["d"] * x**3,
    "harmonic": lambda x, p: (
        p["amplitude_1"] * np.sin(p["frequency"] * x + p["phase_1"])
        + p["amplitude_2"] * np.sin(2 * p["frequency"] * x + p["phase_2"])
    ),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_families_are_their_formulas(name):
    function = getattr(episodes, name)
    (x, y, mask, query_x, query_y, _), parameters = drawn(function, seed=3)
    np.testing.assert_allclose(y, FORMULAS[name](x, parameters), atol=2e-4)
    np.testing.assert_allclose(query_y, FORMULAS[name](query_x, parameters), atol=2e-4)
    assert (mask == 1).all()
    assert x.shape == (400, 10, 1)
    assert function.__doc__.startswith("Meta-batches of")


def test_harmonic_inputs_are_normal_around_a_center():
    (x, *_), parameters = drawn(episodes.harmonic, count=2000)
    offset = (x - parameters["center"]).ravel()
    assert abs(offset.mean()) < 4.5 / np.sqrt(offset.size)
    assert abs(offset.std() - 1) < 4.5 / np.sqrt(2 * offset.size)
    for name in ("amplitude_1", "amplitude_2"):
        assert abs(parameters[name].std() - 1) < 4.5 / np.sqrt(2 * 2000)


def test_a_family_is_one_function():
    @episodes.family(inputs=(0.0, 1.0), scale=(1.0, 2.0))
    def square(x, scale):
        """Squares."""
        return scale * x**2

    (x, y, *_), parameters = drawn(square, shots=3, meta_batch_size=7)
    np.testing.assert_allclose(y, parameters["scale"] * x**2, rtol=1e-6)
    assert x.min() >= 0
    assert x.max() <= 1
    assert square.__name__ == "square"
    assert list(inspect.signature(square).parameters)[:2] == ["shots", "queries"]


def test_mixtures_take_every_family_as_often():
    modes = episodes.mixture(sinusoid, episodes.line, episodes.harmonic)
    (x, y, *_), parameters = drawn(modes, count=900, seed=2)
    which = parameters["family"].ravel()
    counts = np.bincount(which, minlength=3)
    assert abs(counts - 300).max() < 4.5 * np.sqrt(900 * 2 / 9)
    for i, function in enumerate((sinusoid, episodes.line, episodes.harmonic)):
        own = {k: v[which == i] for k, v in parameters[function.__name__].items()}
        np.testing.assert_allclose(y[which == i], function.value(x[which == i], **own), atol=2e-4)


@pytest.mark.parametrize("families", [(), (sinusoid,), (sinusoid, sinusoid), (sinusoid, abs)])
def test_mixtures_need_different_families(families):
    with pytest.raises(ValueError, match="Expected at least two different functions made by"):
        episodes.mixture(*families)


@pytest.mark.parametrize("given", [(1.0,), 3.0, (2.0, 1.0), "uniform"])
def test_ranges_are_checked(given):
    with pytest.raises(ValueError, match=r"Expected slope to be \(low, high\)"):
        episodes.family(slope=given)


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
