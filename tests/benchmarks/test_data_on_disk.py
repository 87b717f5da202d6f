"""The parts of the command that measures data on disk, on a few pictures."""

import numpy as np
import pytest

from benchmarks import data_on_disk
from tfmeta.datasets import from_folder

pytest.importorskip("PIL.Image")


def test_pictures_cache_and_what_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(data_on_disk, "DIFFERENT", 40)
    monkeypatch.setattr(data_on_disk, "PER_CLASS", 20)
    data_on_disk.write_pictures(tmp_path / "pictures", 120)
    made = data_on_disk.make(tmp_path)
    assert made["cpu_seconds"] > 0
    assert (tmp_path / "cache" / "x.bin").stat().st_size == 120 * 100 * 100 * 3
    dataset = from_folder(tmp_path / "pictures", image_size=100, cache=tmp_path / "cache")
    assert dataset.counts.tolist() == [20] * 6
    left = data_on_disk.left_after_20_pipelines(dataset)
    assert (left["python_threads"], left["files"]) == (0, 0)
    found = data_on_disk.compared({"a": np.arange(20), "b": np.arange(20)}, 1, 2, repeats=2)
    assert found["ratio"] > 0
