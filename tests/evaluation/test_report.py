"""EvaluationReport: numbers, text, paired difference."""

import numpy as np
import pytest

from tfmeta.evaluation import EvaluationReport
from tfmeta.evaluation.report import ScoreCurve


def spread(mean, interval, count=600):
    """Scores of exactly this mean and 95 % interval."""
    scores = np.tile([-1.0, 1.0], count // 2)
    return mean + scores * interval * np.sqrt(count) / (1.96 * scores.std(ddof=1))


@pytest.mark.parametrize(
    ("mean", "interval", "name", "text"),
    [
        (0.9812, 0.0031, "accuracy", "accuracy 98.12 ± 0.31 % (95 % interval, 600 episodes)"),
        (
            0.3312,
            0.0123,
            "mean squared error",
            "mean squared error 0.331 ± 0.012 (95 % interval, 600 episodes)",
        ),
        (1234.5, 67.8, "loss", "loss 1234 ± 68 (95 % interval, 600 episodes)"),
        (2.5, 1.23, "loss", "loss 2.5 ± 1.2 (95 % interval, 600 episodes)"),
        (3.3e-9, 1.2e-9, "loss", "loss 3.30e-09 ± 1.20e-09 (95 % interval, 600 episodes)"),
        (0.5, 0.0, "loss", "loss 0.500 ± 0.000 (95 % interval, 600 episodes)"),
        (0.0, 0.0, "loss", "loss 0.000 ± 0.000 (95 % interval, 600 episodes)"),
    ],
)
def test_text(mean, interval, name, text):
    report = EvaluationReport(spread(mean, interval), name)
    assert str(report) == text
    assert text in repr(report)


def test_transductive_scores_say_so():
    report = EvaluationReport(spread(0.5, 0.01), "accuracy", transductive=True)
    assert str(report).endswith("(95 % interval, 600 episodes, transductive)")
    one = EvaluationReport([0.5], "accuracy", transductive=True)
    assert str(one).endswith("(1 episode, no interval, transductive)")
    other = EvaluationReport(spread(0.5, 0.01), "accuracy")
    assert not other.transductive
    assert other.difference(report).transductive
    assert not other.difference(other).transductive
    assert ScoreCurve(np.ones([4, 3]), "accuracy", transductive=True).at(1).transductive


def test_one_episode_has_no_interval():
    report = EvaluationReport([0.5], "accuracy")
    assert np.isnan(report.interval)
    assert str(report) == "accuracy 50.00 % (1 episode, no interval)"


def test_mean_and_interval():
    report = EvaluationReport([1, 2, 3, 6], "loss")
    assert report.mean == 3.0
    # Deviations -2, -1, 0, 3: variance 14 / 3.
    assert report.interval == pytest.approx(1.96 * np.sqrt(14 / 3) / 2)
    assert isinstance(report.mean, float)
    assert report.scores.dtype == np.float64


def test_difference_is_paired():
    rng = np.random.default_rng(0)
    easy = rng.normal(0.5, 0.2, size=100)
    gain = rng.normal(0.05, 0.01, size=100)
    ours, theirs = EvaluationReport(easy + gain, "accuracy"), EvaluationReport(easy, "accuracy")
    difference = ours.difference(theirs)
    assert difference.mean == pytest.approx(gain.mean())
    assert difference.interval == pytest.approx(1.96 * gain.std(ddof=1) / 10)
    assert difference.interval < ours.interval / 5
    assert theirs.difference(ours).mean == pytest.approx(-gain.mean())
    assert (
        str(
            EvaluationReport([0.6, 0.7], "accuracy").difference(
                EvaluationReport([0.5, 0.6], "accuracy")
            )
        )
        == "difference in accuracy 10.00 ± 0.00 % (95 % interval, 2 episodes)"
    )


def test_difference_of_unlike_reports():
    report = EvaluationReport([1, 2], "accuracy")
    with pytest.raises(ValueError, match="accuracy over 2 episodes and accuracy over 3"):
        report.difference(EvaluationReport([1, 2, 3], "accuracy"))
    with pytest.raises(ValueError, match="accuracy over 2 episodes and loss over 2"):
        report.difference(EvaluationReport([1, 2], "loss"))


@pytest.mark.parametrize("scores", [[], 0.5, [[0.5]]])
def test_bad_scores(scores):
    with pytest.raises(ValueError, match=r"Expected scores of shape \(episodes,\)"):
        EvaluationReport(scores)


def test_curve():
    curve = ScoreCurve([[0.2, 0.6], [0.2, 0.8]], "accuracy")
    np.testing.assert_allclose(curve.mean, [0.2, 0.7])
    np.testing.assert_allclose(curve.interval, [0, 1.96 * np.sqrt(0.02) / np.sqrt(2)])
    assert repr(curve).startswith("<ScoreCurve: 0 to 1 inner steps; after 1: accuracy 70.00 ±")
    with pytest.raises(ValueError, match="inner steps"):
        ScoreCurve([0.2, 0.6])
