"""Active learning: which point is labelled next, the errors, bad input."""

import functools

import numpy as np
import pytest
import tasks

import tfmeta
from tfmeta.evaluation import ExactGP, active_curve

SHORT = {"length": 0.5, "noise": 0.1}


@functools.cache
def process():
    made = ExactGP("rbf", **SHORT)
    made.compile(run_eagerly=True)
    return made


def curves(count=200):
    return tfmeta.episodes.gaussian_process(
        "rbf", 12, 20, meta_batch_size=50, seed=3, count=count, **SHORT
    )


def test_errors_are_those_of_points_chosen_one_by_one():
    episodes = next(iter(curves(50)))
    found = active_curve(process(), tasks.dataset(episodes), labels=4, count=3)
    assert found.scores.shape == (3, 4)
    for task in range(3):
        pool, query = tasks.one(episodes.support, task), tasks.one(episodes.query, task)
        labelled = [0]
        for score in found.scores[task]:
            adapted = process().adapt(tfmeta.Examples(pool.x[labelled], pool.y[labelled]))
            mean, _ = process().predict_distribution(adapted, query.x)
            np.testing.assert_allclose(score, np.mean((mean - query.y) ** 2), rtol=1e-4)
            _, scale = process().predict_distribution(adapted, pool.x)
            scale = np.array(scale)[:, 0]
            scale[labelled] = 0
            labelled.append(int(scale.argmax()))


def test_uncertain_points_are_worth_more_than_random_ones():
    pair = [active_curve(process(), curves(), 8, 200, at_random=r) for r in (False, True)]
    chosen, at_random = (curve.at(8) for curve in pair)
    difference = chosen.difference(at_random)
    assert difference.mean + difference.interval < 0
    np.testing.assert_array_equal(pair[0].at(1).scores, pair[1].at(1).scores)
    assert repr(pair[0]).startswith("<ScoreCurve: 1 to 8 labels; after 8: mean squared error")


def test_bad_input():
    data = curves(50)
    for arguments, message in (
        ((process(), data, 13, 10), "Expected pools of at least labels=13 points.* one of 12"),
        ((process(), data, 3, 51), "Expected at least count=51 episodes. Received: a dataset"),
        ((process(), data, 0), "Expected labels to be an integer of at least 1"),
        ((tfmeta.learners.MAML(tasks.dense()), data), "a learner that predicts distributions"),
    ):
        with pytest.raises(ValueError, match=message):
            active_curve(*arguments)


def test_an_exact_process_without_noise_wants_each_point_once():
    learner = ExactGP(noise=0)
    x = np.array([[0.1], [0.2], [0.1]], "float32")
    support = tfmeta.Examples(x, np.array([[0.0], [1.0], [0.5]], "float32"))
    with pytest.raises(ValueError, match="Expected each point once, as noise=0"):
        learner.adapt(support)
    assert np.isfinite(learner.adapt(tfmeta.Examples(x[:2], support.y[:2])).y).all()
