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


def test_ranges_of_parameters_may_be_given_and_constants_change_no_episode():
    plain = tasks(count=20, seed=4)
    assert same(plain, tasks(count=20, seed=4, frequency=(1.0, 1.0)))
    options = {"frequency": (0.5, 2.0), "phase": (0.0, 2 * np.pi)}
    x, y, *_ = tasks(count=400, seed=4, **options)
    p = sinusoid.parameters(np.arange(400), seed=4, **options)
    p = {name: value.numpy()[:, None, None] for name, value in p.items()}
    np.testing.assert_allclose(
        y, p["amplitude"] * np.sin(p["frequency"] * x - p["phase"]), atol=1e-5
    )
    for name, low, high in (("frequency", 0.5, 2.0), ("phase", 0.0, 2 * np.pi)):
        assert low <= p[name].min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < p[name].max() <= high
    assert (sinusoid.parameters([0, 1])["frequency"].numpy() == 1).all()


def test_noise_is_normal_and_changes_nothing_else():
    x, y, _, query_x, query_y, _ = plain = tasks(count=500)
    noisy = tasks(count=500, noise=0.5)
    assert same([x, query_x], [noisy[0], noisy[3]])
    for a, b in ((noisy[1], y), (noisy[4], query_y)):
        error = (a - b).ravel() / 0.5
        assert abs(error.mean()) < 4.5 / np.sqrt(error.size)
        assert abs(error.std() - 1) < 4.5 / np.sqrt(2 * error.size)
    assert abs(np.corrcoef((noisy[1] - y)[:, 0, 0], (noisy[4] - query_y)[:, 0, 0])[0, 1]) < 0.1
    assert same(plain, tasks(count=500, noise=0.0))
    relative = tasks(count=500, noise=lambda amplitude, **_: 0.01 * amplitude)
    amplitude = sinusoid.parameters(np.arange(500))["amplitude"].numpy()[:, None, None]
    error = (relative[1] - y) / (0.01 * amplitude)
    assert abs(error.std() - 1) < 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"amplitud": (0, 1)}, r"Expected ranges for the parameters of sinusoid.*\['amplitud'\]"),
        ({"frequency": 3.0}, r"Expected frequency to be \(low, high\)"),
        ({"noise": -0.1}, "Expected noise >= 0"),
        ({"noise": "loud"}, "Expected noise to be a number, or a function"),
        (
            {"noise": lambda **_: tf.ones((3, 2, 1))},
            "Expected noise to return a tensor",
        ),
    ],
)
def test_errors_of_ranges_and_noise(options, message):
    with pytest.raises(ValueError, match=message):
        sinusoid(**options)
    with pytest.raises(ValueError, match="it takes none"):
        episodes.mixture(sinusoid, episodes.line)(slope=(0.0, 1.0))


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


def test_a_mixture_needs_its_key_family():
    @episodes.family(slope=(0.0, 1.0))
    def family(x, slope):
        return slope * x

    with pytest.raises(ValueError, match='Expected families of other names than "family"'):
        episodes.mixture(sinusoid, family)


NO_RANGES = [
    (5.0, -5.0), (float("nan"), 1.0), (0.0, float("inf")), (-3e38, 3e38), 3.0, (1.0,), (1, 2, 3),
    "uniform", None, (None, 1), ("0", "1"), (True, True), ((0, 1), (2, 3)), {0: 1},
    np.array([1.0, 0.0]), np.array([[0.0, 1.0]]), np.array(1.0),
]  # fmt: skip


@pytest.mark.parametrize("given", NO_RANGES, ids=repr)
def test_ranges_are_checked(given):
    for name, otherwise in (("slope", '"normal"'), ("inputs", "a function")):
        message = rf"Expected {name} to be \(low, high\).* or {otherwise}. Received: {name}="
        with pytest.raises(ValueError, match=message):
            episodes.family(**{name: given})


def test_inputs_are_not_normal_by_a_word():
    with pytest.raises(ValueError, match=r"Expected inputs to be .* or a function. Received"):
        episodes.family(inputs="normal")


@pytest.mark.parametrize("given", [[0, 2], np.array([0.0, 2.0]), (np.float32(0), np.int64(2))])
def test_ranges_are_any_two_numbers(given):
    expected = drawn(episodes.family(inputs=(0.0, 2.0), s=(0.0, 2.0))(lambda x, s: s * x), 5)
    found = drawn(episodes.family(inputs=given, s=given)(lambda x, s: s * x), 5)
    assert same(tf.nest.flatten(found), tf.nest.flatten(expected))
    fixed = episodes.family(inputs=(1, 1))(lambda x: x)
    assert (drawn(fixed, 5)[0][0] == 1).all()


OF_FEWER_ROWS = {
    "a parameter": lambda x, level: level,
    "a number": lambda x, level: 2,
    "one of rank 3": lambda x, level: tf.constant([[[2.0]]]),
    "float64": lambda x, level: tf.cast(level, tf.float64),
}


@pytest.mark.parametrize("value", OF_FEWER_ROWS.values(), ids=OF_FEWER_ROWS)
def test_outputs_of_fewer_rows_are_repeated(value):
    constant = episodes.family(level=(-1.0, 1.0))(value)
    spec = constant(shots=4, queries=3, meta_batch_size=5).element_spec
    assert spec.support.y == tf.TensorSpec((5, 4, 1), tf.float32)
    (x, y, *_), parameters = drawn(constant, 6, shots=4)
    expected = tf.cast(value(x, parameters["level"]), tf.float32)
    np.testing.assert_array_equal(y, np.broadcast_to(expected, (6, 4, 1)))
    mixed, _ = drawn(episodes.mixture(sinusoid, constant), 6, shots=4)
    assert mixed[1].shape == (6, 4, 1)


OF_OTHER_SHAPES = {
    "two outputs": lambda x, level: tf.concat([x, x], axis=-1),
    "no last axis": lambda x, level: x[..., 0],
    "one a task": lambda x, level: level[:, 0, 0],
    "fewer rows": lambda x, level: x[:, :2],
}


@pytest.mark.parametrize("wrong", OF_OTHER_SHAPES.values(), ids=OF_OTHER_SHAPES)
def test_outputs_of_other_shapes_are_refused_at_once(wrong):
    def ray(x, level):
        return wrong(x, level)

    family = episodes.family(level=(0.0, 1.0))(ray)
    for made in (family, episodes.mixture(sinusoid, family)):
        message = r"Expected ray to return a tensor of the shape of x, \(None, 4, 1\)"
        with pytest.raises(ValueError, match=message):
            made(shots=4)
    of_inputs = episodes.family(inputs=wrong, level=(0.0, 1.0))(lambda x, level: x)
    with pytest.raises(ValueError, match="Expected inputs to return a tensor of the shape of x"):
        of_inputs(shots=4)


def test_numpy_integers_are_integers():
    found = {"seed": np.int64(3), "count": np.int8(50), "start": np.int32(2), "step": np.int8(100)}
    found |= {"shots": np.int16(4), "meta_batch_size": np.uint8(7)}
    assert same(tasks(**found), tasks(**{name: int(value) for name, value in found.items()}))
    assert same(tasks(seed=np.uint64(2**64 - 1)), tasks(seed=2**64 - 1))


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
