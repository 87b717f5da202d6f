"""`benchmarks.completion`: its episodes, its baselines, a short run."""

import json

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import tfmeta
from benchmarks import completion


def test_episodes_are_pixels_of_pictures():
    first = next(iter(completion.episodes("validation", (10, 20), None, 0, tasks=3)))
    again = next(iter(completion.episodes("validation", (10, 20), None, 0, tasks=3)))
    np.testing.assert_array_equal(first.query.y, again.query.y)
    (x, y, mask), (targets, ink, _) = (tuple(t.numpy() for t in part) for part in first)
    assert x.shape == (3, 20, 2)
    assert targets.shape == (3, 764, 2)
    pictures = tfmeta.datasets.glyphs("validation").x[..., 0] / np.float32(255)
    for task in range(3):
        real = mask[task] > 0
        assert 10 <= real.sum() <= 20
        assert not x[task][~real].any()
        seen = np.full((28, 28), np.nan, np.float32)
        completion._fill(seen, x[task][real], y[task][real])
        completion._fill(seen, targets[task], ink[task])
        known = ~np.isnan(seen)  # all but the pixels in the place of which there is padding
        assert known.sum() == real.sum() + 764
        assert (np.abs(pictures - seen)[:, known].max(axis=1) < 1e-6).sum() == 1


def test_baselines_by_hand():
    batch = next(iter(completion.episodes("test", 10, None, 1000, 2)))
    found = completion.baselines(10, 2)
    for task in range(2):
        (x, y, _), (targets, ink, _) = (tuple(t.numpy()[task] for t in part) for part in batch)
        mean = np.mean((ink - y.mean()) ** 2)
        nearest = [y[np.argmin([np.sum((t - p) ** 2) for p in x])] for t in targets]
        assert found["mean of the pixels seen"][task] == pytest.approx(mean, rel=1e-5)
        expected = np.mean((ink - nearest) ** 2)
        assert found["nearest pixel"][task] == pytest.approx(expected, rel=1e-5)


def test_a_short_run(tmp_path, monkeypatch):
    monkeypatch.setattr(completion, "RESULTS", tmp_path / "completion.json")
    monkeypatch.setattr(completion, "CONTEXTS", (10,))
    words = "completion --methods CNP --minutes 0.005 --count 16"
    monkeypatch.setattr("sys.argv", words.split())
    completion.main()
    results = json.loads((tmp_path / "completion.json").read_text())
    assert set(results["figures"]["CNP"]["10"]) == {"squared error", "log-likelihood"}
    assert results["trainings"]["CNP"]["steps"] > 1
    assert (tmp_path / "completion_CNP.png").read_bytes().startswith(b"\x89PNG")
