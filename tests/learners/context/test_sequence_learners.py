"""What all learners that read an episode row by row promise."""

import functools

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf
from meta_gradients import relative_error_along

import tfmeta
from tfmeta.learners import MANN, SNAIL, InContextTransformer, LSTMLearner

MAKE = {
    "LSTM": lambda **kw: LSTMLearner(units=8, **kw),
    "GRU": lambda **kw: LSTMLearner(units=8, cell="gru", **kw),
    "MANN": lambda **kw: MANN(units=8, memory_rows=5, memory_width=3, heads=2, **kw),
    "SNAIL": lambda **kw: SNAIL(length=8, filters=4, attention=((3, 2), (4, 3)), **kw),
    "InContextTransformer": lambda **kw: InContextTransformer(width=8, depth=2, **kw),
}
LEARNERS = pytest.mark.parametrize("name", MAKE)


def regression(rows=7, dtype="float32"):
    """A meta-batch of two tasks with two inputs and two targets."""
    episodes = tasks.regression(tasks=2, rows=rows, width=2, dtype=dtype)
    return tfmeta.Episode(*(e._replace(y=tf.concat([e.y, -2 * e.y], -1)) for e in episodes))


@functools.cache
def made(name):
    """A learner with weights, for all tests that change nothing of it, and its episodes."""
    keras.utils.set_random_seed(0)
    learner, episodes = MAKE[name](), regression()
    learner.prepare(tasks.dataset(episodes, 1))
    return learner, episodes


def rows(examples, places):
    return tfmeta.Examples(*(t[places] for t in examples))


def predict(learner, support, x):
    return np.array(learner.predict_query(learner.adapt(support), x))


@LEARNERS
def test_each_row_of_a_sequence_is_the_query_of_the_rows_before_it(name):
    learner, episodes = made(name)
    sequence = tasks.one(episodes.support)
    outputs = np.array(learner.predict_sequence(sequence))
    assert outputs.shape == (7, 2)
    for t in (1, 3, 6):
        found = predict(learner, rows(sequence, slice(t)), sequence.x[t : t + 1])
        np.testing.assert_allclose(found, outputs[t : t + 1], atol=1e-5)


@LEARNERS
def test_a_later_row_changes_no_earlier_output_and_a_label_not_its_own(name):
    learner, episodes = made(name)
    sequence = tasks.one(episodes.support)
    expected = np.array(learner.predict_sequence(sequence))
    for part in ("x", "y"):
        changed = getattr(sequence, part).copy()
        changed[3] += 1
        outputs = np.array(learner.predict_sequence(sequence._replace(**{part: changed})))
        same = 3 if part == "x" else 4
        np.testing.assert_allclose(outputs[:same], expected[:same], atol=1e-6)
        assert (np.abs(outputs - expected)[same:].max(axis=1) > 1e-6).all()


@LEARNERS
def test_a_query_row_knows_nothing_of_the_others(name):
    learner, episodes = made(name)
    support, x = tasks.one(episodes.support), tasks.one(episodes.query).x
    together = predict(learner, support, x)
    alone = [predict(learner, support, x[i : i + 1])[0] for i in (0, 4)]
    np.testing.assert_allclose(together[[0, 4]], alone, atol=1e-6)


@LEARNERS
def test_padding_may_be_anywhere(name):
    learner, episodes = made(name)
    support, x = tasks.one(episodes.support), tasks.one(episodes.query).x
    expected = predict(learner, rows(support, [0, 2, 3, 6]), x)
    mask = np.array([1, 0, 1, 1, 0, 0, 1], "float32")
    masked = support._replace(mask=mask)
    np.testing.assert_allclose(predict(learner, masked, x), expected, atol=1e-5)
    outputs = np.array(learner.predict_sequence(masked))[mask > 0]
    expected = learner.predict_sequence(rows(support, [0, 2, 3, 6]))
    np.testing.assert_allclose(outputs, expected, atol=1e-5)


@LEARNERS
def test_labels_are_one_hot_numbers(name):
    keras.utils.set_random_seed(0)
    learner, episodes = MAKE[name](ways=3), tasks.images(size=2)
    learner.prepare(tasks.dataset(episodes, 1))
    support, x = tasks.one(episodes.support), tasks.one(episodes.query).x
    outputs = predict(learner, support, x)
    assert outputs.shape == (6, 3)
    one_hot = support._replace(y=np.eye(3, dtype="float32")[support.y])
    np.testing.assert_allclose(predict(learner, one_hot, x), outputs, atol=1e-6)
    with pytest.raises(ValueError, match=r"labels 0..2, one for each output. Received: 3"):
        learner.adapt(support._replace(y=support.y + 1))


@LEARNERS
def test_outer_gradient_against_central_differences(name):
    keras.utils.set_random_seed(0)
    learner, episodes = MAKE[name](dtype="float64"), regression(rows=3, dtype="float64")
    learner.compile("sgd", "mse", run_eagerly=True)
    learner.prepare(tasks.dataset(episodes, 1))
    assert {v.dtype for v in learner.variables} == {"float64"}
    # Tokens start small: their normalisation is far from linear within a larger step.
    step = 1e-7 if name == "InContextTransformer" else 1e-5
    assert relative_error_along(learner, episodes, step=step, eager=True) < 1e-6


def test_loss_is_of_the_query_and_training_of_all_rows():
    learner, episodes = made("LSTM")
    mask = tf.constant([[1.0, 1, 0, 1, 1, 1, 1]] * 2)
    episodes = episodes._replace(support=episodes.support._replace(mask=mask))
    errors, all_errors = [], []
    for i in range(2):
        support, query = tasks.one(episodes.support, i), tasks.one(episodes.query, i)
        of_query = (predict(learner, support, query.x) - query.y) ** 2
        before = (np.array(learner.predict_sequence(support)) - support.y) ** 2
        errors.append(of_query.mean())
        all_errors.append(np.concatenate([before[mask[i] > 0], of_query]).mean())
    for score_support, expected in ((True, all_errors), (False, errors)):
        keras.utils.set_random_seed(0)
        other = MAKE["LSTM"](score_support=score_support)
        other.compile("sgd", "mse", run_eagerly=True)
        other.prepare(tasks.dataset(episodes, 1))
        other.set_weights(learner.get_weights())
        results, _ = other.outer_gradients(episodes)
        np.testing.assert_allclose(results.objective, expected, rtol=1e-5)
        np.testing.assert_allclose(results.loss, errors, rtol=1e-5)
        np.testing.assert_array_equal(results.y, episodes.query.y)


@LEARNERS
def test_labels_that_are_too_many_stop_before_the_first_step(name):
    learner = MAKE[name](ways=2)
    learner.compile("sgd", tasks.CROSSENTROPY)
    with pytest.raises(ValueError, match=r"Expected class labels 0..1.*Received: 2 in support.y"):
        learner.fit(tasks.dataset(tasks.images(size=2), 1), verbose=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ways": 1}, "Expected ways to be an integer of at least 2"),
        ({"score_support": 1}, "Expected score_support to be True or False"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        LSTMLearner(**arguments)


def test_inputs_that_are_a_nest_want_a_network():
    x = {"a": tf.zeros((1, 3, 2)), "b": tf.zeros((1, 3, 1))}
    examples = tfmeta.Examples(x, tf.zeros((1, 3, 1)), tf.ones((1, 3)))
    learner = MAKE["LSTM"]()
    learner.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"Expected one tensor of inputs. Received: a dict"):
        learner.fit(tasks.dataset(tfmeta.Episode(examples, examples), 1), verbose=0)


@pytest.mark.slow
@LEARNERS
def test_it_learns_to_learn(name):
    """Lines through the origin: from the second point on the slope is known."""
    keras.utils.set_random_seed(0)
    learner = MAKE[name]()
    learner.compile(keras.optimizers.Adam(0.01), "mse")
    episodes = tfmeta.episodes.linear_regression(dimensions=1, length=4, meta_batch_size=64)
    learner.fit(episodes, steps_per_epoch=300, verbose=0)
    test = tfmeta.episodes.linear_regression(1, 4, seed=1, meta_batch_size=256)
    scores = tfmeta.evaluation.score_sequence(learner, test, 512, verbose=0)
    assert scores.mean[0] > 0.7  # of 1, the variance: the first point cannot be known
    assert scores.mean[3] < 0.5 * scores.mean[0]
