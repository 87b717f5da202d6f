"""evaluate_episodes and score_curve against NumPy."""

import importlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from evaluation.fakes import (
    PixelPrototypes,
    Regressor,
    SteppingPrototypes,
    accuracies,
    classification_arrays,
    dataset,
)

import tfmeta
from tfmeta.evaluation import evaluate_episodes, score_curve
from tfmeta.types import Episode, Examples


@pytest.fixture
def arrays():
    return classification_arrays()


def evaluate(learner, episodes, count, **options):
    return evaluate_episodes(learner, episodes, count, verbose=0, **options)


def test_accuracy_mean_and_interval(arrays):
    report = evaluate(PixelPrototypes(3), dataset(arrays), 7)
    expected = accuracies(arrays)
    assert expected.std() > 0
    np.testing.assert_allclose(report.scores, expected, rtol=1e-6)
    assert report.mean == pytest.approx(expected.mean())
    assert report.interval == pytest.approx(1.96 * expected.std(ddof=1) / np.sqrt(7))
    assert report.score_name == "accuracy"


def test_takes_the_first_episodes_in_order(arrays):
    learner = PixelPrototypes(3)
    report = evaluate(learner, dataset(arrays), 3)
    np.testing.assert_allclose(report.scores, accuracies(arrays)[:3], rtol=1e-6)
    assert len(learner.prepared) == 1


def test_endless_dataset(arrays):
    scores = evaluate(PixelPrototypes(3), dataset(arrays).repeat(), 16).scores
    expected = accuracies(arrays)
    np.testing.assert_allclose(
        scores, np.concatenate([expected, expected, expected[:2]]), rtol=1e-6
    )


def test_dataset_too_short(arrays):
    with pytest.raises(ValueError, match=r"count=8 episodes.*ends after 7"):
        evaluate(PixelPrototypes(3), dataset(arrays), 8)


@pytest.mark.parametrize("count", [0, -1, 2.0, True])
def test_bad_count(arrays, count):
    with pytest.raises(ValueError, match=r"Expected count .*Received"):
        evaluate(PixelPrototypes(3), dataset(arrays), count)


def test_one_trace_and_a_second_for_a_smaller_last_batch(arrays):
    learner = PixelPrototypes(3)
    evaluate(learner, dataset(arrays), 6)
    assert learner.traces == 1
    # 5 of 6: the last meta-batch is cut after it was scored, not before.
    learner = PixelPrototypes(3)
    evaluate(learner, dataset(arrays), 5)
    assert learner.traces == 1
    learner = PixelPrototypes(3)
    evaluate(learner, dataset(arrays), 7)
    assert learner.traces == 2


def test_repeated_evaluations_do_not_warn_of_retracing(arrays, caplog, monkeypatch):
    # TensorFlow warns twice in a process: forget what earlier tests have used up.
    module = importlib.import_module(
        "tensorflow.python.eager.polymorphic_function.polymorphic_function"
    )
    monkeypatch.setattr(
        module, "_frequent_tracing_detector_manager", module._FrequentTracingDetectorManager()
    )
    tf.get_logger().addHandler(caplog.handler)
    try:
        for _ in range(12):
            evaluate(PixelPrototypes(3), dataset(arrays), 1)
    finally:
        tf.get_logger().removeHandler(caplog.handler)
    assert "retracing" not in caplog.text


def test_padding_does_not_count(arrays):
    mask = np.ones_like(arrays.query.mask)
    mask[:, ::3] = 0
    x = arrays.query.x.copy()
    x[:, ::3] = np.nan
    padded = arrays._replace(query=Examples(x, arrays.query.y, mask))
    expected = accuracies(padded)
    assert (expected != accuracies(arrays)).any()
    report = evaluate(PixelPrototypes(3), dataset(padded), 7)
    np.testing.assert_allclose(report.scores, expected, rtol=1e-6)


def regression(keep_axis):
    rng = np.random.default_rng(0)
    y = rng.normal(size=(4, 6, 1) if keep_axis else (4, 6)).astype("float32")
    examples = Examples(y.reshape(4, 6, 1), y, np.ones((4, 6), "float32"))
    mask = np.tile(np.float32([1, 1, 0, 1, 1, 0]), (4, 1))
    query = Examples(examples.x, 3 * y, mask)
    return Episode(examples, query), y.reshape(4, 6)


@pytest.mark.parametrize("y_axis", [True, False])
@pytest.mark.parametrize("outputs_axis", [True, False])
def test_mean_squared_error_never_broadcasts(y_axis, outputs_axis):
    arrays, y = regression(y_axis)
    if y_axis and not outputs_axis:
        with pytest.raises(ValueError, match=r"query y, \(6, 1\).*\(6,\)"):
            evaluate(Regressor(outputs_axis), dataset(arrays), 4)
        return
    report = evaluate(Regressor(outputs_axis), dataset(arrays), 4)
    errors = (3 * y - y.mean(axis=1, keepdims=True)) ** 2
    np.testing.assert_allclose(report.scores, errors[:, [0, 1, 3, 4]].mean(axis=1), rtol=1e-5)
    assert report.score_name == "mean squared error"


def test_mean_squared_error_over_masked_nan():
    arrays, _ = regression(True)
    y = arrays.query.y.copy()
    y[:, 2] = np.nan
    query = arrays.query._replace(y=y)
    clean = evaluate(Regressor(), dataset(arrays), 4)
    np.testing.assert_array_equal(
        evaluate(Regressor(), dataset(arrays._replace(query=query)), 4).scores, clean.scores
    )


def test_own_score(arrays):
    def largest_label(y, outputs, mask):
        assert outputs.shape == (12, 3)
        return tf.reduce_max(tf.cast(y, tf.float32) * mask)

    report = evaluate(PixelPrototypes(3), dataset(arrays), 4, score=largest_label)
    np.testing.assert_array_equal(report.scores, [2, 2, 2, 2])
    assert report.score_name == "largest label"
    assert (
        evaluate(PixelPrototypes(3), dataset(arrays), 2, score=lambda *_: 1.0).score_name == "score"
    )


def test_bad_scores(arrays):
    with pytest.raises(ValueError, match=r"score to be a callable.*'accuracy'"):
        evaluate(PixelPrototypes(3), dataset(arrays), 4, score="accuracy")
    with pytest.raises(ValueError, match=r"scalar for one task.*\(12,\)"):
        evaluate(PixelPrototypes(3), dataset(arrays), 4, score=lambda y, outputs, mask: mask)


def test_not_finite_names_the_episode(arrays):
    mask = arrays.query.mask.copy()
    mask[3] = 0
    mask[5] = 0
    arrays = arrays._replace(query=arrays.query._replace(mask=mask))
    with pytest.raises(FloatingPointError, match="nan in episode 3, counted from 0"):
        evaluate(PixelPrototypes(3), dataset(arrays), 7)
    # The bad episode is in the last meta-batch and behind the count.
    assert len(evaluate(PixelPrototypes(3), dataset(arrays), 3).scores) == 3


def test_inner_steps_reach_adapt(arrays):
    report = evaluate(SteppingPrototypes(3), dataset(arrays), 7, inner_steps=3)
    np.testing.assert_allclose(report.scores, accuracies(arrays, scale=0.875), rtol=1e-6)
    one = evaluate(SteppingPrototypes(3), dataset(arrays), 7)
    np.testing.assert_allclose(one.scores, accuracies(arrays, scale=0.5), rtol=1e-6)
    assert (report.scores != one.scores).any()
    with pytest.raises(ValueError, match=r"inner_steps=None.*PixelPrototypes"):
        evaluate(PixelPrototypes(3), dataset(arrays), 7, inner_steps=3)


def test_progress_bar(arrays, capsys):
    evaluate_episodes(PixelPrototypes(3), dataset(arrays), 5)
    assert "5/5" in capsys.readouterr().out
    evaluate(PixelPrototypes(3), dataset(arrays), 5)
    assert capsys.readouterr().out == ""


def test_score_curve(arrays):
    learner = SteppingPrototypes(3)
    curve = score_curve(learner, dataset(arrays), inner_steps=3, count=6, verbose=0)
    expected = np.stack([accuracies(arrays, 1 - 0.5**t)[:6] for t in range(4)], axis=1)
    assert curve.scores.shape == (6, 4)
    assert learner.traces == 1
    np.testing.assert_allclose(curve.scores, expected, rtol=1e-6)
    np.testing.assert_allclose(curve.mean, expected.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(
        curve.interval, 1.96 * expected.std(0, ddof=1) / np.sqrt(6), rtol=1e-6
    )
    assert curve.at(3).mean == pytest.approx(expected[:, 3].mean())
    assert curve.score_name == "accuracy"


def test_score_curve_errors(arrays):
    with pytest.raises(ValueError, match=r"inner steps.*PixelPrototypes.*evaluate_episodes"):
        score_curve(PixelPrototypes(3), dataset(arrays), count=2)
    with pytest.raises(ValueError, match=r"inner_steps .*-1"):
        score_curve(SteppingPrototypes(3), dataset(arrays), inner_steps=-1)


@pytest.mark.parametrize("learner", [tfmeta.learners.MAML, tfmeta.learners.Reptile])
@pytest.mark.parametrize("transductive", [False, True])
@pytest.mark.parametrize("normalised", [False, True])
def test_the_report_says_where_queries_see_one_another(learner, transductive, normalised):
    norm = [keras.layers.BatchNormalization()] if normalised else []
    layers = [keras.Input((1,)), keras.layers.Dense(4), *norm, keras.layers.Dense(1)]
    learner = learner(keras.Sequential(layers), transductive=transductive)
    learner.compile("sgd", "mse")
    episodes = tfmeta.episodes.sinusoid(meta_batch_size=2, count=2)
    for report in (evaluate(learner, episodes, 2), score_curve(learner, episodes, 1, 2).at(1)):
        assert report.transductive == (transductive and normalised)
