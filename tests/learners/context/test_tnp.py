"""Transformer neural processes: who looks at whom, the blocks, the gradient, bad input."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf
from meta_gradients import relative_error_along

import tfmeta
from tfmeta.learners import TNP

SMALL = {"width": 8, "heads": 2, "blocks": 2, "feedforward": 6, "embedding_layers": 2}


def made(episodes=None, **kwargs):
    """A compiled learner with weights, and a meta-batch for it, whose targets have two columns."""
    if episodes is None:
        episodes = tasks.regression()
        parts = (e._replace(y=tf.concat([e.y, -2 * e.y], -1)) for e in episodes)
        episodes = tfmeta.Episode(*parts)
    keras.utils.set_random_seed(0)
    learner = TNP(**(SMALL | kwargs))
    learner.compile(keras.optimizers.SGD(0.05), jit_compile=False)
    learner.prepare(tasks.dataset(episodes, 1))
    return learner, episodes


@pytest.fixture(scope="module")
def learner():
    return made()[0]


def predict(learner, support, x):
    mean, scale = learner.predict_distribution(learner.adapt(support), x)
    return np.concatenate([mean, scale], axis=1)


def slow_block(block, rows, context):
    """A block in NumPy, of heads one by one."""
    attend, found = block.attend, []
    pairs = ((attend.query, rows), (attend.key, context), (attend.value, context))
    for head in (slice(0, 4), slice(4, 8)):
        q, k, v = (np.array(layer(x))[:, head] for layer, x in pairs)
        scores = np.exp(q @ k.T / 2)  # the square root of 4, the width of a head
        found.append(scores / scores.sum(axis=1, keepdims=True) @ v)
    rows = normal(rows + np.array(attend.output_layer(np.concatenate(found, axis=1))))
    return normal(rows + np.array(block.narrow(block.widen(rows))))


def normal(rows):
    """Norms that have not been trained: scale 1, offset 0."""
    mean, variance = rows.mean(axis=1, keepdims=True), rows.var(axis=1, keepdims=True)
    return (rows - mean) / np.sqrt(variance + 1e-5)


def test_all_points_in_one_transformer_with_a_mask_give_the_same(learner):
    """As in the authors' code: rows of context and targets, that all look at the context."""
    support, query = (tasks.one(part) for part in made()[1])
    points = np.concatenate([np.c_[support.x, support.y], np.c_[query.x, np.zeros((4, 2))]])
    rows = np.array(learner.embed(points))
    for block in learner.transform:
        rows = slow_block(block, rows, rows[:4])
    raw = np.array(learner.decode.network(rows[4:]))
    mean, scale = learner.predict_distribution(learner.adapt(support), query.x)
    np.testing.assert_allclose(mean, raw[:, :2], rtol=1e-3, atol=1e-4)
    expected = 0.01 + 0.99 * np.log1p(np.exp(raw[:, 2:]))
    np.testing.assert_allclose(scale, expected, rtol=1e-3, atol=1e-4)


def test_context_and_targets_together_are_one_after_the_other(learner):
    """A step of `fit` runs them through the blocks at once."""
    support, query = (tasks.one(part) for part in made()[1])
    support.mask[-1] = 0
    support, query = (tfmeta.Examples(*map(tf.constant, part)) for part in (support, query))
    adapted, (mean, scale) = learner.adapt_and_predict(support, query.x)
    separate = learner.predict_distribution(learner.adapt(support), query.x)
    np.testing.assert_allclose([mean, scale], separate, atol=1e-6)
    found = learner.predict_distribution(adapted, query.x)
    np.testing.assert_allclose(found, separate, atol=1e-6)


def test_order_and_padding_of_the_support_rows_change_nothing(learner):
    support, query = (tasks.one(part) for part in made()[1])
    expected = predict(learner, support, query.x)
    shuffled = tfmeta.Examples(*(t[[2, 0, 3, 1]] for t in support))
    np.testing.assert_allclose(predict(learner, shuffled, query.x), expected, atol=1e-5)
    padded = tfmeta.Examples(*(np.concatenate([t, 7 * np.ones_like(t)]) for t in support))
    padded.mask[4:] = 0
    np.testing.assert_allclose(predict(learner, padded, query.x), expected, atol=1e-5)


def test_compiled_steps_over_many_points_and_tasks_do_not_end_the_process():
    """`keras.layers.MultiHeadAttention` did, in oneDNN's kernels."""
    data = tfmeta.episodes.gaussian_process(shots=(1, 50), queries=50)
    learner = TNP(**SMALL)
    learner.compile("adam")
    assert not learner.jit_compile
    assert np.isfinite(learner.evaluate(data, steps=1, verbose=0))


def test_query_points_do_not_look_at_each_other(learner):
    support, query = (tasks.one(part) for part in made()[1])
    expected = predict(learner, support, query.x)
    np.testing.assert_allclose(predict(learner, support, query.x[1:2]), expected[1:2], atol=1e-5)


def test_outer_gradient_against_central_differences():
    learner, episodes = made(tasks.regression(dtype="float64"), dtype="float64")
    assert {v.dtype for v in learner.trainable_variables} == {"float64"}
    assert relative_error_along(learner, episodes, step=1e-7) < 1e-6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, "Expected width to be an integer of at least 1"),
        ({"heads": 3}, "Expected heads that divide width=64. Received: heads=3"),
        ({"blocks": 0}, "Expected blocks to be an integer of at least 1"),
        ({"feedforward": 0}, "Expected feedforward to be an integer of at least 1"),
        ({"embedding_layers": 0}, "Expected embedding_layers to be an integer of at least 1"),
        ({"minimum_scale": 2.0}, "Expected minimum_scale < 1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        TNP(**arguments)
