"""What costs more than it should: functions that are traced, kept and dropped, never seconds."""

import gc
import weakref

import numpy as np
import pytest
import tasks
import tensorflow as tf

import tfmeta
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
    assert sum(score() is not None for score in scores) <= 32


def support(rows=4, seed=0):
    return tasks.one(tasks.regression(rows=rows, seed=seed).support)


def test_adapt_by_hand_is_traced_once_for_any_number_of_rows(maml):
    maml.compile("sgd", "mse")
    plain = CountedMAML(maml.network, inner_learning_rate=maml.inner_learning_rate)
    plain.compile("sgd", "mse", run_eagerly=True)
    maml.adapt(support(3))
    maml.adapt(support(4))  # the second number of rows: a graph for any
    assert calls(lambda: [maml.adapt(support(rows, rows)) for rows in (3, 5, 6, 7)]) == 0
    assert calls(lambda: [plain.adapt(support()) for _ in range(2)]) > 0
    with_tensors = tfmeta.Examples(*map(tf.constant, support(5)))
    for examples, steps in ((support(5), None), (with_tensors, 2)):
        pair = [one.adapt(examples, inner_steps=steps) for one in (maml, plain)]
        assert type(pair[0]) is type(pair[1])
        for a, b in zip(*map(tf.nest.flatten, pair), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        outputs = [
            one.predict_query(a, examples.x) for one, a in zip((maml, plain), pair, strict=True)
        ]
        np.testing.assert_allclose(*outputs, rtol=1e-5, atol=1e-6)


def test_adapt_by_hand_goes_by_weights_and_arguments_of_now(maml):
    maml.compile("sgd", "mse")
    examples = support()
    first = maml.adapt(examples).weights[0]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(maml.predict_query(maml.adapt(examples), examples.x))
    assert all(g is not None for g in tape.gradient(loss, maml.trainable_variables))
    for variable in maml.trainable_variables:
        variable.assign_add(tf.ones_like(variable))
    second = maml.adapt(examples).weights[0]
    assert not np.allclose(first, second)
    maml.inner_learning_rate = 0.5
    assert not np.allclose(maml.adapt(examples).weights[0], second)


def test_outputs_by_hand_have_a_column_for_each_class():
    learner = tfmeta.learners.ProtoNet(tfmeta.networks.mlp((4, 4, 1), 5, hidden=(8,)))
    learner.compile("sgd", tasks.CROSSENTROPY)
    for ways in (3, 2):
        episode = tasks.images(ways=ways, shots=2, size=4)
        adapted = learner.adapt(tasks.one(episode.support))
        assert adapted.means.shape == (ways, 5)
        assert learner.predict_query(adapted, episode.query.x[0]).shape == (2 * ways, ways)


class InNumpy(tfmeta.MetaModel):
    """A method that cannot be traced."""

    calls = 0

    def call(self, x):
        return x

    def adapt(self, support, training=False):
        InNumpy.calls += 1
        return {"mean": np.mean(support.y.numpy()), "note": "not a tensor"}

    def predict_query(self, adapted, x, training=False):
        return tf.fill([x.numpy().shape[0], 1], tf.cast(adapted["mean"], tf.float32))


def test_what_cannot_be_traced_runs_as_it_is():
    learner = InNumpy()
    learner.compile("sgd", "mse")
    learner.build((None, 1))
    for seed in range(3):
        examples = support(seed=seed)
        adapted = learner.adapt(examples)
        assert adapted["note"] == "not a tensor"
        outputs = learner.predict_query(adapted, examples.x)
        np.testing.assert_allclose(outputs, np.full((4, 1), examples.y.mean()), rtol=1e-6)
    assert InNumpy.calls == 4  # one try, and no more
    with pytest.raises(ValueError, match="the same number of rows"):
        learner.adapt(tfmeta.Examples(examples.x, examples.y[:2]))


@pytest.mark.xla
def test_many_inner_steps_are_not_for_xla():
    network = tasks.dense()
    for learner, in_xla in (
        (MAML(network, inner_steps=20), True),
        (MAML(network, inner_steps=21), False),
        (MAML(network, evaluation_steps=40), False),
        (tfmeta.learners.ImplicitMAML(network, inner_steps=40), True),  # one loop in the graph
    ):
        learner.compile("sgd", "mse", jit_compile="auto")
        assert learner.jit_compile == in_xla
