"""Mahalanobis's distance: against NumPy, both ways to solve, padding."""

import numpy as np
import pytest

from tfmeta.ops import class_gaussians, mahalanobis


def problem(counts=(3, 1, 4), width=5):
    """Rows, labels and other rows; classes of different size."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(counts)), counts)
    return random.normal(size=(len(labels), width)), labels, random.normal(size=(6, width))


def reference(x, y, z, regularization):
    distances = []
    for label in range(y.max() + 1):
        rows = x[y == label]
        own = np.cov(rows.T) if len(rows) > 1 else 0.0
        share = len(rows) / (len(rows) + 1)
        q = share * own + (1 - share) * np.cov(x.T) + regularization * np.eye(x.shape[1])
        difference = z - rows.mean(axis=0)
        distances.append(np.sum(difference @ np.linalg.inv(q) * difference, axis=1))
    return np.stack(distances, axis=1)


@pytest.mark.parametrize("width", [3, 20])
@pytest.mark.parametrize("regularization", [1.0, 0.1])
def test_distances_are_those_of_numpy(width, regularization):
    x, y, z = problem(width=width)
    for dtype, tolerance in (("float64", 1e-10), ("float32", 1e-4)):
        gaussians = class_gaussians(x.astype(dtype), y, np.ones(len(x)), 3, regularization)
        assert gaussians.inner.shape[1] == min(width, len(x))
        found = mahalanobis(z.astype(dtype), gaussians)
        np.testing.assert_allclose(found, reference(x, y, z, regularization), rtol=tolerance)


@pytest.mark.parametrize("width", [3, 20])
def test_padded_rows_and_absent_classes_change_nothing(width):
    x, y, z = problem(width=width)
    expected = reference(x, y, z, 1.0)
    rows = np.concatenate([x, 7 * np.ones((2, width))])
    labels, mask = np.append(y, [1, 3]), np.append(np.ones(len(x)), [0, 0])
    gaussians = class_gaussians(rows, labels, mask, 5, 1.0)
    np.testing.assert_array_equal(gaussians.present, [1, 1, 1, 0, 0])
    np.testing.assert_allclose(mahalanobis(z, gaussians)[:, :3], expected, rtol=1e-10)
    assert np.isfinite(mahalanobis(z, gaussians)).all()


def test_one_example_of_one_class_and_what_is_not_finite():
    x = np.ones((1, 3))
    gaussians = class_gaussians(x, np.array([0]), np.ones(1), 1, 2.0)
    np.testing.assert_allclose(mahalanobis(np.zeros((1, 3)), gaussians), [[1.5]])
    x[0, 0] = np.nan
    bad = class_gaussians(x, np.array([0]), np.ones(1), 1, 2.0)
    assert np.isnan(mahalanobis(np.zeros((1, 3)), bad)).all()
