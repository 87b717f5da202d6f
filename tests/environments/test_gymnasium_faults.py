"""What can go wrong with environments of Gymnasium, and what is said of it."""

import sys
import types

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf
from environments.scripted import FAULTS, ID, Scripted

import tfmeta
from tfmeta import environments
from tfmeta.environments import rollout
from tfmeta.evaluation import evaluate_returns


def zeros(family):
    """A policy that takes the first action."""
    return lambda observation, carry, *_: (tf.zeros(tf.shape(observation)[:1], tf.int32), carry, ())


def live(family, task):
    rows = tf.range(tf.nest.flatten(task)[0].shape[0], dtype=tf.int64)
    return rollout(family, zeros(family), task, rows)[0]


def faulty(mode="sync"):
    return environments.gymnasium(ID, {"fault": (0.0, 9.0)}, horizon=4, vectorization_mode=mode)


def one_fault(fault):
    return {"fault": tf.constant([0.0, FAULTS.index(fault), 0.0])}


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (
            "raises",
            RuntimeError,
            r"Expected tfmeta-tests/Scripted-v0 to go on. Received: OSError\(the cable is loose\) "
            r"in step 2 of an episode in task {'fault': 1.0}",
        ),
        (
            "nan observation",
            FloatingPointError,
            r"Expected a finite observation from .* Received: nan in step 2 of .* {'fault': 2.0}",
        ),
        (
            "nan reward",
            FloatingPointError,
            r"Expected a finite reward from .* Received: nan in step 2 of .* {'fault': 3.0}",
        ),
        (
            "reset shape",
            ValueError,
            r"Expected observations of shape \(2,\) .* shape \(3,\), at the reset of .*: 4.0}",
        ),
        ("step shape", ValueError, r"of shape \(2,\) .* shape \(3,\), in step 2 of .*: 5.0}"),
    ],
)
def test_a_fault_in_a_rollout_is_named_with_its_task(fault, error, message):
    family = faulty()
    with pytest.raises(error, match=message) as caught:
        live(family, one_fault(fault))
    if fault == "raises":
        assert isinstance(caught.value.__cause__, OSError)
    # What is left of it does not disturb the next one.
    np.testing.assert_array_equal(live(family, one_fault("none")).mask, np.ones((4, 3)))


def test_of_processes_one_that_raises_and_one_that_dies_are_named():
    family = faulty("async")
    assert np.all(live(family, one_fault("none")).mask)
    with pytest.raises(RuntimeError, match=r"OSError\(the cable is loose\) in step 2 .*: 1.0}"):
        live(family, one_fault("raises"))
    message = (
        r"Expected the worker processes of tfmeta-tests/Scripted-v0 to live. Received: the end of "
        r"number 1 with exit code -9, in step 2 of an episode in task {'fault': 6.0}"
    )
    with pytest.raises(RuntimeError, match=message):
        live(family, one_fault("dies"))
    assert np.all(live(family, one_fault("none")).mask)
    family.close()


def test_a_fault_in_training_stops_it_and_the_last_backup_goes_on(tmp_path, monkeypatch):
    family = environments.gymnasium(ID, {"ends": (1.0, 4.0)}, horizon=4)
    tasks = family.tasks(1, 3)

    def fit(callbacks=()):
        keras.utils.set_random_seed(0)
        learner = tfmeta.learners.RL2(family, units=4)
        learner.compile("adam")
        learner.fit(tasks, epochs=2, steps_per_epoch=3, callbacks=list(callbacks), verbose=0)
        return learner

    def backup():
        return tfmeta.callbacks.BackupAndRestore(tmp_path / "backup", save_freq=1)

    whole = fit()
    monkeypatch.setattr(Scripted, "raises_at", Scripted.resets + 3 * 3 + 2)  # in the fourth step
    message = r"OSError\(the cable is loose\) at the reset of an episode in task {'ends': "
    with pytest.raises(RuntimeError, match=message):
        fit([backup()])
    again = backup()
    learner = fit([again])
    assert again.restored.outer_steps == 3
    for a, b in zip(whole.variables, learner.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    monkeypatch.setattr(Scripted, "raises_at", Scripted.resets + 2)
    with pytest.raises(RuntimeError, match=message):
        evaluate_returns(learner, tasks, 3)
    monkeypatch.setattr(Scripted, "raises_at", Scripted.resets + 2)
    with pytest.raises(RuntimeError, match=message):
        learner.evaluate(tasks.take(1), verbose=0)


def test_episodes_of_one_step_and_families_of_one_task():
    family = environments.gymnasium(ID, {}, horizon=3)
    learner = tfmeta.learners.RL2(family, units=4)
    learner.compile("adam")
    history = learner.fit(family.tasks(2, 2), steps_per_epoch=1, verbose=0).history
    assert history["return"] == [6.0]
    assert evaluate_returns(learner, family.tasks(2, 2), 2).mean == 6.0
    once = {"ends": tf.constant([1.0, 1.0])}
    family = environments.gymnasium(ID, {"ends": (0.0, 9.0)}, horizon=3)
    lived = live(family, once)
    np.testing.assert_array_equal(lived.mask, [[1, 1], [0, 0], [0, 0]])
    np.testing.assert_array_equal(lived.done, lived.mask)
    family.horizon = 0
    with pytest.raises(ValueError, match="Expected horizon to be an integer of at least 1"):
        live(family, once)


def other_actions(env, task):
    return gymnasium.wrappers.TransformAction(env, lambda a: a, gymnasium.spaces.MultiBinary(3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: environments.gymnasium(ID),
            "Expected parameters, as nothing is made ready for tfmeta-tests/Scripted-v0",
        ),
        (
            lambda: environments.gymnasium("CartPole-v1", {"weight": (1.0, 2.0)}),
            "Expected parameters that are attributes of CartPoleEnv, such as gravity, .*'weight'",
        ),
        (
            lambda: environments.gymnasium("CartPole-v1", {"length": (1.0, 1.0)}),
            r"Expected 'length' to be \(low, high\) with low < high, or a list of two",
        ),
        (lambda: environments.gymnasium("CartPole-v1", {"length": [1.0]}), r"Received: \[1.0\]"),
        (lambda: environments.gymnasium("CartPole-v1", {"length": 1.0}), "Received: 1.0"),
        (
            lambda: environments.gymnasium("CartPole-v1", {"length": (0.0, np.inf)}),
            r"Received: \(0.0, inf\)",
        ),
        (lambda: environments.gymnasium(ID, {}), "Expected horizon, .* has no time limit"),
        (
            lambda: environments.gymnasium(ID, {}, horizon=0),
            "Expected horizon to be an integer of at least 1",
        ),
        (lambda: environments.gymnasium(ID, {}, horizon=2, episodes=0), "Expected episodes"),
        (
            lambda: environments.gymnasium("CartPole-v1", vectorization_mode="vector_entry_point"),
            r"Expected vectorization_mode in \('sync', 'async'\)",
        ),
        (
            lambda: environments.gymnasium(ID, {}, lambda env, task: None, horizon=2),
            "Expected `change` to be a function .* Received: NoneType",
        ),
        (
            lambda: environments.gymnasium(ID, {}, other_actions, horizon=2),
            r"Expected discrete actions, or a Box of numbers. Received: MultiBinary\(3\)",
        ),
        (
            lambda: tfmeta.learners.RL2(environments.gymnasium("CartPole-v1")).compile(
                "adam", jit_compile=True
            ),
            "Expected no jit_compile",
        ),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_actions_of_another_kind():
    grid, point = environments.grid_navigation(), environments.point_navigation()
    rows = tf.range(2, dtype=tf.int64)
    message = r"Expected actions float32 \[rows, 2\] from the policy.*Received: int32 \[rows\]"
    with pytest.raises(ValueError, match=message):
        rollout(point, zeros(point), point.parameters([0, 1]), rows)

    def numbers(observation, carry, *_):
        return observation, carry, ()

    message = r"Expected actions int32 \[rows\] .* Received: float32 \[rows, 2\]. Draw one of the"
    with pytest.raises(ValueError, match=message):
        rollout(grid, numbers, grid.parameters([0, 1]), rows)
    pendulum = environments.gymnasium("Pendulum-v1", horizon=2)
    with pytest.raises(ValueError, match=r"Expected actions float32 \[rows, 1\]"):
        rollout(pendulum, zeros(pendulum), pendulum.parameters([0, 1]), rows)
    learner = tfmeta.learners.RL2(pendulum, units=4)
    learner.compile("adam")
    with pytest.raises(ValueError, match=r"Expected tasks of gymnasium\('Pendulum-v1'"):
        learner.fit(grid.tasks(), steps_per_epoch=1)


@pytest.mark.parametrize(
    ("package", "message"),
    [
        (None, r"Expected gymnasium, .*: pip install tfmeta\[rl\]"),
        ("0.29.1", r"Expected gymnasium >= 1.1. Received: 0.29.1. pip install .*tfmeta\[rl\]"),
    ],
)
def test_a_gymnasium_that_is_missing_or_too_old(package, message, monkeypatch):
    if package is not None:
        version, package = package, types.ModuleType("gymnasium")
        package.__version__ = version
    monkeypatch.setitem(sys.modules, "gymnasium", package)
    with pytest.raises(ImportError, match=message):
        environments.gymnasium("CartPole-v1")
