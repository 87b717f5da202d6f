"""Reptile: its update by hand, and the authors' sinusoid."""

import math

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf
from meta_gradients import compiled, outer_gradients

import tfmeta
from tfmeta.learners import MAML, Reptile


def reptile_by_hand(x, y, steps, rate, batches):
    """`w - w_T` of a line fitted by gradient descent on minibatches, NumPy."""
    slope, offset = 0.5, 0.2
    for t in range(steps):
        rows = slice(t % batches, None, batches)
        error = slope * x[rows] + offset - y[rows]
        slope, offset = (
            slope - rate * np.mean(2 * error * x[rows]),
            offset - rate * np.mean(2 * error),
        )
    return 0.5 - slope, 0.2 - offset


@pytest.mark.parametrize(("size", "batches"), [(None, 1), (5, 2), (4, 3), (100, 1)])
@pytest.mark.parametrize("steps", [1, 3])
def test_reptile_moves_towards_what_the_tasks_become(steps, size, batches):
    episodes = tasks.regression(rows=5)
    learner = compiled(
        Reptile(tasks.line(), inner_learning_rate=0.05, inner_steps=steps, inner_batch_size=size)
    )
    expected = []
    for i in range(episodes.support.x.shape[0]):
        x, y = (np.concatenate([getattr(e, axis)[i] for e in episodes])[:, 0] for axis in "xy")
        expected.append(reptile_by_hand(x, y, steps, 0.05, batches))
    found = [g.ravel()[0] for g in outer_gradients(learner, episodes)]
    np.testing.assert_allclose(found, np.mean(expected, axis=0), rtol=1e-4)


def test_a_step_of_reptile_has_the_direction_of_the_gradient():
    episodes = tasks.regression()
    learner = compiled(Reptile(tasks.dense(), inner_learning_rate=0.05, inner_steps=1))
    joint = compiled(MAML(tasks.dense(), inner_steps=0))
    everything = tf.nest.map_structure(lambda s, q: tf.concat([s, q], 1), *episodes)
    expected = outer_gradients(joint, episodes._replace(support=everything, query=everything))
    for a, b in zip(outer_gradients(learner, episodes), expected, strict=True):
        np.testing.assert_allclose(a, 0.05 * b, rtol=1e-4, atol=1e-7)


def test_reptile_adapts_to_the_support_set_alone():
    support = tasks.one(tasks.regression().support)
    reptile = compiled(Reptile(tasks.dense(), inner_learning_rate=0.05, evaluation_steps=3))
    maml = compiled(MAML(tasks.dense(), inner_learning_rate=0.05, inner_steps=3))
    for a, b in zip(reptile.adapt(support).weights, maml.adapt(support).weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_minibatches_need_a_fixed_number_of_rows():
    learner = compiled(Reptile(tasks.line(), inner_batch_size=2))
    spec = tf.TensorSpec([None, 1]), tf.TensorSpec([None, 1]), tf.TensorSpec([None])
    adapt = tf.function(lambda *support: learner.adapt(tfmeta.Examples(*support)).weights)
    with pytest.raises(ValueError, match="Expected the same number of rows"):
        adapt.get_concrete_function(*spec)


def test_a_minibatch_of_padding_alone_changes_nothing():
    episodes = tfmeta.episodes.classification(
        tfmeta.datasets.glyphs("train"), ways=(2, 5), shots=1, queries=2, seed=0
    )
    network = keras.Sequential(
        [keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(5)]
    )
    learner = Reptile(network, inner_batch_size=2, inner_steps=5)
    learner.compile("sgd", tasks.CROSSENTROPY)
    history = learner.fit(episodes, steps_per_epoch=3, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def as_in_torch(width, inputs):
    """A dense layer with PyTorch's initial weights, which the authors' script has."""
    low_high = keras.initializers.RandomUniform(-(inputs**-0.5), inputs**-0.5)
    return {"units": width, "kernel_initializer": low_high, "bias_initializer": low_high.clone()}


@pytest.mark.slow
def test_the_sinusoid_of_the_authors():
    """Serial, 30,000 tasks of 50 points; then 32 steps on 10 points of a new one.

    The authors' script in NumPy, with points drawn as here, gave mean squared errors of 0.166,
    0.225 and 0.132 (± 0.02, 600 tasks; seeds 0, 1, 2); this 0.213, 0.199 and 0.170. With Keras's
    own initial weights both are worse: the script 0.496 and 0.596, this 0.522, 0.438 and 0.489.
    """

    @tfmeta.episodes.family(amplitude=(0.1, 5.0), phase=(0.0, 2 * math.pi))
    def wave(x, amplitude, phase):
        return amplitude * tf.sin(x + phase)

    keras.utils.set_random_seed(0)
    network = keras.Sequential(
        [
            keras.Input((1,)),
            keras.layers.Dense(**as_in_torch(64, 1), activation="tanh"),
            keras.layers.Dense(**as_in_torch(64, 64), activation="tanh"),
            keras.layers.Dense(**as_in_torch(1, 64)),
        ]
    )
    learner = Reptile(
        network, inner_learning_rate=0.02, inner_steps=5, inner_batch_size=10, evaluation_steps=32
    )
    rate = keras.optimizers.schedules.PolynomialDecay(0.1, 30_000, 0.0)
    learner.compile(keras.optimizers.SGD(rate), "mse", steps_per_execution=100)
    train = wave(shots=10, queries=40, meta_batch_size=1)
    learner.fit(train, steps_per_epoch=30_000, verbose=0)
    test = wave(shots=10, queries=50, seed=1000, count=600)
    before, after = (
        tfmeta.evaluation.evaluate_episodes(learner, test, 600, inner_steps=steps, verbose=0)
        for steps in (0, 32)
    )
    assert after.mean - after.interval < 0.225
    assert before.mean > 3  # the variance of the waves is 4.25


def test_inner_adam_is_that_of_keras():
    """Weights of each task after five steps on its own examples."""
    episodes = tasks.regression(rows=5)
    learner = compiled(
        Reptile(tasks.line(), inner_learning_rate=0.05, inner_steps=5, inner_beta_2=0.99)
    )
    found = outer_gradients(learner, episodes)
    start = [v.numpy() for v in learner.network.trainable_variables]
    moved = []
    for i in range(episodes.support.x.shape[0]):
        x, y = (np.concatenate([getattr(e, axis)[i] for e in episodes]) for axis in "xy")
        network = keras.models.clone_model(learner.network)
        network.set_weights(learner.network.get_weights())
        optimizer = keras.optimizers.Adam(0.05, beta_1=0.0, beta_2=0.99, epsilon=1e-8)
        for _ in range(5):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(network(x) - y))
            variables = network.trainable_variables
            optimizer.apply(tape.gradient(loss, variables), variables)
        moved.append([w - v.numpy() for w, v in zip(start, variables, strict=True)])
    for gradient, of_tasks in zip(found, zip(*moved, strict=True), strict=True):
        np.testing.assert_allclose(gradient, np.mean(of_tasks, axis=0), rtol=1e-4, atol=1e-6)
    for beta in (0, 1, 1.5, "much"):
        with pytest.raises(ValueError, match=r"inner_beta_2.*Received"):
            Reptile(tasks.line(), inner_beta_2=beta)


def test_first_order_is_refused_where_it_means_nothing():
    learner = Reptile(tasks.dense())
    with pytest.raises(ValueError, match="Expected no first_order: Reptile"):
        learner.first_order = True
    Reptile.from_config(learner.get_config())


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"Expected inner_batch_size .*=0"):
        Reptile(tasks.dense(), inner_batch_size=0)
