"""Logistic regression: the slope at its solution, its two forms, masks."""

import numpy as np
import pytest
import tensorflow as tf

from tfmeta.ops import logistic


def problem(rows, columns, dtype="float64"):
    random = np.random.default_rng(0)
    return random.normal(size=(rows, columns)).astype(dtype), np.eye(3)[np.arange(rows) % 3]


SHAPES = pytest.mark.parametrize(("rows", "columns"), [(4, 7), (9, 3)])


@SHAPES
@pytest.mark.parametrize("form", ["primal", "dual"])
def test_the_slope_of_the_loss_at_the_solution_is_0(rows, columns, form):
    x, y = problem(rows, columns)
    w = tf.Variable(logistic(x, y, 0.3, steps=12, form=form))
    with tf.GradientTape() as tape:
        errors = tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=tf.matmul(x, w))
        loss = tf.reduce_sum(errors) + 0.15 * tf.reduce_sum(w**2)
    np.testing.assert_allclose(tape.gradient(loss, w), np.zeros((columns, 3)), atol=1e-9)


@SHAPES
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-10)])
def test_both_forms_agree(rows, columns, dtype, tolerance):
    x, y = problem(rows, columns, dtype)
    primal, dual, auto = (logistic(x, y, 0.3, form=f) for f in ("primal", "dual", "auto"))
    assert primal.dtype == dual.dtype == dtype
    np.testing.assert_allclose(primal, dual, rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(auto, dual if rows < columns else primal)


@pytest.mark.parametrize("form", ["primal", "dual"])
def test_rows_with_mask_0_change_nothing(form):
    x, y = problem(6, 4)
    mask = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    kept = mask > 0
    np.testing.assert_allclose(
        logistic(x, y, 0.3, form=form, mask=mask), logistic(x[kept], y[kept], 0.3, form=form)
    )


@pytest.mark.parametrize("form", ["primal", "dual"])
def test_the_derivative_goes_through_all_steps(form):
    x, y = problem(6, 4)
    along = np.random.default_rng(1).normal(size=x.shape)

    def value(x, steps=4):
        return tf.reduce_sum(logistic(x, y, 0.3, steps, form) ** 2)

    tensor = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        one = value(tensor)
    expected = (value(x + 1e-6 * along) - value(x - 1e-6 * along)) / 2e-6
    np.testing.assert_allclose(np.sum(tape.gradient(one, tensor) * along), expected, rtol=1e-6)


def test_rows_that_are_far_away_stay_finite():
    x, y = problem(6, 4, "float32")
    w = logistic(1e3 * x, y, 1e-3, steps=10)
    assert np.isfinite(w).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"form": "both"}, "Expected form in .* Received: 'both'"),
        ({"steps": 0}, "Expected steps to be an integer of at least 1"),
        ({"regularization": 0}, "Expected regularization > 0"),
    ],
)
def test_bad_arguments(arguments, message):
    x, y = problem(6, 4)
    with pytest.raises(ValueError, match=message):
        logistic(x, y, **({"regularization": 1.0} | arguments))
