"""Likelihood, coverage and reliability: values by hand, in `fit` and over episodes, bad input."""

import functools
import statistics

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf

import tfmeta
from tfmeta.evaluation import (
    Coverage,
    ExpectedCalibrationError,
    NegativeLogLikelihood,
    evaluate_episodes,
    plot_reliability,
    score_reliability,
)
from tfmeta.evaluation.reliability import Reliability
from tfmeta.learners import ALPaCA, ProtoNet

METRICS = {
    "coverage_50": Coverage(0.5),
    "coverage_95": Coverage(),
    "negative_log_likelihood": NegativeLogLikelihood(),
}


@functools.cache
def learner():
    keras.utils.set_random_seed(0)
    made = ALPaCA(tasks.dense(4), noise=0.3)
    made.compile(keras.optimizers.SGD(0.0), metrics=list(METRICS.values()), run_eagerly=True)
    return made


def by_hand(episodes):
    """Of each task: coverage of 50 and of 95 %, and the negative log-likelihood."""
    rows = []
    for task in range(3):
        adapted = learner().adapt(tasks.one(episodes.support, task))
        query = tasks.one(episodes.query, task)
        mean, scale = learner().predict_distribution(adapted, query.x)
        z, normal = (query.y - np.array(mean)) / scale, statistics.NormalDist()
        inside = [np.mean(abs(z) < normal.inv_cdf((1 + level) / 2)) for level in (0.5, 0.95)]
        density = [normal.pdf(float(v)) for v in z[:, 0]] / np.array(scale)[:, 0]
        rows.append([*inside, -np.mean(np.log(density))])
    return np.transpose(rows)


def test_metrics_and_scores_are_those_by_hand():
    episodes = tasks.regression()
    data = tasks.dataset(episodes)
    history = learner().fit(data, steps_per_epoch=1, verbose=0).history
    evaluated = learner().evaluate(data.take(1), return_dict=True, verbose=0)
    for (name, metric), expected in zip(METRICS.items(), by_hand(episodes), strict=True):
        np.testing.assert_allclose(history[name][0], expected.mean(), rtol=1e-5)
        np.testing.assert_allclose(evaluated[name], expected.mean(), rtol=1e-5)
        report = evaluate_episodes(learner(), data, 3, score=metric, verbose=0)
        np.testing.assert_allclose(report.scores, expected, rtol=1e-5)
        assert report.score_name == name.replace("_", " ")


def test_padded_rows_do_not_count():
    episodes = tasks.regression()
    mask = np.ones((3, 4), "float32")
    mask[:, 1] = 0
    y = np.where(mask[..., None] > 0, episodes.query.y, 100.0).astype("float32")
    query = tfmeta.Examples(episodes.query.x, tf.constant(y), tf.constant(mask))
    data = tasks.dataset(episodes._replace(query=query))
    report = evaluate_episodes(learner(), data, 3, score=NegativeLogLikelihood(), verbose=0)
    assert report.mean < 10
    evaluated = learner().evaluate(data.take(1), return_dict=True, verbose=0)
    np.testing.assert_allclose(evaluated["negative_log_likelihood"], report.mean, rtol=1e-5)


def test_normal_numbers_are_covered_as_often_as_they_should():
    random = np.random.default_rng(0)
    mean, scale = random.normal(size=(2, 20_000, 1))
    scale = np.exp(scale)
    y = mean + scale * random.normal(size=scale.shape)
    for level in (0.5, 0.95):
        rows = Coverage(level).of_rows(y, tf.constant(mean), tf.constant(scale))
        assert abs(np.mean(rows) - level) < 0.015


def test_metrics_are_made_from_their_configs():
    metric = Coverage(0.8)
    assert metric.name == "coverage_80"
    for made in (metric, NegativeLogLikelihood(), ExpectedCalibrationError(5, from_logits=False)):
        again = type(made).from_config(made.get_config())
        assert again.get_config() == made.get_config()


def test_learners_without_distributions_are_refused():
    plain = tfmeta.learners.MAML(tasks.dense())
    plain.compile("sgd", "mse", metrics=[Coverage()], run_eagerly=True)
    data = tasks.dataset(tasks.regression())
    with pytest.raises(ValueError, match="MAML; use evaluate_episodes without this score"):
        evaluate_episodes(plain, data, 3, score=Coverage(), verbose=0)
    with pytest.raises(ValueError, match="Received: outputs without standard deviations"):
        plain.fit(data, steps_per_epoch=1, verbose=0)


@pytest.mark.parametrize("level", [0, 1, 95, "0.5", True])
def test_bad_levels(level):
    with pytest.raises(ValueError, match="Expected level > 0 and < 1"):
        Coverage(level)


# Classes.

PROBABILITIES = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.45, 0.55], [0.1, 0.9]], "float32")
LABELS = np.array([0, 1, 1, 1, 0], "int32")
MASK = np.array([1, 1, 1, 1, 0], "float32")
# Five bins: .55 alone in one, .7 and .8 - of which one is wrong - and .9 in others.
ERROR = (abs(1 - 0.55) + abs(1 - 0.7) + abs(1 - (0.8 + 0.9)) * 1.0) / 4


@pytest.mark.parametrize("from_logits", [False, True])
def test_expected_calibration_error_by_hand(from_logits):
    metric = ExpectedCalibrationError(5, from_logits=from_logits)
    outputs = np.log(PROBABILITIES) + 3 if from_logits else PROBABILITIES
    metric.update_state(LABELS[:2], outputs[:2], MASK[:2])
    metric.update_state(LABELS[2:, None], outputs[2:], MASK[2:])
    np.testing.assert_allclose(metric.result(), ERROR, rtol=1e-5)
    metric.reset_state()
    assert metric.result() == 0


def test_reliability_of_a_learner_is_that_of_the_metric(tmp_path):
    pytest.importorskip("matplotlib")
    keras.utils.set_random_seed(0)
    proto = ProtoNet(keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()]))
    metric = ExpectedCalibrationError()
    proto.compile("sgd", tasks.CROSSENTROPY, metrics=[metric], run_eagerly=True)
    episodes = tasks.images(tasks=4, seed=3)
    fainter = (e._replace(x=0.05 * e.x) for e in episodes)  # so that not all is certain
    data = tasks.dataset(tfmeta.Episode(*fainter))
    found = score_reliability(proto, data, 4, verbose=0)
    evaluated = proto.evaluate(data.take(1), return_dict=True, verbose=0)
    np.testing.assert_allclose(found.error, evaluated["expected_calibration_error"], rtol=1e-4)
    assert found.error > 0.1
    assert f"{100 * found.error:.2f} ± {100 * found.interval:.2f} %" in repr(found)
    plot_reliability({"ProtoNet": found}, tmp_path / "reliability.png")
    assert (tmp_path / "reliability.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="Expected integer labels"):
        score_reliability(learner(), tasks.dataset(tasks.regression()), 3, verbose=0)
    with pytest.raises(ValueError, match="Expected what score_reliability returns"):
        plot_reliability({})


def test_the_interval_of_a_calibration_error_narrows_with_episodes():
    random = np.random.default_rng(0)
    right = random.random((400, 1, 10)) < 0.6
    sums = np.stack([np.full((400, 1), 10.0), np.full((400, 1), 9.0), right.sum(-1)], axis=-1)
    few, many = Reliability(sums[:25]), Reliability(sums)
    assert abs(many.error - 0.3) < many.interval < few.interval / 3
