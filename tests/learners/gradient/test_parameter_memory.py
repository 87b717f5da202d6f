"""The parameter memory: what it reads, what it writes, and that it pays."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf
from meta_gradients import assert_gradients_of_maml, compiled, relative_error_along

import tfmeta
from tfmeta.learners import MAML, ParameterMemory

RATE = {"inner_learning_rate": 0.1, "inner_steps": 2}


def line(**arguments):
    """A learner of `y = 0.5 x + 0.2`, so that a displacement is (slope, offset)."""
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    network.set_weights([np.array([[0.5]], "float32"), np.array([0.2], "float32")])
    return compiled(ParameterMemory(network, inner_learning_rate=1e-9, **arguments))


def fill(learner, displacements):
    learner.meta_parameters.variables[0].assign(displacements)


def support_of(slope, offset):
    x = np.linspace(-1, 1, 5, dtype="float32")[:, None]
    return tfmeta.Examples(x, slope * x + offset)


def start_of(learner, support):
    return [float(np.ravel(w)[0]) for w in learner.adapt(support, inner_steps=0).weights]


@pytest.mark.parametrize("convolutional", [False, True])
def test_an_empty_memory_is_maml(convolutional):
    assert_gradients_of_maml(
        lambda network: ParameterMemory(network, memory_size=2, neighbours=3, **RATE),
        convolutional,
        **RATE,
    )


def test_against_central_differences():
    learner = compiled(ParameterMemory(tasks.dense(dtype="float64"), memory_size=3, **RATE))
    random = np.random.default_rng(0)
    memory = learner.meta_parameters.variables[0]
    memory.assign(0.3 * random.normal(size=memory.shape))
    assert relative_error_along(learner, tasks.regression(dtype="float64")) < 1e-6


def test_starts_from_the_nearest():
    learner = line(memory_size=3)
    fill(learner, [[1.0, 0.0], [0.0, 1.0], [-2.0, 0.0]])
    for slope, offset, start in (
        (1.4, 0.2, (1.5, 0.2)),
        (0.5, 1.1, (0.5, 1.2)),
        (-1.4, 0.2, (-1.5, 0.2)),
        (0.6, 0.2, (0.5, 0.2)),  # the network's own weights are nearer than the memory
    ):
        np.testing.assert_allclose(start_of(learner, support_of(slope, offset)), start, rtol=1e-5)


def test_starts_from_a_mixture():
    learner = line(memory_size=2, neighbours=2, temperature=0.5)
    fill(learner, [[1.0, 0.0], [0.0, 1.0]])
    support = support_of(1.5, 1.2)
    losses = [np.mean((s * support.x + o - support.y) ** 2) for s, o in ((1.5, 0.2), (0.5, 1.2))]
    shares = np.exp(-np.array(losses) / 0.5)
    shares /= shares.sum()
    expected = (0.5 + shares[0], 0.2 + shares[1])
    np.testing.assert_allclose(start_of(learner, support), expected, rtol=1e-5)


def test_writes_new_tasks_to_the_oldest_slots_and_moves_the_nearest():
    learner = line(memory_size=3, write_rate=0.25)
    fill(learner, [[1.0, 0.0], [0.0, 1.0], [-2.0, 0.0]])
    learner.meta_parameters.variables[1].assign([5, 2, 3])
    # Nearest to the first slot; to none; to the first slot.
    moved = tf.constant([[1.4, 0.0], [0.1, 0.1], [1.0, 0.4]])
    kept, times = learner.adapted_part.written(moved, learner.write_rate, 9)
    np.testing.assert_allclose(kept, [[1.05, 0.05], [0.1, 0.1], [-2.0, 0.0]], rtol=1e-6)
    np.testing.assert_array_equal(times, [9, 9, 3])


def test_more_new_tasks_than_slots_share_them():
    learner = line(memory_size=2)
    moved = tf.constant([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
    kept, _ = learner.adapted_part.written(moved, learner.write_rate, 0)
    np.testing.assert_allclose(kept, [[0.5, 1.0], [0.0, 1.0]])


def test_fit_fills_the_memory_and_evaluation_leaves_it_alone():
    learner = compiled(ParameterMemory(tasks.dense(), memory_size=4, **RATE))
    data = tasks.dataset(tasks.regression(), 3)
    learner.fit(data, verbose=0)
    memory = [v.numpy() for v in learner.meta_parameters.variables]
    assert np.abs(memory[0]).max() > 0
    assert memory[1].max() == 2
    learner.evaluate(data, verbose=0)
    learner.adapt(tasks.one(tasks.regression().support))
    for before, after in zip(memory, learner.meta_parameters.variables, strict=True):
        np.testing.assert_array_equal(before, after)


def test_bad_arguments():
    for arguments, message in (
        ({"memory_size": 0}, r"Expected memory_size .* at least 1. Received: memory_size=0"),
        ({"neighbours": 0}, r"Expected neighbours .* of at least 1.*Received: neighbours=0"),
        ({"memory_size": 2, "neighbours": 4}, r"Expected neighbours <= memory_size \+ 1"),
        ({"memory_size": "8"}, r"Expected memory_size to be an integer.* memory_size='8'"),
        ({"temperature": 0}, r"Expected temperature > 0.*Received: 0"),
        ({"write_rate": 1.5}, r"Expected write_rate in 0..1.*Received: 1.5"),
    ):
        with pytest.raises(ValueError, match=message):
            ParameterMemory(tasks.dense(), **arguments)


@pytest.mark.slow
def test_beats_one_start_on_a_multimodal_family():
    """In seconds; the figures of whole runs: benchmarks/README.md."""
    modes = tfmeta.episodes.mixture(tfmeta.episodes.sinusoid, tfmeta.episodes.line)
    means = []
    for cls in (MAML, ParameterMemory):
        keras.utils.set_random_seed(0)
        learner = cls(tfmeta.networks.mlp((1,), 1))
        learner.compile(keras.optimizers.Adam(1e-3), "mse", steps_per_execution=50)
        learner.fit(modes(seed=0), steps_per_epoch=1500, verbose=0)
        test = modes(seed=1, count=500)
        report = tfmeta.evaluation.evaluate_episodes(learner, test, 500, verbose=0)
        means.append(report)
    assert means[1].mean + means[1].interval < 0.7 * (means[0].mean - means[0].interval)
