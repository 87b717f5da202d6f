"""Families of environments: their tasks, and each against a slow reference in NumPy."""

import collections

import numpy as np
import pytest
import tensorflow as tf

import tfmeta
from tfmeta import environments
from tfmeta.environments import Box, Discrete, rollout
from tfmeta.ops import random_numbers as rng

FAMILIES = {
    "bandits": environments.bandits(arms=3, pulls=4),
    "tabular_mdps": environments.tabular_mdps(states=4, actions=3, horizon=3, episodes=2),
    "point_navigation": environments.point_navigation(horizon=5),
    "grid_navigation": environments.grid_navigation(horizon=6, episodes=2),
    "mazes": environments.mazes(size=3, horizon=6, episodes=2),
    "cartpole": environments.cartpole(horizon=12, episodes=2),
    "gymnasium": environments.gymnasium("Pendulum-v1", horizon=5, episodes=2),
}
EACH = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())


def at_random(family):
    """A policy without a memory, which draws its actions."""

    def act(observation, carry, experience, bits):
        if isinstance(family.actions, Discrete):
            return rng.integers(bits[0], family.actions.count), carry, ()
        return tf.transpose(rng.uniform(bits, 2 * family.actions.low, 0.2)), carry, ()

    return act


def first(dataset):
    return next(iter(dataset.take(1)))


def compiled_rollout(family, policy, task, rows, *arguments, **options):
    """`rollout`, as one graph: a long one takes seconds otherwise."""
    numbers = tf.range(rows, dtype=tf.int64)
    run = tf.function(lambda: rollout(family, policy, task, numbers, *arguments, **options)[0])
    return run()


def live(family, rows=6, seed=0, episodes=2):
    task = family.parameters(tf.range(rows), seed=1)
    numbers = tf.range(rows, dtype=tf.int64)
    return task, rollout(family, at_random(family), task, numbers, seed=seed, episodes=episodes)[0]


@EACH
def test_tasks_are_a_stream_by_seed_and_number(family):
    episode = first(family.tasks(trajectories=2, meta_batch_size=3, seed=1, count=5))
    assert isinstance(episode, tfmeta.Episode)
    tf.nest.map_structure(
        lambda found, expected: np.testing.assert_array_equal(found[:, 1], expected),
        episode.support.x["task"],
        family.parameters([0, 1, 2], seed=1),
    )
    rows = np.concatenate([episode.support.x["row"], episode.query.x["row"]], axis=1)
    later = first(family.tasks(trajectories=2, meta_batch_size=3, seed=1, start=3))
    others = np.concatenate([later.support.x["row"], later.query.x["row"]], axis=1)
    assert len(np.unique([rows, others])) == 24
    assert sum(e.support.y.shape[0] for e in family.tasks(1, 3, count=5)) == 5
    for name, value in (("trajectories", 0), ("meta_batch_size", 0), ("count", 0)):
        with pytest.raises(ValueError, match=f"Expected {name} to be an integer of at least 1"):
            family.tasks(**{name: value})


@EACH
def test_a_rollout_is_the_same_in_the_graph_and_by_its_numbers(family, caplog):
    task, lived = live(family)
    steps = 2 * family.horizon
    assert lived.observations.shape == (steps, 6, family.observation_size)
    assert lived.rewards.shape == lived.mask.shape == lived.done.shape == (steps, 6)
    np.testing.assert_array_equal(np.where(lived.first[:, 0])[0], [0, family.horizon])
    assert not np.any(np.array(lived.rewards)[np.array(lived.mask) == 0])
    compiled = tf.function(lambda: live(family)[1])()
    assert "AutoGraph" not in caplog.text  # it warns of what it cannot read
    for a, b in zip(tf.nest.flatten(lived), tf.nest.flatten(compiled), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    # A row is the same whatever rows are beside it, and another with another seed.
    some = tf.nest.map_structure(lambda t: t[2:4], task)
    numbers = tf.constant([2, 3], tf.int64)
    alone, _ = rollout(family, at_random(family), some, numbers, episodes=2)
    np.testing.assert_allclose(alone.rewards, lived.rewards[:, 2:4], rtol=1e-5, atol=1e-6)
    other = live(family, seed=5)[1]
    assert not np.array_equal(other.actions, lived.actions)


def test_a_row_that_is_done_waits_for_the_next_episode():
    family = environments.point_navigation(horizon=4)

    def straight(observation, carry, experience, bits):
        return carry["goal"] - observation, carry, experience

    goal = tf.constant([[0.05, 0.0], [0.25, 0.0]])
    lived, _ = rollout(
        family, straight, goal, tf.constant([0, 1], tf.int64), {"goal": goal}, episodes=2
    )
    np.testing.assert_array_equal(lived.mask[:4], [[1, 1], [0, 1], [0, 1], [0, 0]])
    np.testing.assert_array_equal(lived.mask[4:], lived.mask[:4])
    np.testing.assert_array_equal(lived.done[:4], [[1, 0], [0, 0], [0, 1], [0, 0]])
    np.testing.assert_allclose(lived.rewards[:4, 1], [-0.15, -0.05, 0, 0], atol=1e-6)
    # What it is told at the first step of the second episode: that the first one is over.
    _, _, ended = lived.extra
    assert np.all(ended[4] == 1)
    assert not np.any(ended[0])


def test_point_navigation_against_numpy():
    task, lived = live(environments.point_navigation(horizon=5), episodes=1)
    goal, actions = np.array(task), np.clip(lived.actions, -0.1, 0.1)
    places = np.cumsum(actions, axis=0)
    np.testing.assert_allclose(lived.rewards, -np.linalg.norm(places - goal, axis=-1), atol=1e-6)
    np.testing.assert_allclose(lived.observations[1:], places[:-1], atol=1e-6)
    goals = np.array(environments.point_navigation().parameters(tf.range(2000)))
    assert -0.5 <= goals.min() < -0.49
    assert 0.49 < goals.max() <= 0.5
    assert environments.point_navigation().actions == Box(2, -0.1, 0.1)


def test_bandits_pay_as_often_as_they_say():
    family = environments.bandits(arms=2, pulls=2000)
    chances = tf.constant([[0.2, 0.9]])
    lived = compiled_rollout(family, at_random(family), chances, 1)
    rewards, arms = np.array(lived.rewards[:, 0]), np.array(lived.actions[:, 0])
    means = [rewards[arms == arm].mean() for arm in (0, 1)]
    np.testing.assert_allclose(means, [0.2, 0.9], atol=0.05)
    assert set(rewards) == {0.0, 1.0}


def test_tabular_mdps_go_where_their_chances_say():
    family = environments.tabular_mdps(states=3, actions=2, horizon=3000, episodes=1)
    task = family.parameters([7])
    np.testing.assert_allclose(tf.reduce_sum(task.transitions, -1), np.ones((1, 3, 2)), rtol=1e-5)
    lived = compiled_rollout(family, at_random(family), task, 1)
    states = np.argmax(lived.observations[:, 0], axis=-1)
    actions, rewards = np.array(lived.actions[:, 0]), np.array(lived.rewards[:, 0])
    assert states[0] == 0
    for state, action in np.ndindex(3, 2):
        here = (states[:-1] == state) & (actions[:-1] == action)
        chances = np.bincount(states[1:][here], minlength=3) / here.sum()
        np.testing.assert_allclose(chances, task.transitions[0, state, action], atol=0.09)
        mean = rewards[:-1][here].mean()
        assert abs(mean - float(task.rewards[0, state, action])) < 4 / np.sqrt(here.sum())
    many = environments.tabular_mdps().parameters(tf.range(200))
    np.testing.assert_allclose(tf.reduce_mean(many.rewards), 1.0, atol=0.05)
    np.testing.assert_allclose(tf.math.reduce_std(many.rewards), 1.0, atol=0.05)
    # The largest of ten numbers of a flat Dirichlet: the harmonic number of 10, over 10.
    largest = tf.reduce_mean(tf.reduce_max(many.transitions, axis=-1))
    np.testing.assert_allclose(largest, 0.2929, atol=0.005)


def test_grid_navigation_pays_what_the_papers_bound_says():
    family = environments.grid_navigation()
    assert len(family.goals) == 21

    def to_the_goal(observation, carry, experience, bits):
        dx, dy = tf.unstack(carry - tf.cast(observation, tf.int32), axis=-1)
        return tf.where(dx > 0, 2, tf.where(dy > 0, 1, 0)), carry, ()

    goals = tf.constant(family.goals)
    lived = compiled_rollout(family, to_the_goal, goals, 21, goals)
    returns = np.sum(lived.rewards, axis=0)
    np.testing.assert_allclose(
        [returns.mean(), returns.min(), returns.max()], [11.07, 7.3, 13.9], atol=0.005
    )
    drawn = {tuple(goal) for goal in family.parameters(tf.range(500)).numpy()}
    assert drawn == set(family.goals)


def test_every_cell_of_a_maze_is_reached_by_one_way():
    family = environments.mazes(size=4)
    task = family.parameters(tf.range(50))
    walls, goals = np.array(task.open), np.array(task.goal)
    assert np.all(walls.sum((1, 2, 3)) == 2 * 15)  # a tree, each passage from both sides
    moves = [(0, 1), (1, 0), (0, -1), (-1, 0)]
    for maze in walls:
        seen, queue = {(0, 0)}, collections.deque([(0, 0)])
        while queue:
            x, y = queue.popleft()
            for move in np.where(maze[x, y])[0]:
                to = x + moves[move][0], y + moves[move][1]
                assert maze[to][(move + 2) % 4]
                if to not in seen:
                    seen.add(to)
                    queue.append(to)
        assert len(seen) == 16
    assert len(np.unique(walls, axis=0)) == 50
    assert np.all(goals.sum(1) > 0)
    assert goals.max() == 3


def test_walls_of_a_maze_hold_and_its_goal_ends_an_episode():
    family = environments.mazes(size=3, horizon=200, episodes=1)
    task = family.parameters(tf.range(4))
    lived = compiled_rollout(family, at_random(family), task, 4)
    places = np.argmax(np.reshape(lived.observations[..., :6], (200, 4, 2, 3)), axis=-1)
    moves = np.array([(0, 1), (1, 0), (0, -1), (-1, 0)])
    for row in range(4):
        for t in range(199):
            if not lived.mask[t + 1, row]:
                continue
            x, y = places[t, row]
            action = int(lived.actions[t, row])
            way = np.array(task.open)[row, x, y, action]
            np.testing.assert_array_equal(places[t + 1, row], (x, y) + moves[action] * int(way))
    assert np.all(np.sum(lived.done, axis=0) == 1)  # at random, in 200 steps
    last = np.sum(lived.mask, axis=0).astype(int) - 1
    assert np.all(np.array(lived.rewards)[last, range(4)] == 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: environments.bandits(arms=1), "Expected arms to be an integer of at least 2"),
        (lambda: environments.bandits(pulls=0), "Expected pulls"),
        (lambda: environments.point_navigation(0), "Expected horizon to be an integer of at"),
        (lambda: environments.tabular_mdps(actions=1.5), "Expected actions"),
        (
            lambda: environments.grid_navigation(size=2),
            "Expected size to be an integer",
        ),
        (lambda: environments.mazes(episodes=0), "Expected episodes"),
        (lambda: environments.cartpole(length=(1.0, 0.5)), r"Expected length to be \(low, high\)"),
        (lambda: environments.cartpole(masspole=0.1), "Expected masspole to be"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_family_says_how_it_was_made():
    assert repr(environments.mazes(3)) == "Mazes(size=3, horizon=30, episodes=4)"
