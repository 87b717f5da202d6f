"""Systems of equations without TensorFlow's solver."""

import numpy as np
import pytest
import tensorflow as tf

from tfmeta.backend import solve


@pytest.mark.parametrize("shape", [(1, 1), (5, 5), (3, 4, 4)])
def test_elimination_solves_what_the_solver_does(shape):
    random = np.random.default_rng(0)
    matrix, right = random.normal(size=shape), random.normal(size=(*shape[:-1], 2))
    if shape[-1] > 1:
        matrix[..., 0, 0] = 0.0  # no pivot where it would be without a search
    for any_size in (False, True):
        shapes = [[None] * t.ndim if any_size else t.shape for t in (matrix, right)]

        @tf.function(input_signature=[tf.TensorSpec(shape, tf.float64) for shape in shapes])
        def both(matrix, right):
            with solve.elementary_operations():
                return solve.solve(matrix, right), solve.inverted(matrix)

        solution, inverse = both(matrix, right)
        np.testing.assert_allclose(solution, np.linalg.solve(matrix, right), rtol=1e-9)
        np.testing.assert_allclose(inverse, np.linalg.inv(matrix), rtol=1e-9, atol=1e-12)
    operations = {op.type for op in both.get_concrete_function().graph.get_operations()}
    assert not operations & {"MatrixSolve", "MatrixInverse"}


def test_the_solver_is_tensorflows_outside():
    operations = tf.function(solve.solve).get_concrete_function(tf.eye(2), tf.eye(2)).graph
    assert "MatrixSolve" in {op.type for op in operations.get_operations()}
