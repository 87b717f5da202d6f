"""MAML++: each addition against what it should be, and nothing left of them when switched off."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf
from meta_gradients import (
    assert_gradients_of_maml,
    compiled,
    outer_gradients,
    relative_error_along,
)

import tfmeta
from tfmeta.learners import MAML, MAMLPlusPlus

OFF = {
    "per_step_rates": False,
    "multi_step_loss_steps": 0,
    "per_step_scales": False,
    "per_step_statistics": False,
}
RATE = {"inner_learning_rate": 0.1, "inner_steps": 3}


def images_learner(dtype="float32", **arguments):
    arguments = RATE | arguments
    return compiled(MAMLPlusPlus(tasks.convolutional(dtype=dtype), **arguments), tasks.CROSSENTROPY)


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("convolutional", [False, True])
def test_with_everything_off_is_maml(convolutional, first_order):
    arguments = RATE | {"first_order": first_order}

    def learner(network):
        off = MAMLPlusPlus(network, **OFF, **arguments)
        assert off.meta_parameters is None
        return off

    assert_gradients_of_maml(learner, convolutional, **arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        pytest.param({"checkpoint_inner_steps": True}, marks=pytest.mark.slow),
        pytest.param({"transductive": True}, marks=pytest.mark.slow),
        pytest.param({"per_step_statistics": False}, marks=pytest.mark.slow),
    ],
)
def test_against_central_differences(arguments):
    learner = images_learner("float64", **arguments)
    assert relative_error_along(learner, tasks.images(dtype="float64")) < 1e-6


def test_a_rate_for_each_layer_and_step():
    """Two steps of a line with known rates, by hand."""
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    network.set_weights([np.array([[0.5]], "float32"), np.array([0.2], "float32")])
    learner = compiled(MAMLPlusPlus(network, inner_steps=2))
    (rates,) = learner.meta_parameters.trainable_variables
    assert rates.shape == (2, 1)
    rates.assign([[0.1], [0.03]])
    support = tasks.one(tasks.regression().support)
    x, y, (slope, offset) = support.x[:, 0], support.y[:, 0], (0.5, 0.2)
    for rate in (0.1, 0.03):
        error = slope * x + offset - y
        slope, offset = (
            slope - rate * np.mean(2 * error * x),
            offset - rate * np.mean(2 * error),
        )
    found = [np.ravel(w)[0] for w in learner.adapt(support).weights]
    np.testing.assert_allclose(found, [slope, offset], rtol=1e-5)


def test_the_multi_step_loss_is_annealed_to_the_last_step():
    learner = compiled(MAMLPlusPlus(tasks.dense(), multi_step_loss_steps=100, **RATE))
    for step, early in ((0, 1 / 3), (40, 0.6 / 3), (99, 0.01)):
        learner.optimizer.iterations.assign(step)
        expected = [early, early, 1 - 2 * early]
        np.testing.assert_allclose(learner._importance(tf.float32), expected, rtol=1e-5)
    results, _ = learner.outer_gradients(tasks.regression())
    assert np.all(np.array(results.objective) != np.array(results.loss))
    learner.optimizer.iterations.assign(100)
    results, _ = learner.outer_gradients(tasks.regression())
    np.testing.assert_array_equal(results.objective, results.loss)


def test_the_multi_step_loss_is_the_loss_after_every_step():
    learner = compiled(MAMLPlusPlus(tasks.dense(), multi_step_loss_steps=100, **RATE))
    episodes = tasks.regression(tasks=1)
    results, _ = learner.outer_gradients(episodes)
    support, query = (tasks.one(part) for part in episodes)
    losses = []
    for steps in (1, 2, 3):
        adapted = learner.adapt(support, inner_steps=steps)
        losses.append(np.mean((learner.predict_query(adapted, query.x) - query.y) ** 2))
    np.testing.assert_allclose(results.objective, [np.mean(losses)], rtol=1e-5)
    np.testing.assert_allclose(results.loss, losses[-1:], rtol=1e-5)


def test_first_order_until_its_step():
    episodes = tasks.regression(dtype="float64")
    arguments = OFF | RATE | {"first_order_steps": 5}
    learner = compiled(MAMLPlusPlus(tasks.dense(dtype="float64"), **arguments))
    step = tf.function(learner.outer_gradients)
    for iteration, first_order in ((0, True), (4, True), (5, False)):
        learner.optimizer.iterations.assign(iteration)
        maml = MAML(tasks.dense(dtype="float64"), first_order=first_order, **RATE)
        expected = outer_gradients(compiled(maml), episodes)
        for a, b in zip(step(episodes)[1], expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_scales_are_learned_for_each_step_and_not_adapted():
    learner = images_learner()
    names = [v.path.rsplit("/", 1)[-1] for v in learner.network_weights()]
    assert [names[i] for i in learner.adapted_part.scaled(learner)] == ["gamma", "beta"] * 2
    assert not {*learner.adapted_part.scaled(learner)} & {*learner.adapted_positions()}
    own = learner.meta_parameters.trainable_variables[1:]
    assert [v.shape for v in own] == [(3, 3), (3, 3), (3, 4), (3, 4)]
    learner.fit(tasks.dataset(tasks.images(), 3), verbose=0)
    assert all(np.ptp(v.numpy(), axis=0).max() > 0 for v in own)
    adapted = learner.adapt(tasks.one(tasks.images().support))
    for position, variable in zip(learner.adapted_part.scaled(learner), own, strict=True):
        np.testing.assert_array_equal(adapted.weights[position], variable[-1])


def test_query_examples_meet_the_moving_statistics_of_their_step():
    learner, episodes = images_learner(), tasks.images()
    learner.fit(tasks.dataset(episodes, 100), verbose=0)
    moving = [v.numpy() for v in learner.meta_parameters.non_trainable_variables]
    assert [v.shape for v in moving] == [(4, 3), (4, 3), (4, 4), (4, 4)]
    adapted = learner.adapt(tasks.one(episodes.support))
    found = [adapted.state[i] for i in learner.adapted_part.averaged(learner)]
    for values, state in zip(moving, found, strict=True):
        np.testing.assert_array_equal(state, values[-1])
        assert np.all(np.ptp(values, axis=0) > 0)
    # One by one, an example's outputs are those of the batch.
    x = episodes.query.x[0]
    together = learner.predict_query(adapted, x)
    alone = [learner.predict_query(adapted, x[i : i + 1])[0] for i in range(len(x))]
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)
    # The last step follows the query sets, whose statistics hardly change at the end of training.
    _, state = learner.run_network(adapted.weights, adapted.state, x, False, True)
    other = learner.adapt(tasks.one(episodes.support, 1))
    _, second = learner.run_network(other.weights, other.state, episodes.query.x[1], False, True)
    first = learner.adapted_part.averaged(learner)[0]
    np.testing.assert_allclose(found[0], (state[first] + second[first]) / 2, rtol=0.05, atol=0.02)


def test_bad_arguments():
    for arguments, message in (
        ({"inner_steps": 0}, r"Expected inner_steps .* of at least 1.*Received: inner_steps=0"),
        ({"multi_step_loss_steps": -1}, r"Expected multi_step_loss_steps.*=-1"),
        ({"first_order_steps": 0.5}, r"Expected first_order_steps.*=0.5"),
        ({"evaluation_steps": 6}, r"Expected evaluation_steps <= inner_steps.*Received"),
    ):
        with pytest.raises(ValueError, match=message):
            MAMLPlusPlus(tasks.dense(), **arguments)
    support = tasks.one(tasks.regression().support)
    learner = compiled(MAMLPlusPlus(tasks.dense(), **RATE))
    with pytest.raises(ValueError, match=r"Expected at most 3 inner steps.*Received: 4"):
        learner.adapt(support, inner_steps=4)
    compiled(MAMLPlusPlus(tasks.dense(), **RATE | OFF)).adapt(support, inner_steps=4)


@pytest.mark.slow
def test_learns_glyphs():
    train = tfmeta.episodes.classification(
        tfmeta.datasets.glyphs("train"), queries=5, meta_batch_size=4
    )
    test = tfmeta.episodes.classification(tfmeta.datasets.glyphs("test"), seed=1)
    keras.utils.set_random_seed(0)
    network = tfmeta.networks.conv4((28, 28, 1), 5, filters=16, downsample="stride")
    learner = MAMLPlusPlus(network, multi_step_loss_steps=200, first_order_steps=100)
    learner.compile(keras.optimizers.Adam(3e-3), tasks.CROSSENTROPY)
    learner.fit(train, steps_per_epoch=400, verbose=0)
    report = tfmeta.evaluation.evaluate_episodes(learner, test, 200, verbose=0)
    assert report.mean - report.interval > 0.7
