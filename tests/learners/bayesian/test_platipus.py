"""PLATIPUS: MAML without variance, the weight of its bound, its samples."""

import numpy as np
import pytest
import tasks
import tensorflow as tf
from learners.bayesian.small_particles import assert_is_maml, made, predict
from meta_gradients import relative_error_along

from tfmeta.learners import MAML, PLATIPUS
from tfmeta.learners.gaussian import kl_divergence


def without_spread(learner):
    """PLATIPUS whose deviations and rates are 0."""
    part = learner.adapted_part
    for variable in (*part.log_deviations, *part.log_query_deviations):
        variable.assign(np.full(variable.shape, -100.0))
    part.rate.assign(0.0)
    part.query_rate.assign(0.0)
    return learner


def test_it_is_maml_without_variance():
    assert_is_maml(without_spread(made(PLATIPUS, particles=2, kl_weight=0.0)[0]))


def test_the_rate_of_platipus_is_one_more_step_of_maml():
    platipus, episodes = made(PLATIPUS, particles=2)
    without_spread(platipus).adapted_part.rate.assign(0.1)
    maml, _ = made(MAML, evaluation_steps=3)
    np.testing.assert_allclose(predict(platipus, episodes), predict(maml, episodes), rtol=1e-12)


def test_outer_gradient_against_central_differences():
    learner, episodes = made(PLATIPUS, particles=2, kl_weight=0.1)
    assert relative_error_along(learner, episodes, eager=True) < 1e-6


@pytest.mark.parametrize("kl_weight", [None, 0.3])
def test_the_divergence_of_platipus_has_the_weight_of_the_bound(kl_weight):
    learner, episodes = made(PLATIPUS, kl_weight=kl_weight, noise=0.7)
    part = learner.adapted_part
    part.query_rate.assign(0.0)
    part.rate.assign(0.0)
    for own, other in zip(part.log_deviations, part.log_query_deviations, strict=True):
        own.assign(np.log(0.1) + 0 * np.array(own))
        other.assign(np.log(0.2) + 0 * np.array(other))
    count = sum(np.size(v) for v in part.log_deviations)
    divergence = count * (np.log(0.5) + 0.5 * (4 - 1))
    results, _ = learner.outer_gradients(episodes)
    weight = 2 * 0.7**2 / episodes.query.y.shape[1] if kl_weight is None else kl_weight
    np.testing.assert_allclose(results.objective - results.loss, weight * divergence, rtol=1e-6)


def test_samples_of_platipus_are_apart_and_the_same_at_each_call():
    learner, episodes = made(PLATIPUS, "float32", particles=4, deviation=0.3)
    adapted = learner.adapt(tasks.one(episodes.support))
    each = np.array(learner.predict_particles(adapted, episodes.query.x[0]))
    assert each.std(axis=0).min() > 1e-2
    again = learner.adapt(tasks.one(episodes.support))
    np.testing.assert_array_equal(learner.predict_particles(again, episodes.query.x[0]), each)
    same = tf.nest.map_structure(lambda t: tf.repeat(t[:1], 2, axis=0), episodes)
    outputs = learner.outer_gradients(same)[0].outputs  # each task draws a start of its own
    assert not np.allclose(outputs[0], outputs[1])


def test_divergence_of_normals():
    found = kl_divergence(tf.constant([1.0]), tf.constant([0.5]), tf.constant([0.0]), 2.0)
    np.testing.assert_allclose(found, np.log(4) + (0.25 + 1) / 8 - 0.5, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"particles": 0}, "Expected particles to be an integer of at least 1"),
        ({"deviation": 0}, "Expected deviation > 0"),
        ({"kl_weight": "a"}, "Expected kl_weight >= 0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        PLATIPUS(tasks.dense(), **arguments)
