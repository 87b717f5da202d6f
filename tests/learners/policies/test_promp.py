"""ProMP: its penalty against NumPy, and a run that was stopped."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from learners.policies.small_policies import ARMS, PLANE, first, made

import tfmeta
from tfmeta.learners import ProMP


def test_the_penalty_is_the_divergence_of_what_has_moved():
    """0 where nothing has moved, and counted where it has."""
    episodes = first(ARMS.tasks(5, 2))
    learner = made(ProMP, ARMS, kl_weight=2.0)
    _, supports, _ = learner._live(episodes)
    start = learner.initial_weights()
    moved = [w + 0.1 * tf.random.stateless_normal(w.shape, (1, 2)) for w in start]
    support = tf.nest.map_structure(lambda t: t[0], supports)
    np.testing.assert_allclose(learner.penalty([start], support), 0, atol=1e-6)
    old = tf.nn.log_softmax(support[0].choices).numpy()
    new = tf.nn.log_softmax(learner.run(moved, support[0].observations)[0]).numpy()
    expected = 2.0 * np.mean(np.sum(np.exp(old) * (old - new), axis=-1))
    np.testing.assert_allclose(learner.penalty([moved], support), expected, rtol=1e-4)


BACKUPS = [
    tfmeta.callbacks.BackupAndRestore,
    pytest.param(keras.callbacks.BackupAndRestore, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("backup", BACKUPS)
def test_a_run_that_was_stopped_goes_on_with_the_same_numbers(backup, tmp_path):
    """Also where an outer step is several of the optimizer."""
    tasks = ARMS.tasks(4, 2)
    whole = made(ProMP, ARMS, eagerly=True, updates=2)
    whole.fit(tasks, epochs=2, steps_per_epoch=2, verbose=0)
    for epochs in (1, 2):
        learner = made(ProMP, ARMS, eagerly=True, updates=2)
        callbacks = [backup(str(tmp_path / "backup"), delete_checkpoint=False)]
        learner.fit(tasks, epochs=epochs, steps_per_epoch=2, callbacks=callbacks, verbose=0)
    for a, b in zip(whole.variables, learner.variables, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_weight_below_zero_is_refused():
    with pytest.raises(ValueError, match="Expected kl_weight >= 0"):
        ProMP(PLANE, kl_weight=-1)
