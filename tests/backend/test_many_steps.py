"""Many steps in one call: `steps_per_execution`, XLA, and what is measured on some steps only."""

import functools

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf

from tfmeta.backend import many_steps
from tfmeta.learners import MAML


def learner(**kwargs):
    maml = MAML(tasks.dense(), inner_steps=2, inner_learning_rate=0.05)
    maml.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"], **kwargs)
    return maml


def episodes(count):
    """A finite data set of meta-batches that differ."""
    batches = [tasks.regression(seed=i) for i in range(count)]
    stacked = tf.nest.map_structure(lambda *t: tf.stack(t), *batches)
    return tf.data.Dataset.from_tensor_slices(stacked)


def fitted(data, **kwargs):
    """History and weights of two epochs."""
    maml = learner(**kwargs)
    history = maml.fit(data, epochs=2, validation_data=data, verbose=0).history
    assert int(maml.optimizer.iterations) == 14
    return history, [v.numpy() for v in maml.trainable_variables]


@functools.cache
def one_at_a_time():
    return fitted(episodes(7), jit_compile=False)


@pytest.mark.parametrize(
    ("jit_compile", "unknown_shapes"),
    [
        (False, False),
        (False, True),
        (True, False),
        pytest.param(True, True, marks=pytest.mark.slow),
    ],
)
def test_many_steps_at_a_time_equal_one(jit_compile, unknown_shapes):
    # 7 steps, 3 at a time: the last call has one left.
    data = episodes(7)
    if unknown_shapes:
        data = data.unbatch().batch(3)
    history, weights = fitted(data, steps_per_execution=3, jit_compile=jit_compile)
    expected, expected_weights = one_at_a_time()
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-4, err_msg=name)
    for a, b in zip(weights, expected_weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_known_shapes_run_in_one_program(monkeypatch):
    def fail(iterator):
        raise AssertionError("one by one")

    real = many_steps.in_one_program
    monkeypatch.setattr(many_steps, "in_one_program", lambda m, step, _: real(m, step, fail))
    learner(steps_per_execution=3, jit_compile=True).fit(episodes(4), verbose=0)
    with pytest.raises(AssertionError, match="one by one"):
        learner(steps_per_execution=3, jit_compile=False).fit(episodes(4), verbose=0)


@pytest.mark.parametrize(
    "mode",
    [
        {"jit_compile": False},
        pytest.param({"run_eagerly": True}, marks=pytest.mark.slow),
        pytest.param({"jit_compile": True}, marks=pytest.mark.slow),
    ],
)
def test_one_training_step_in_ten_measures_the_loss_before_adaptation(mode):
    maml, expected = learner(**mode), []
    reference = learner(run_eagerly=True)
    data = list(episodes(23))
    for step, batch in enumerate(data):
        if step % 10 == 0:
            expected.append(reference.test_on_batch(batch, return_dict=True))
        reference.train_on_batch(batch)
    history = maml.fit(episodes(23), verbose=0).history
    for name in ("loss_before", "mae_before"):
        values = [logs[name] for logs in expected]
        np.testing.assert_allclose(history[name][0], np.mean(values), rtol=1e-4)
