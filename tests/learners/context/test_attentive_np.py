"""Attentive neural processes: the attention, order and padding, the gradient, bad input."""

import keras
import numpy as np
import pytest
import tasks
from meta_gradients import relative_error_along

import tfmeta
from tfmeta.learners import AttentiveNP

SMALL = {"hidden": (6,), "representation": 4, "latent_size": 3, "heads": 2, "evaluation_draws": 4}


def made(episodes=None, **kwargs):
    """A compiled learner with weights, and a meta-batch for it."""
    episodes = episodes or tasks.regression()
    keras.utils.set_random_seed(0)
    learner = AttentiveNP(**(SMALL | kwargs))
    learner.compile(keras.optimizers.SGD(0.05), jit_compile=False)
    learner.prepare(tasks.dataset(episodes, 1))
    return learner, episodes


@pytest.fixture(scope="module")
def learner():
    return made()[0]


def predict(learner, support, x):
    mean, scale = learner.predict_distribution(learner.adapt(support), x)
    return np.concatenate([mean, scale], axis=1)


def softmax(values):
    values = np.exp(values - values.max(axis=-1, keepdims=True))
    return values / values.sum(axis=-1, keepdims=True)


def test_attention_is_that_of_numpy(learner):
    support, query = (tasks.one(part) for part in made()[1])
    adapted, attend = learner.adapt(support), learner.attend
    np.testing.assert_allclose(adapted.points.keys, learner.encode_keys(support.x), rtol=1e-5)
    values = learner.encode_values(np.c_[support.x, support.y])
    np.testing.assert_allclose(adapted.points.values, values, rtol=1e-5)
    q, k, v = (
        np.array(layer(rows)).reshape(4, 2, 2).transpose(1, 0, 2)  # of two heads of two
        for layer, rows in (
            (attend.query, learner.encode_keys(query.x)),
            (attend.key, learner.encode_keys(support.x)),
            (attend.value, values),
        )
    )
    found = softmax(q @ k.transpose(0, 2, 1) / np.sqrt(2)) @ v  # [heads, M, 2]
    r = attend.output_layer(found.transpose(1, 0, 2).reshape(4, 4))
    rows = learner.query_rows(adapted.points, query.x, training=False)
    np.testing.assert_allclose(rows, np.c_[r, query.x], rtol=1e-4, atol=1e-5)


def test_order_and_padding_of_the_support_rows_change_nothing(learner):
    support, query = (tasks.one(part) for part in made()[1])
    expected = predict(learner, support, query.x)
    shuffled = tfmeta.Examples(*(t[[2, 0, 3, 1]] for t in support))
    np.testing.assert_allclose(predict(learner, shuffled, query.x), expected, atol=1e-5)
    padded = tfmeta.Examples(*(np.concatenate([t, 7 * np.ones_like(t)]) for t in support))
    padded.mask[4:] = 0
    np.testing.assert_allclose(predict(learner, padded, query.x), expected, atol=1e-5)


def test_query_points_do_not_depend_on_each_other(learner):
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
        ({"heads": 0}, "Expected heads to be an integer of at least 1"),
        ({"heads": 3}, "Expected heads that divide representation=128. Received: heads=3"),
        ({"latent_size": 0}, "Expected latent_size to be an integer of at least 1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        AttentiveNP(**arguments)
