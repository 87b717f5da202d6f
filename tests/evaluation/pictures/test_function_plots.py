"""The picture of curves with bands: what is drawn, and that a file is written."""

import numpy as np
import pytest
import tasks

pytest.importorskip("matplotlib")

import tfmeta
from tfmeta.evaluation import ExactGP, plot_functions
from tfmeta.learners import MAML

EPISODES = next(iter(tfmeta.episodes.gaussian_process(shots=(2, 6), queries=(3, 8), seed=2)))


def test_a_panel_a_learner_with_the_means_bands_and_real_points(tmp_path):
    path, learner = tmp_path / "curves.png", ExactGP()
    maml = MAML(tasks.dense())
    maml.compile("sgd", "mse")
    figure = plot_functions({"exact": learner, "MAML": maml}, EPISODES, path)
    assert path.read_bytes().startswith(b"\x89PNG")
    exact, other = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["exact", "MAML"]
    lines = {line.get_label(): line.get_xydata() for line in exact.lines}
    support = tasks.one(EPISODES.support)
    real = support.mask > 0
    expected = np.c_[support.x[real], support.y[real]]
    np.testing.assert_allclose(lines["context"], expected)
    assert len(lines["targets"]) == EPISODES.query.mask[0].numpy().sum()
    mean, scale = learner.predict_distribution(
        learner.adapt(support), lines["mean"][:, :1].astype("float32")
    )
    np.testing.assert_allclose(lines["mean"][:, 1], np.array(mean)[:, 0], atol=1e-4)
    (band,) = exact.collections
    upper = band.get_paths()[0].vertices[:, 1].max()
    np.testing.assert_allclose(upper, np.max(mean + 2 * scale), atol=1e-3)
    assert not other.collections


def test_one_task_without_a_mask():
    support, query = (tasks.one(part)._replace(mask=None) for part in EPISODES)
    figure = plot_functions(ExactGP(), tfmeta.Episode(support, query))
    assert len(figure.axes) == 1
    assert len(figure.axes[0].lines[2].get_xydata()) == len(support.x)


def test_errors():
    with pytest.raises(ValueError, match=r"Expected a tfmeta\.Episode\. Received: Examples"):
        plot_functions(ExactGP(), EPISODES.support)
    with pytest.raises(ValueError, match=r"Expected a task of curves.* Received: x of shape"):
        plot_functions(ExactGP(), tasks.regression(width=2))
