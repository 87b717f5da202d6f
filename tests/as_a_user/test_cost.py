"""What costs more than it should: functions that are traced, kept and dropped, never seconds."""

import gc
import weakref

import numpy as np
import pytest
import tasks
import tensorflow as tf

from tfmeta.engine.kept import kept
from tfmeta.evaluation import evaluate_episodes, score_curve
from tfmeta.learners import MAML


class CountedMAML(MAML):
    """MAML that counts how often its inner loop is called from Python: traced, or run eagerly."""

    calls = 0

    def adaptation_path(self, *args, **kwargs):
        CountedMAML.calls += 1
        return super().adaptation_path(*args, **kwargs)

    def adapt(self, support, training=False, inner_steps=None):
        CountedMAML.calls += 1
        return super().adapt(support, training, inner_steps)


def calls(function):
    """How often the inner loop of `CountedMAML` was called meanwhile."""
    before = CountedMAML.calls
    function()
    return CountedMAML.calls - before


@pytest.fixture(scope="module")
def maml():
    learner = CountedMAML(tasks.dense(), inner_learning_rate=0.05)
    learner.compile("sgd", "mse")
    return learner


def evaluate(learner, **kwargs):
    return evaluate_episodes(learner, tasks.dataset(tasks.regression()), 3, verbose=0, **kwargs)


def test_an_evaluation_after_each_epoch_is_traced_once(maml):
    first = evaluate(maml)
    assert calls(lambda: evaluate(maml)) == 0
    weights = maml.get_weights()
    maml.set_weights([w + 0.1 for w in weights])
    assert calls(lambda: evaluate(maml)) == 0  # and goes by the new weights
    assert not np.allclose(evaluate(maml).scores, first.scores)
    maml.set_weights(weights)
    np.testing.assert_array_equal(evaluate(maml).scores, first.scores)
    assert calls(lambda: evaluate(maml, inner_steps=2)) == 1
    curve = lambda: score_curve(maml, tasks.dataset(tasks.regression()), 1, 3, verbose=0)  # noqa: E731
    assert [calls(curve), calls(curve)] == [1, 0]
    assert evaluate(maml).score_name == "mean squared error"


def test_an_evaluation_is_traced_anew_when_the_learner_is_another(maml):
    evaluate(maml)
    maml.inner_learning_rate = 0.1
    assert calls(lambda: evaluate(maml)) == 1
    maml.network.layers[0].trainable = False
    assert calls(lambda: evaluate(maml)) == 1
    maml.network.layers[0].trainable = True
    assert calls(lambda: evaluate(maml)) == 1
    maml.compile("sgd", "mae", run_eagerly=True)
    assert calls(lambda: evaluate(maml)) == 1
    maml.note = "an attribute of a user's own, which `adapt` may read"
    assert calls(lambda: evaluate(maml)) == 1
    maml.fit(tasks.dataset(tasks.regression(), 1), verbose=0)
    assert calls(lambda: evaluate(maml)) == 0


def test_scores_that_are_new_at_each_call_do_not_pile_up(maml):
    scores = []
    for _ in range(40):
        score = lambda y, outputs, mask: tf.reduce_mean(outputs)  # noqa: E731
        scores.append(weakref.ref(score))
        kept(maml, score, lambda score=score: [score])
    del score
    gc.collect()
    assert sum(score() is not None for score in scores) < 20
