"""What `fit` says of a run that looks wrong, once each, and that it says nothing of a good one."""

import warnings

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf

import tfmeta
from tfmeta.datasets import from_arrays
from tfmeta.engine.checks import doubts
from tfmeta.episodes import classification
from tfmeta.learners import MAML, Finetune, MAMLPlusPlus, MetaSGD, ParameterMemory, ProtoNet


def said(function, *args, **kwargs):
    """The words of the warnings of a call."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        function(*args, **kwargs)
    return [str(w.message) for w in found if w.category is UserWarning]


def fit(learner, data, epochs=1, outer_rate=1e-9, loss="mse", **kwargs):
    learner.compile(keras.optimizers.SGD(outer_rate), loss)
    return said(learner.fit, data, epochs=epochs, verbose=0, **kwargs)


def lines(tasks_=20, **kwargs):
    return tasks.dataset(tasks.regression(tasks=tasks_, **kwargs))


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (1e-6, "does not lower the query loss"),
        (1.5, "raises the query loss"),
        (0.05, None),
    ],
)
def test_adaptation_that_does_nothing_or_harm(rate, words):
    learner = MAML(tasks.line(), inner_learning_rate=rate)
    # A validation sets the sums to 0: they are read before it.
    found = fit(learner, lines(), 4, steps_per_epoch=60, validation_data=lines(2).take(1))
    if words is None:
        assert found == []
        return
    (one,) = found
    assert words in one
    assert "over the last 100 outer steps" in one
    assert ("Lower" if rate > 1 else "Raise") + " inner_learning_rate" in one


class TwoSteps(MAML):
    """An outer step is two of the optimizer."""

    optimizer_steps = 2

    def train_step(self, episodes):
        super().train_step(episodes)
        return super().train_step(episodes)


def test_outer_steps_are_counted_where_each_is_several_of_the_optimizer():
    learner = TwoSteps(tasks.line(), inner_learning_rate=1e-6)
    (one,) = fit(learner, lines(2), 4, steps_per_epoch=60)
    assert "over the last 100 outer steps" in one


@pytest.mark.parametrize(("steps", "found"), [(400, 1), (199, 0)])
def test_windows_are_cut_within_an_epoch(steps, found):
    learner = MAML(tasks.line(), inner_learning_rate=1e-6)
    words = fit(learner, lines(2), steps_per_epoch=steps)
    assert ["over the last 100 outer steps" in one for one in words] == [True] * found


class Windows(doubts.Doubts):
    """Its windows: how many tasks of how many steps."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_window(self, sums, steps):
        self.seen.append((sums[0], steps))


def test_a_window_has_the_tasks_of_its_own_steps():
    windows, learner = Windows(), MAML(tasks.line())
    fit(learner, lines(2), 5, steps_per_epoch=75, callbacks=[windows])
    # Measured are one step in ten, and the first of an epoch: 75 and 225 besides; 2 tasks a step.
    assert windows.seen == [(22, 100), (20, 100), (22, 100)]

    class Evaluates(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 50:  # sets the sums to 0, so that its tasks count
                learner.evaluate(lines(2).take(1), verbose=0)

    windows = Windows()
    fit(learner, lines(2), 1, steps_per_epoch=250, callbacks=[Evaluates(), windows])
    assert [steps for _, steps in windows.seen] == [100, 100]
    assert all(number > 0 for number, _ in windows.seen)


def test_the_difference_is_that_of_the_same_tasks():
    learner = MAML(tasks.line(), inner_learning_rate=1.5)
    learner.compile(keras.optimizers.SGD(0.0), "mse")
    episodes = tasks.regression(tasks=20)
    learner.fit(tasks.dataset(episodes, 1), verbose=0)
    number, before, gain, squares = learner.before_adaptation.gain.result().numpy()
    each = []
    for i in range(20):
        support, query = (tasks.one(part, i) for part in episodes)
        learnt = [learner.adapt(support, inner_steps=steps) for steps in (0, 1)]
        outputs = [learner.predict_query(a, query.x).numpy() for a in learnt]
        each.append([((o - query.y) ** 2).mean() for o in outputs])
    losses = np.array(each)
    gains = losses[:, 0] - losses[:, 1]
    expected = [20, losses[:, 0].sum(), gains.sum(), (gains**2).sum()]
    np.testing.assert_allclose([number, before, gain, squares], expected, rtol=1e-4)


def test_no_word_of_steps_that_training_does_not_take():
    assert fit(Finetune(tasks.line()), lines(), 2, steps_per_epoch=100) == []


def test_rates_that_have_collapsed():
    learner = MetaSGD(tasks.line(), inner_learning_rate=0.1)
    assert fit(learner, lines(2), steps_per_epoch=1) == []
    for rate in learner.rule.rates:
        rate.assign(1e-5 * tf.ones_like(rate))
    (words,) = said(doubts.check_rates, learner)
    assert "learned inner learning rates have collapsed: they started at 0.1" in words
    assert said(doubts.check_rates, learner) == []  # once

    learner = MAMLPlusPlus(tasks.dense(), inner_learning_rate=0.1, inner_steps=2)
    learner.compile("sgd", "mse")
    learner.prepare(lines(2))
    learner.rule.rates.assign([[0.1, -0.1, 0.1], [1e-5, -1e-5, 0.05]])
    assert said(doubts.check_rates, learner) == []  # one layer still learns in the second step
    learner.rule.rates.assign([[0.1, -0.1, 0.1], [1e-5, -1e-5, 1e-4]])
    assert "of inner step 1 have collapsed" in said(doubts.check_rates, learner)[0]


def test_a_memory_of_which_one_slot_is_used():
    def trained(data):
        learner = ParameterMemory(tasks.line(), memory_size=4, inner_learning_rate=0.3)
        found = fit(learner, data, steps_per_epoch=100)
        return learner, [words for words in found if "memory" in words]

    one = tasks.regression(tasks=1)  # always the same task
    learner, (words,) = trained(tasks.dataset(one))
    assert "One slot of the memory of 4 is used" in words
    assert learner.adapted_part.slots_used(0) == 1
    two = tf.nest.map_structure(lambda t: tf.concat([t, t], 0), one)
    query, support = two.query, two.support
    signs = tf.constant([[[8.0]], [[-8.0]]])
    two = tfmeta.Episode(support._replace(y=signs * support.y), query._replace(y=signs * query.y))
    assert trained(tasks.dataset(two))[1] == []


def test_query_examples_that_equal_support_examples():
    good = tasks.images(tasks=2, ways=3, shots=1, queries=2)
    learner = ProtoNet(tasks.convolutional(4, norm=False))
    learner.compile("sgd", tasks.CROSSENTROPY)
    assert said(learner.prepare, tasks.dataset(good)) == []
    x = good.query.x.numpy()
    x[1, 2] = good.support.x[1, 1]  # rows 2 and 3 of the query set are of class 1
    x[1, 0] = good.support.x[1, 1]  # another label: a wrong label, no leak
    x[0, 2] = good.support.x[1, 1]  # of another task
    leaking = good._replace(query=good.query._replace(x=tf.constant(x)))
    (words,) = said(learner.prepare, tasks.dataset(leaking))
    assert words.startswith("1 of 12 query examples of the first meta-batch equal")
    assert said(learner.prepare, tasks.dataset(leaking)) == []  # once
    # A context set is often part of the target set.
    lines = tasks.regression()
    learner = MAML(tasks.line())
    learner.compile("sgd", "mse")
    assert said(learner.prepare, tasks.dataset(lines._replace(query=lines.support))) == []


def of_classes(names, seed=0):
    labels = np.repeat(names, 3)
    x = np.random.default_rng(seed).integers(0, 255, (len(labels), 4, 4, 1)).astype("uint8")
    return from_arrays(x, labels)


def test_classes_that_training_and_validation_share():
    def words(train, validation):
        learner = ProtoNet(tasks.convolutional(4, size=4, norm=False))
        learner.compile("sgd", tasks.CROSSENTROPY)
        options = {"ways": 2, "queries": 1, "meta_batch_size": 1}
        episodes = [classification(d, **options).prefetch(1) for d in (train, validation)]
        return said(doubts.check_classes, learner, *episodes)

    train = of_classes(["a", "b", "c"])
    (found,) = words(train, of_classes(["c", "d", "b"], 1))
    assert found.startswith("Training and validation share classes: b, c. ")
    assert words(train, of_classes(["d", "e"], 1)) == []
    assert words(train, train)
    # Numbers mean other classes in other data: then an example decides.
    numbered = of_classes([0, 1, 2])
    assert words(numbered, of_classes([0, 1, 2], 1)) == []
    assert words(numbered, of_classes([0, 1, 2]))
    assert words(numbered.subset([0, 1]), numbered.subset([1, 2]))
    assert doubts.classes_of(lines(2)) is None


def test_fit_looks_at_the_classes():
    data = [classification(of_classes(["a", "b"]), 2, 1, 1, meta_batch_size=1) for _ in range(2)]
    learner = ProtoNet(tasks.convolutional(4, size=4, norm=False))
    found = fit(
        learner, data[0], 2, loss=tasks.CROSSENTROPY, steps_per_epoch=1, validation_data=data[1],
        validation_steps=1,
    )  # fmt: skip
    assert len(found) == 1
    assert "share classes: a, b." in found[0]
