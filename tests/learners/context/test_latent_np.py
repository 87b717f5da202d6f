"""Neural processes with a latent variable: the bound, the mixture, the noise, the gradient."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf
from meta_gradients import relative_error_along

import tfmeta
from tfmeta.learners import LatentNP
from tfmeta.ops import standard_normal

SMALL = {"hidden": (6,), "representation": 5, "latent_size": 3, "evaluation_draws": 4}


def made(episodes=None, **kwargs):
    """A compiled learner with weights, and a meta-batch for it, whose targets have two columns."""
    if episodes is None:
        episodes = tasks.regression()
        parts = (e._replace(y=tf.concat([e.y, -2 * e.y], -1)) for e in episodes)
        episodes = tfmeta.Episode(*parts)
    keras.utils.set_random_seed(0)
    learner = LatentNP(**(SMALL | kwargs))
    learner.compile(keras.optimizers.SGD(0.05), jit_compile=False)
    learner.prepare(tasks.dataset(episodes, 1))
    return learner, episodes


@pytest.fixture(scope="module")
def learner():
    return made()[0]


def density(y, mean, scale):
    """Of all columns of a row."""
    columns = np.exp(-((y - mean) ** 2) / (2 * scale**2)) / np.sqrt(2 * np.pi * scale**2)
    return columns.prod(axis=-1)


def slow_latent(learner, x, y):
    r = np.array(learner.encode(np.c_[x, y])).mean(axis=0)
    a, u = np.split(np.array(learner.encode_latent(r[None]))[0], 2)
    return a, 0.1 + 0.9 / (1 + np.exp(-u))


def slow_decode(learner, z, x):
    raw = np.array(learner.decode.network(np.c_[np.tile(z, (len(x), 1)), x]))
    mean, v = np.split(raw, 2, axis=1)
    return mean, 0.1 + 0.9 * np.log1p(np.exp(v))


def test_the_mixture_is_that_of_numpy(learner):
    episodes = made()[1]
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    a, b = slow_latent(learner, support.x, support.y)
    adapted = learner.adapt(support)
    np.testing.assert_allclose(adapted.mean, a, rtol=1e-5)
    np.testing.assert_allclose(adapted.scale, b, rtol=1e-5)
    noise = np.array(learner.evaluation_noise())
    parts = [slow_decode(learner, a + b * e, query.x) for e in noise]
    means, scales = map(np.stack, zip(*parts, strict=True))
    mean, scale = learner.predict_distribution(adapted, query.x)
    np.testing.assert_allclose(mean, means.mean(axis=0), rtol=1e-4, atol=1e-5)
    variance = (scales**2 + means**2).mean(axis=0) - means.mean(axis=0) ** 2
    np.testing.assert_allclose(scale, np.sqrt(variance), rtol=1e-4)
    mask = np.array([1, 1, 0, 1], "float32")
    one = tfmeta.Episode(support, query._replace(mask=mask))
    one = tf.nest.map_structure(tf.constant, one)
    loss = learner.score_task(one, training=False).loss
    likelihoods = np.mean([density(query.y, m, s) for m, s in parts], axis=0)
    np.testing.assert_allclose(loss, -np.log(likelihoods)[mask > 0].mean(), rtol=1e-4)


def test_the_bound_is_that_of_numpy(learner):
    """The draw is that of the learner's own next seed."""
    episodes = made()[1]
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    mask = np.array([1, 0, 1, 1], "float32")
    one = tf.nest.map_structure(tf.constant, tfmeta.Episode(support, query._replace(mask=mask)))
    with keras.StatelessScope():  # so that the seed stays what it is
        loss = learner.score_task(one, training=True).loss
    with keras.StatelessScope():
        noise = np.array(standard_normal((1, 3), learner.seeds.next()))[0]
    real = mask > 0
    a, b = slow_latent(learner, support.x, support.y)
    both = (np.concatenate([s, q[real]]) for s, q in zip(support[:2], query[:2], strict=True))
    c, d = slow_latent(learner, *both)
    mean, scale = slow_decode(learner, c + d * noise, query.x)
    divergence = np.sum(np.log(b / d) + (d**2 + (c - a) ** 2) / (2 * b**2) - 0.5)
    bound = np.log(density(query.y, mean, scale))[real].sum() - divergence
    np.testing.assert_allclose(loss, -bound / 3, rtol=1e-4)


def test_each_task_and_step_draws_other_numbers_and_predictions_none():
    learner, episodes = made()
    same = tf.nest.map_structure(lambda t: tf.repeat(t[:1], 2, axis=0), episodes)
    first = learner.outer_gradients(same)[0].loss.numpy()
    assert first[0] != first[1]
    np.testing.assert_array_equal(learner.outer_gradients(same)[0].loss, first)
    learner.optimizer.iterations.assign_add(1)
    assert (learner.outer_gradients(same)[0].loss.numpy() != first).all()
    outputs = learner.predict_on_batch(same)
    np.testing.assert_array_equal(outputs[0], outputs[1])


def test_noise_is_normal_and_the_same_in_xla():
    def draw(seed):
        return standard_normal((20_000,), seed)

    seed = tf.constant([3, 5])
    noise = draw(seed).numpy()
    in_xla = tf.function(draw, jit_compile=True)(seed)
    np.testing.assert_allclose(in_xla, noise, rtol=1e-5, atol=1e-5)
    assert abs(noise.mean()) < 4.5 / np.sqrt(20_000)
    assert abs(noise.std() - 1) < 4.5 / np.sqrt(40_000)
    inside = (np.abs(noise) < 1).mean()
    assert abs(inside - 0.6827) < 4.5 * np.sqrt(0.6827 * 0.3173 / 20_000)
    assert not np.array_equal(noise, draw(tf.constant([3, 6])))


def test_order_of_the_support_rows_changes_nothing(learner):
    support, query = (tasks.one(part) for part in made()[1])
    expected = learner.predict_distribution(learner.adapt(support), query.x)
    shuffled = tfmeta.Examples(*(t[[2, 0, 3, 1]] for t in support))
    found = learner.predict_distribution(learner.adapt(shuffled), query.x)
    np.testing.assert_allclose(found[0], expected[0], atol=1e-6)
    np.testing.assert_allclose(found[1], expected[1], atol=1e-6)


def test_outer_gradient_against_central_differences():
    learner, episodes = made(tasks.regression(dtype="float64"), dtype="float64")
    assert {v.dtype for v in learner.trainable_variables} == {"float64"}
    assert relative_error_along(learner, episodes, step=1e-7) < 1e-6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"latent_size": 0}, "Expected latent_size to be an integer of at least 1"),
        ({"evaluation_draws": 0}, "Expected evaluation_draws to be an integer of at least 1"),
        ({"seed": "a"}, "Expected seed to be an integer"),
        ({"representation": 1.5}, "Expected representation to be an integer"),
        ({"hidden": 128}, "Expected hidden to be a tuple of widths"),
        ({"minimum_scale": 1.0}, "Expected minimum_scale < 1"),
        ({"encoder": 3}, "Expected encoder to be a Keras model or layer. Received: 3"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        LatentNP(**arguments)


def test_an_empty_context_is_refused_before_the_first_step(learner):
    episodes = made()[1]
    none = episodes.support._replace(mask=tf.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"Expected a real row in each task's support set"):
        learner.fit(tasks.dataset(episodes._replace(support=none), 1), verbose=0)
    no_rows = tfmeta.Examples(*(t[:, :0] for t in episodes.support))
    with pytest.raises(ValueError, match="Expected support examples to adapt on"):
        learner.fit(tasks.dataset(episodes._replace(support=no_rows), 1), verbose=0)
