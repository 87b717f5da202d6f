"""Families of Gymnasium: against loops over its own environments, and the ends of episodes."""

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf
from environments.scripted import ID

import tfmeta
from tfmeta import environments
from tfmeta.environments import Box, Discrete, rollout
from tfmeta.evaluation import evaluate_returns
from tfmeta.ops import random_numbers as rng


def at_random(family):
    def act(observation, carry, experience, bits):
        if isinstance(family.actions, Discrete):
            return rng.integers(bits[0], family.actions.count), carry, experience
        return tf.transpose(rng.uniform(bits, -3.0, 3.0)), carry, experience

    return act


def live(family, task, **options):
    rows = tf.range(tf.nest.flatten(task)[0].shape[0], dtype=tf.int64)
    return rollout(family, at_random(family), task, rows, **options)[0]


def scripted(ends, cut, horizon=4, **options):
    """What rows of `Scripted` live through, whose episodes are over or cut off at these steps."""
    family = environments.gymnasium(ID, {"ends": (0.0, 9.0), "cut": (0.0, 9.0)}, horizon=horizon)
    task = {"ends": tf.constant(ends, tf.float32), "cut": tf.constant(cut, tf.float32)}
    return live(family, task, **options)


@pytest.mark.parametrize("id", ["CartPole-v1", "Pendulum-v1"])
def test_against_a_loop_over_gymnasiums_own(id):
    family = environments.gymnasium(id, horizon=60)
    task = family.parameters(tf.range(4), seed=3)
    lived = live(family, task)
    observations, actions, rewards, mask, done = map(np.array, lived[:5])
    raw = gymnasium.make(id).unwrapped
    for row in range(4):
        for name, values in task.items():
            setattr(raw, name, float(values[row]))
        if id == "CartPole-v1":
            raw.total_mass = raw.masscart + raw.masspole
            raw.polemass_length = raw.masspole * raw.length
        raw.reset()
        first = observations[0, row].astype("float64")
        if id == "Pendulum-v1":  # its state is the angle
            first = np.array([np.arctan2(first[1], first[0]), first[2]])
        raw.state = first
        for t in range(60):
            seen, reward, terminated, _, _ = raw.step(actions[t, row])
            np.testing.assert_allclose(rewards[t, row], reward, rtol=1e-3, atol=1e-3)
            assert done[t, row] == terminated
            if terminated:
                break
            if t < 59:
                np.testing.assert_allclose(observations[t + 1, row], seen, rtol=1e-3, atol=1e-3)
        assert mask[:, row].sum() == t + 1
    assert len({tuple(start) for start in observations[0]}) == 4
    if id == "CartPole-v1":
        assert done.sum() == 4
    else:
        assert mask.all()
        assert not done.any()
        assert family.actions == Box(1, -2.0, 2.0)


def test_the_cartpole_in_the_graph_is_gymnasiums():
    ours, theirs = environments.cartpole(horizon=60), environments.gymnasium("CartPole-v1")
    task = ours.parameters(tf.range(4), seed=3)
    tf.nest.map_structure(np.testing.assert_array_equal, task, theirs.parameters(range(4), seed=3))
    lived = live(ours, task)
    observations, actions, rewards, mask, done = map(np.array, lived[:5])
    assert 0.04 < np.abs(observations[0]).max() <= 0.05
    raw = gymnasium.make("CartPole-v1").unwrapped
    for row in range(4):
        environment = theirs.change(raw, {name: float(v[row]) for name, v in task.items()})
        environment.reset()
        environment.state = observations[0, row].astype("float64")
        for t in range(int(mask[:, row].sum())):
            seen, reward, fallen, _, _ = environment.step(int(actions[t, row]))
            assert (rewards[t, row], done[t, row]) == (reward, fallen)
            after = observations[t + 1, row]  # of a pole that has fallen, too: it waits there
            np.testing.assert_allclose(after, seen, rtol=1e-3, atol=1e-4)
    assert done.sum() == 4


def test_ends_and_time_limits_are_told_apart():
    # Over at step 2; cut off at step 3 by itself; neither: the time limit; both at once.
    lived = scripted([2, 0, 0, 1], [0, 3, 0, 1], episodes=2)
    for begin in (0, 4):
        part = slice(begin, begin + 4)
        mask = [[1, 1, 1, 1], [1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 1, 0]]
        np.testing.assert_array_equal(lived.mask[part], mask)
        ended = [[0, 0, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
        np.testing.assert_array_equal(lived.done[part], ended)
        rewards = np.array([[1], [2], [3], [4]]) * np.array(mask)
        np.testing.assert_array_equal(lived.rewards[part], rewards)
    # A row waits in its last state, and begins anew with another random number.
    np.testing.assert_array_equal(lived.last[:, 1], [2, 3, 4, 1])
    np.testing.assert_array_equal(lived.observations[4][:, 1], [0, 0, 0, 0])
    assert not np.any(lived.observations[4, :, 0] == lived.observations[0, :, 0])
    # Both kinds of end are told to the policy, which then waits.
    np.testing.assert_array_equal(
        lived.extra[2][1:5], [[0, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0], [1, 1, 1, 1]]
    )


def test_it_is_the_same_by_seed_and_number():
    family = environments.gymnasium("CartPole-v1", horizon=12)
    task = family.parameters(tf.range(4))
    whole = live(family, task)
    part = {name: values[1:3] for name, values in task.items()}
    alone, _ = rollout(family, at_random(family), part, tf.constant([1, 2], tf.int64))
    other = live(family, task, seed=1)
    compiled = tf.function(lambda: live(family, task))()
    np.testing.assert_array_equal(alone.observations, whole.observations[:, 1:3])
    np.testing.assert_array_equal(compiled.observations, whole.observations)
    assert not np.array_equal(other.observations[0], whole.observations[0])
    again = live(environments.gymnasium("CartPole-v1", horizon=12), task)
    np.testing.assert_array_equal(again.observations, whole.observations)


def test_rollouts_in_one_graph_do_not_meet():
    """TensorFlow runs them in any order, and side by side."""
    family = environments.gymnasium(ID, {"ends": (8.0, 9.0)}, horizon=6)
    task = family.parameters(tf.range(3))

    def blind(observation, carry, experience, bits):  # nothing that it does waits for a step
        return tf.zeros(tf.shape(bits)[1:], tf.int32), carry, ()

    def one(seed):
        numbers = tf.range(3, dtype=tf.int64)
        return rollout(family, blind, task, numbers, seed=seed, episodes=2)[0].observations

    together = tf.function(lambda: [one(seed) for seed in range(3)])()
    for seed, found in enumerate(together):
        np.testing.assert_array_equal(found[..., 1], np.tile(np.arange(6.0), (3, 2)).T)
        np.testing.assert_array_equal(found, one(seed))


@keras.saving.register_keras_serializable("tests")
def windy(env, task):
    wrapper = gymnasium.wrappers.TransformAction
    return wrapper(env, lambda action: action + np.float32(task["wind"]), env.action_space)


def test_a_wrapper_is_one_function_and_in_the_file_of_a_policy(tmp_path):
    family = environments.gymnasium("Pendulum-v1", {"wind": [0.0, 2.0]}, windy, horizon=2)
    task = {"wind": tf.constant([0.0, 0.5])}

    def still(observation, carry, experience, bits):
        return tf.zeros_like(observation[:, :1]), carry, ()

    rows = tf.zeros([2], tf.int64)  # the same random numbers for both
    lived, _ = rollout(family, still, task, rows)
    np.testing.assert_array_equal(lived.observations[0, 0], lived.observations[0, 1])
    np.testing.assert_allclose(lived.rewards[0, 0] - lived.rewards[0, 1], 0.001 * 0.5**2, rtol=0.02)
    values = family.parameters(tf.range(50))["wind"]
    assert set(values.numpy()) == {0.0, 2.0}
    learner = tfmeta.learners.RL2(family, units=4)
    learner.compile("adam")
    learner.fit(family.tasks(2, 3), steps_per_epoch=2, epochs=2, verbose=0)
    learner.save(tmp_path / "policy.keras")
    loaded = keras.models.load_model(tmp_path / "policy.keras")
    assert repr(loaded.environment) == repr(family)
    tasks = family.tasks(2, 3, seed=1)
    found = [evaluate_returns(one, tasks, 5).scores for one in (learner, loaded)]
    np.testing.assert_array_equal(*found)
    history = learner.evaluate(family.tasks(2, 3, seed=1, count=3), verbose=0, return_dict=True)
    np.testing.assert_allclose(history["return"], found[0][:3].mean(), rtol=1e-5)


def test_actions_of_several_scales_are_asked_for_in_one():
    family = environments.gymnasium(ID, {"ends": (2.0, 3.0)}, horizon=2, tilted=True)
    assert family.actions == Box(2, -1.0, 1.0)
    lived = live(family, family.parameters([0, 1]))  # the environment asserts that it has them
    np.testing.assert_array_equal(lived.mask, np.ones((2, 2)))
    assert environments.gymnasium(ID, {}, horizon=2).actions == Discrete(2)
    tabular = environments.gymnasium("FrozenLake-v1", {}, horizon=5)
    assert tabular.observation_size == 16
    seen = rollout(tabular, at_random(tabular), {}, tf.range(2, dtype=tf.int64))[0].observations
    np.testing.assert_array_equal(np.sum(seen, axis=-1), np.ones((5, 2)))


def test_processes_live_through_the_same():
    task = {"length": tf.constant([0.4, 0.8])}
    found = []
    for mode in ("sync", "async"):
        family = environments.gymnasium(
            "CartPole-v1", {"length": (0.2, 1.0)}, horizon=6, vectorization_mode=mode
        )
        found.append(live(family, task, episodes=2))
        family.close()
    for a, b in zip(*map(tf.nest.flatten, found), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("goal", ["direction", "velocity"])
def test_half_cheetah_is_paid_for_what_its_task_asks(goal, tmp_path, monkeypatch):
    pytest.importorskip("mujoco")
    monkeypatch.chdir(tmp_path)  # MuJoCo writes a log
    varied = None if goal == "direction" else {"velocity": (0.0, 2.0)}
    family = environments.gymnasium("HalfCheetah-v5", varied, horizon=5)
    task = family.parameters(tf.range(3))
    if goal == "direction":
        task = {"direction": tf.constant([1.0, -1.0, 1.0])}
    lived = live(family, task)
    raw = gymnasium.make("HalfCheetah-v5")
    for row in range(3):
        raw.reset()
        seen = np.array(lived.observations[0, row], "float64")
        raw.unwrapped.set_state(np.concatenate([[0.0], seen[:8]]), seen[8:])
        for t in range(5):
            info = raw.step(np.clip(lived.actions[t, row], -1, 1))[-1]
            speed, wanted = info["x_velocity"], float(task[goal][row])
            paid = wanted * speed if goal == "direction" else -abs(speed - wanted)
            expected = paid + info["reward_ctrl"]
            np.testing.assert_allclose(lived.rewards[t, row], expected, rtol=1e-3, atol=2e-3)
