"""The support vector machine against SciPy, and its derivative against differences."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.optimize import minimize

from tfmeta.ops import map_tasks, svm


def problem(ways=4, shots=3, width=6, size=1.0, seed=0):
    """Rows `[S, D]` around a mean for each class, and one-hot labels."""
    random = np.random.default_rng(seed)
    means = np.repeat(random.normal(size=(ways, width)), shots, axis=0)
    x = size * (means + 0.5 * random.normal(size=means.shape))
    return x, np.repeat(np.eye(ways), shots, axis=0)


def reference(x, y, capacity):
    """`W` by SciPy's own solver of the dual program."""
    gram, shape = x @ x.T, y.shape

    def value(flat):
        dual = flat.reshape(shape)
        return 0.5 * np.sum(dual * (gram @ dual)) - np.sum(y * dual)

    sums = np.kron(np.eye(len(x)), np.ones((1, shape[1])))
    found = minimize(
        value,
        np.zeros(y.size),
        jac=lambda flat: (gram @ flat.reshape(shape) - y).ravel(),
        method="SLSQP",
        bounds=[(None, most) for most in (capacity * y).ravel()],
        constraints={"type": "eq", "fun": lambda flat: sums @ flat, "jac": lambda _: sums},
        options={"maxiter": 1000, "ftol": 1e-15},
    )
    return x.T @ found.x.reshape(shape)


@pytest.mark.parametrize(("capacity", "steps"), [(0.1, 60), (2.0, 300)])
@pytest.mark.parametrize(
    "shape",
    [{}, {"ways": 4, "shots": 4, "width": 8, "size": 0.5}, {"ways": 5, "shots": 1, "width": 64}],
)
def test_the_solution_is_that_of_scipy(shape, capacity, steps):
    x, y = problem(**shape)
    expected = reference(x, y, capacity)
    for dtype in ("float64", "float32"):
        w = svm(x.astype(dtype), y, capacity, steps)
        np.testing.assert_allclose(w, expected, atol=1e-4)


def test_the_margin_is_kept_where_errors_cost_enough():
    x, y = problem(width=64)
    scores = x @ svm(x, y, capacity=100.0).numpy()
    others = np.max(np.where(y > 0, -np.inf, scores), axis=1)
    np.testing.assert_array_less(1 - 1e-3, np.max(scores * y, axis=1) - others)


def test_the_derivative_is_that_of_the_solution():
    x, y = problem()
    random = np.random.default_rng(1)
    along, weights = random.normal(size=x.shape), random.normal(size=(6, 4))

    def value(x):
        return tf.reduce_sum(svm(x, y, steps=80) * weights)

    tensor = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        one = value(tensor)
    slope = np.sum(tape.gradient(one, tensor) * along)
    expected = (value(x + 1e-6 * along) - value(x - 1e-6 * along)) / 2e-6
    np.testing.assert_allclose(slope, expected, rtol=1e-5)


def test_padding_absent_classes_and_tasks_at_once():
    x, y = problem(ways=3)
    expected = svm(x, y).numpy()
    rows = np.concatenate([x, 7 * np.ones((2, 6))])
    labels = np.zeros((11, 5))
    labels[:9, [0, 2, 3]] = y
    labels[9:, 2] = 1
    mask, present = np.repeat([1.0, 0.0], [9, 2]), np.array([1.0, 0.0, 1.0, 1.0, 0.0])
    padded = svm(rows, labels, mask=mask, present=present).numpy()
    np.testing.assert_allclose(padded[:, [0, 2, 3]], expected, atol=1e-6)
    np.testing.assert_array_equal(padded[:, [1, 4]], np.zeros((6, 2)))
    both = tf.stack([x, 2 * x])
    mapped = tf.function(lambda x: map_tasks(lambda one: svm(one, y), x, "vectorize"))(both)
    np.testing.assert_allclose(mapped, np.stack([expected, svm(2 * x, y)]), atol=1e-10)


def test_bad_arguments_and_what_is_not_finite():
    x, y = problem()
    with pytest.raises(ValueError, match="Expected capacity > 0"):
        svm(x, y, capacity=0)
    with pytest.raises(ValueError, match="Expected steps to be an integer of at least 1"):
        svm(x, y, steps=0)
    x[0, 0] = np.nan
    assert np.isnan(svm(x, y)).any()
