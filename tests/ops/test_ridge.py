"""Ridge regression against NumPy, and its two forms against each other."""

import numpy as np
import pytest
import tensorflow as tf

from tfmeta.ops import map_tasks, ridge


def problem(rows, columns, dtype="float64"):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(rows, columns)), random.normal(size=(rows, 2))
    return x.astype(dtype), y.astype(dtype)


SHAPES = pytest.mark.parametrize(("rows", "columns"), [(3, 7), (7, 3), (4, 4)])


@SHAPES
@pytest.mark.parametrize("form", ["auto", "primal", "dual"])
def test_the_loss_is_least(rows, columns, form):
    x, y = problem(rows, columns)
    w = tf.Variable(ridge(x, y, 0.3, form))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum((tf.matmul(x, w) - y) ** 2) + 0.3 * tf.reduce_sum(w**2)
    np.testing.assert_allclose(tape.gradient(loss, w), np.zeros((columns, 2)), atol=1e-8)
    inverse = np.linalg.inv(x.T @ x + 0.3 * np.eye(columns))
    np.testing.assert_allclose(w, inverse @ x.T @ y, rtol=1e-10)


@SHAPES
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-10)])
def test_both_forms_agree(rows, columns, dtype, tolerance):
    x, y = problem(rows, columns, dtype)
    primal, dual = (ridge(x, y, 0.3, form) for form in ("primal", "dual"))
    assert primal.dtype == dual.dtype == dtype
    np.testing.assert_allclose(primal, dual, rtol=tolerance, atol=tolerance)


def solved_size(rows, columns):
    """The number of unknowns in the system that "auto" solves."""

    @tf.function(autograph=False)
    def solve(x):
        return ridge(x, x[:, :1], 1.0)

    graph = solve.get_concrete_function(tf.TensorSpec([rows, columns], tf.float32)).graph
    (operation,) = [op for op in graph.get_operations() if op.type == "MatrixSolve"]
    return operation.inputs[0].shape[0], operation.inputs[1].shape[0]


def test_auto_solves_the_smaller_system():
    assert {3} == set(solved_size(3, 7)) == set(solved_size(7, 3))
    assert solved_size(None, 7)[1] is None  # the dual one: rows are few


@pytest.mark.parametrize("form", ["primal", "dual"])
def test_rows_with_mask_0_change_nothing(form):
    x, y = problem(5, 3)
    mask = np.array([1.0, 0.0, 1.0, 1.0, 0.0])
    real = mask > 0
    expected = ridge(x[real], y[real], 0.3)
    np.testing.assert_allclose(ridge(x, y, 0.3, form, mask), expected, rtol=1e-10)


@pytest.mark.parametrize("form", ["primal", "dual"])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_gradient_of_the_regularization_in_vectorised_steps(form, jit_compile):
    x, y = (np.stack([part, 2 * part]) for part in problem(5, 3))
    regularization = tf.Variable(0.3, dtype=tf.float64)

    def size(value):
        weights = map_tasks(lambda t: ridge(*t, value, form), (x, y), "vectorize")
        return tf.reduce_sum(weights**2)

    @tf.function(jit_compile=jit_compile)
    def gradient():
        with tf.GradientTape() as tape:
            loss = size(regularization)
        return tape.gradient(loss, regularization)

    expected = (size(0.3 + 1e-5) - size(0.3 - 1e-5)) / 2e-5
    np.testing.assert_allclose(gradient(), expected, rtol=1e-6)


@pytest.mark.parametrize("form", ["primal", "dual"])
def test_nan_goes_through(form):
    x, y = problem(5, 3)
    x[1, 1] = np.nan
    assert np.isnan(ridge(x, y, 0.3, form)).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0, "woodbury"), r"Expected form in .* Received: 'woodbury'"),
        ((0.0,), r"Expected regularization > 0.* Received: 0.0"),
        ((-1,), r"Expected regularization > 0.* Received: -1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ridge(*problem(3, 2), *arguments)
