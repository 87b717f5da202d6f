"""`benchmarks.in_context`: the linear predictors it compares with, and a short run."""

import json

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from benchmarks import in_context


def test_linear_predictors():
    data = in_context.episodes(3, 0.0, 128)
    x, y = in_context.points(data)
    assert (x.shape, y.shape) == ((128, 11, 5), (128, 11))
    errors = in_context.linear_errors(x, y, 0.0)
    np.testing.assert_allclose(errors[:, 0], y[:, 0] ** 2)  # from nothing: zero
    np.testing.assert_allclose(errors[:, 5:], 0, atol=1e-8)  # five points tell five weights
    np.testing.assert_allclose(in_context.linear_errors(x, y, 1e-9), errors, atol=1e-4)
    # By hand, of one episode: three points, the weight 0.25.
    w = np.linalg.inv(x[7, :3].T @ x[7, :3] + 0.25 * np.eye(5)) @ x[7, :3].T @ y[7, :3]
    found = in_context.linear_errors(x, y, 0.25)[7, 3]
    np.testing.assert_allclose(found, (x[7, 3] @ w - y[7, 3]) ** 2)


def test_ridge_is_best_where_there_is_noise():
    x, y = in_context.points(in_context.episodes(3, 0.5, 2048))
    best = in_context.linear_errors(x, y, 0.25).mean(axis=0)
    for weight in (0.0, 0.05, 1.0):
        others = in_context.linear_errors(x, y, weight).mean(axis=0)
        assert (best[2:] < others[2:]).all()


def test_a_short_run(tmp_path, monkeypatch):
    monkeypatch.setattr(in_context, "RESULTS", tmp_path / "in_context.json")
    monkeypatch.setattr("sys.argv", ["in_context", "--minutes", "0.005", "--count", "64"])
    in_context.main()
    results = json.loads((tmp_path / "in_context.json").read_text())
    assert results["steps"] > 1
    assert {len(places) for places in results["figures"].values()} == {11}
    assert (tmp_path / "in_context.png").read_bytes().startswith(b"\x89PNG")
