"""The pictures: what is drawn, and that a file is written."""

import sys

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from evaluation.fakes import classification_arrays

from tfmeta.evaluation import plot_curve, plot_episode
from tfmeta.evaluation.pictures.plots import RIGHT, WRONG
from tfmeta.evaluation.report import ScoreCurve
from tfmeta.types import Episode, Examples

PNG = b"\x89PNG"


def curve(name="accuracy", count=5):
    return ScoreCurve(np.linspace(0, 1, count * 4).reshape(count, 4), name)


def one_task(arrays):
    return Episode(*(Examples(*(a[0] for a in part)) for part in arrays))


@pytest.fixture
def arrays():
    return classification_arrays(count=2, queries=12)


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_curve_shows_means_and_bands_in_percent(tmp_path):
    path = tmp_path / "curve.png"
    shown = curve()
    figure = plot_curve({"MAML": shown, "Reptile": curve()}, path)
    axes = figure.axes[0]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), 100 * shown.mean)
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert band.max() == pytest.approx(100 * (shown.mean + shown.interval).max())
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["MAML", "Reptile"]
    assert axes.get_ylabel() == "query accuracy (%)"
    assert "5 episodes" in axes.get_xlabel()
    assert axes.lines[0].get_color() != axes.lines[1].get_color()
    assert axes.lines[0].get_marker() != axes.lines[1].get_marker()
    assert path.read_bytes()[:4] == PNG
    assert path.stat().st_size > 5000


def test_one_curve_needs_no_dict_and_no_legend():
    figure = plot_curve(curve("mean squared error"))
    assert figure.axes[0].get_legend() is None
    assert figure.axes[0].get_ylabel() == "query mean squared error"


def test_curve_errors():
    with pytest.raises(ValueError, match=r"one score.*none"):
        plot_curve({})
    with pytest.raises(ValueError, match=r"one score.*\['accuracy', 'loss'\]"):
        plot_curve({"a": curve(), "b": curve("loss")})


def test_episode_frames_say_right_or_wrong(arrays, tmp_path):
    path = tmp_path / "episode.png"
    predicted = arrays.query.y[0].copy()
    predicted[0], predicted[-1] = 2, 1  # row 0 is of class 0; the last is beyond the 10 drawn
    outputs = np.eye(3)[predicted]
    figure = plot_episode(one_task(arrays), outputs, ["ant", "bee", "cat"], path)
    colors = [line.get_color() for line in figure.axes[0].lines]
    assert len(figure.axes[0].images) == 3 * 2 + 3 * 10
    assert (colors.count(RIGHT), colors.count(WRONG)) == (29, 1)
    assert texts(figure).count("cat") == 2  # its own row, and below the wrong image
    assert "query (first 10 a class)" in texts(figure)
    assert "94 % (34 of 36)" in figure.get_suptitle()
    assert path.read_bytes()[:4] == PNG
    assert path.stat().st_size > 5000


def test_episode_draws_the_first_task_of_a_meta_batch(arrays):
    outputs = np.eye(3)[arrays.query.y]
    figure = plot_episode(arrays, outputs)
    assert "100 % (36 of 36)" in figure.get_suptitle()
    low = min(part.x[0].min() for part in arrays)
    high = max(part.x[0].max() for part in arrays)
    first = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(
        first, (arrays.support.x[0, 0, ..., 0] - low) / (high - low), rtol=1e-5
    )


def test_episode_without_outputs_has_no_frames(arrays):
    figure = plot_episode(one_task(arrays))
    assert len(figure.axes[0].lines) == 0
    assert "class 2" in texts(figure)
    assert "accuracy" not in figure.get_suptitle()


def test_episode_leaves_padding_out(arrays):
    task = one_task(arrays)
    mask = task.query.mask.copy()
    mask[4:] = 0
    task = task._replace(query=task.query._replace(mask=mask))
    figure = plot_episode(task, np.eye(3)[task.query.y])
    assert len(figure.axes[0].images) == 3 * 2 + 4
    assert "(4 of 4)" in figure.get_suptitle()


def test_color_images_and_no_mask():
    x = np.random.default_rng(0).integers(0, 256, (4, 5, 5, 3), dtype=np.uint8)
    part = Examples(x, np.array([0, 0, 1, 1]))
    figure = plot_episode(Episode(part, part))
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), x[0] / x.max(), rtol=1e-5)


def test_episode_errors(arrays):
    task = one_task(arrays)
    with pytest.raises(ValueError, match=r"outputs .*\(36, classes\).*\(36,\)"):
        plot_episode(task, np.zeros(36))
    with pytest.raises(ValueError, match=r"3 class names. Received: 2"):
        plot_episode(task, class_names=["a", "b"])
    vectors = Examples(np.zeros((4, 7)), np.array([0, 0, 1, 1]))
    with pytest.raises(ValueError, match=r"episode of images.*\(4, 7\)"):
        plot_episode(Episode(vectors, vectors))
    targets = Examples(np.zeros((4, 5, 5, 1)), np.zeros(4))
    with pytest.raises(ValueError, match=r"integer labels.*float64"):
        plot_episode(Episode(targets, targets))


def test_missing_matplotlib_names_the_extra(monkeypatch, arrays):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install tfmeta\[plots\]"):
        plot_curve(curve())
    with pytest.raises(ImportError, match=r"pip install tfmeta\[plots\]"):
        plot_episode(arrays)


def test_pyplot_stays_out(monkeypatch, arrays, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    plot_episode(one_task(arrays), path=tmp_path / "episode.pdf")
    plot_curve(curve(), path=tmp_path / "curve.svg")
    assert {p.read_bytes()[:4] for p in tmp_path.iterdir()} == {b"%PDF", b"<?xm"}
