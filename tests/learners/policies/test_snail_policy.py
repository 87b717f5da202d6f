"""SNAIL as a policy: step by step it does what it does with all steps at once."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmeta
from tfmeta.environments import bandits, mazes, point_navigation
from tfmeta.learners import SNAILPolicy


def made(environment, **arguments):
    keras.utils.set_random_seed(0)
    sizes = {"filters": 3, "attention": ((4, 2), (3, 5))}
    learner = SNAILPolicy(environment, **(sizes | arguments))
    learner.compile(keras.optimizers.Adam(0.01))
    learner.prepare(environment.tasks(meta_batch_size=1, count=1))
    return learner


@pytest.mark.parametrize(
    ("environment", "weight"),
    [(mazes(size=2, horizon=3, episodes=3), 0.5), (point_navigation(horizon=3), 0.0)],
)
def test_acting_step_by_step_equals_reading_all_steps_at_once(environment, weight):
    """In mazes, an episode may be over before its time."""
    learner = made(environment, reward_weight=weight)
    for block in learner.blocks:  # biases are zeros at first
        for v in block.weights:
            v.assign_add(tf.random.stateless_normal(v.shape, (1, 2)) * 0.3)
    rows = tf.range(9, dtype=tf.int64)
    both = tf.function(lambda: (found := learner.roll(environment.parameters(rows), rows)[0],
                                learner.read_again(found)))  # fmt: skip
    lived, again = both()
    assert environment.episodes == 1 or 0 < np.sum(lived.done) < 27
    for a, b in zip(lived.extra, again, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    # Eagerly, row by row.
    eager, state = learner.roll(environment.parameters(rows[:1]), rows[:1])
    np.testing.assert_allclose(eager.extra[1], lived.extra[1][:, :1], rtol=1e-4, atol=1e-5)
    assert state[0].numpy() == [learner.steps]


def test_a_later_reward_changes_nothing_before_it_and_lives_across_episodes():
    environment = mazes(size=2, horizon=3, episodes=2)
    learner = made(environment)
    rows = tf.range(4, dtype=tf.int64)
    lived, _ = tf.function(learner.roll)(environment.parameters(rows), rows)
    read = tf.function(lambda rewards: learner.read_again(lived._replace(rewards=rewards))[1])
    before = read(lived.rewards).numpy()
    for at in range(5):
        change = 5.0 * tf.one_hot(at, 6)[:, None]
        after = read(lived.rewards + change).numpy()
        np.testing.assert_array_equal(after[: at + 1], before[: at + 1])
        assert np.all(np.abs(after[-1] - before[-1]) > 1e-7)  # in the second episode, too


def test_it_learns_and_is_saved(tmp_path):
    environment = bandits(arms=2, pulls=6)
    learner = made(environment, filters=8, attention=((8, 8),))
    tasks = environment.tasks(meta_batch_size=200)
    learner.fit(tasks, epochs=1, steps_per_epoch=80, verbose=0)
    test = environment.tasks(1, 500, seed=1)
    report = tfmeta.evaluation.evaluate_returns(learner, test, 2000)
    assert report.mean - report.interval > 3.1  # 3.0 at random
    learner.save(tmp_path / "policy.keras")
    loaded = keras.models.load_model(tmp_path / "policy.keras")
    found = tfmeta.evaluation.evaluate_returns(loaded, test, 2000).scores
    np.testing.assert_array_equal(found, report.scores)
    task = tf.constant([[0.0, 1.0]])
    support = tfmeta.Examples({"task": task, "row": tf.range(1, dtype=tf.int64)}, tf.zeros(1))
    choices = learner.predict_query(learner.adapt(support), np.zeros((3, 1), "float32"))
    assert choices.shape == (3, 2)
    assert np.all(np.argmax(choices, axis=1) == 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filters": 0}, "Expected filters"),
        ({"attention": ()}, "Expected attention to be pairs"),
        ({"decay": 2}, "Expected decay <= 1"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        made(bandits(), **arguments)
