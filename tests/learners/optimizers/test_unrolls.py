"""Tasks that go on from one outer step to the next, and stop."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf
from learners.optimizers.parabolas import SQUARES, STEPS, STRETCH, line, parabola

import tfmeta
from tfmeta.learners import (
    EvolutionStrategies,
    LearnedOptimizer,
    LearnedSGD,
    PersistentES,
    ThroughUnroll,
)


def learner_of(network=None, rule=None, loss=SQUARES, rate=0.05, **kwargs):
    keras.utils.set_random_seed(0)
    network = line(dtype="float32") if network is None else network
    arguments = {"inner_steps": STEPS, "unroll_length": STRETCH} | kwargs
    learner = LearnedOptimizer(network, rule=rule or LearnedSGD(0.1), **arguments)
    learner.compile(keras.optimizers.Adam(rate), loss, jit_compile=False)
    return learner


def clock(learner):
    """Step, begin and end of the tasks in each place."""
    unroll = learner.unrolls.read(learner.unrolls.kept[0].shape[0])
    return [np.array(t) for t in (unroll.step, unroll.begin, unroll.end)]


def test_tasks_go_on_and_make_room_for_others():
    """One task follows another in each place: lengths, warm starts, and which data are seen."""
    learner = learner_of(fewest_steps=4, warm_start=4)
    places, seen = 32, []
    numbers = np.arange(1, 41, dtype="float32")  # each meta-batch has a target of its own
    data = tf.data.Dataset.from_generator(
        lambda: (parabola(places, "float32", n) for n in numbers),
        output_signature=tf.nest.map_structure(
            tf.TensorSpec.from_tensor, parabola(places, "float32")
        ),
    )
    for batch in data:
        learner.train_on_batch(batch)
        target = np.array(learner.unrolls.read(places).support.y)[:, 0, 0]
        seen.append([*clock(learner), target])
    step, begin, end, target = (np.array(part) for part in zip(*seen, strict=True))
    went_on = step[1:] == step[:-1] + STRETCH
    assert np.all(went_on | (step[1:] == STRETCH))
    for before, after in ((begin[:-1], begin[1:]), (end[:-1], end[1:]), (target[:-1], target[1:])):
        assert np.all((before == after)[went_on])
    # A new task has ended the one before, and has the data of its own outer step.
    assert np.all((step[:-1] == end[:-1])[~went_on])
    assert np.all(
        target[1:][~went_on] == np.broadcast_to(numbers[1:, None], went_on.shape)[~went_on]
    )
    assert set(np.unique((end - begin)[1:][~went_on])) == {4, 6, 8}
    assert set(np.unique(begin[1:][~went_on])) == {0, 2, 4}
    # Those of the first meta-batch end one after another.
    assert len(set(end[0] - begin[0])) > 2


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "outer",
    [
        pytest.param(None, marks=SLOW),
        pytest.param(EvolutionStrategies(0.05), marks=SLOW),
        PersistentES(0.05),
    ],
)
def test_a_file_goes_on_where_the_run_was(outer, tmp_path):
    data = tfmeta.episodes.quadratic(1, meta_batch_size=3, seed=0)
    learner = learner_of(outer_gradient=outer, fewest_steps=2)
    learner.fit(data, steps_per_epoch=3, verbose=0)
    learner.save(tmp_path / "learner.keras")
    loaded = keras.models.load_model(tmp_path / "learner.keras")
    assert loaded.outer_gradient == learner.outer_gradient
    for one in (learner, loaded):
        one.fit(data, steps_per_epoch=2, verbose=0)
    for a, b in zip(learner.variables, loaded.variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_a_killed_run_goes_on(tmp_path):
    """Backed up after 4 of 8 outer steps, with tasks in the middle of their training."""
    data = tfmeta.episodes.quadratic(1, meta_batch_size=3, seed=0)

    class Killed(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup", delete_checkpoint=False)

    whole, stopped, other = (learner_of(fewest_steps=2) for _ in range(3))
    arguments = {"steps_per_epoch": 4, "epochs": 2, "verbose": 0}
    whole.fit(data, **arguments)
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(data, callbacks=[backup(), Killed()], **arguments)
    other.fit(data, callbacks=[backup()], **arguments)
    for a, b in zip(whole.variables, other.variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("outer", [ThroughUnroll(), PersistentES(1e-3)])
def test_a_task_that_is_not_finite_is_drawn_anew_and_counted(outer):
    """One task of three explodes at the rate that the others like."""
    slopes = np.array([1.0, 1e12, 1.0], "float32")[:, None, None]
    arrays = slopes, 2 * slopes, np.ones((3, 1), "float32")
    examples = tfmeta.Examples(*map(tf.constant, arrays))
    episodes = tfmeta.Episode(examples, examples)
    learner = learner_of(inner_steps=4, outer_gradient=outer)
    before = [np.array(v) for v in learner.trainable_variables]
    history = learner.fit(tasks.dataset(episodes), steps_per_epoch=4, verbose=0).history
    assert learner.restarts == history["restarts"][0] == 4
    assert np.isfinite(history["loss"]).all()
    for value in learner.variables:
        assert np.isfinite(np.array(value)).all()
    assert not np.array_equal(before, learner.trainable_variables)  # the others are learned from
    step, _, end = clock(learner)
    ended = (step == end).reshape(3, -1)
    assert ended[1].all()
    # Without the bad one the rule learns the same: nothing of it is in the gradient.
    loss = np.array(learner.test_on_batch(tf.nest.map_structure(lambda t: t[:1], episodes))).ravel()
    assert np.isfinite(loss).all()


def test_data_that_are_not_finite_stop_the_run():
    episodes = parabola(2, "float32", np.nan)
    with pytest.raises(FloatingPointError, match="Expected"):
        learner_of().fit(tasks.dataset(episodes, 2), verbose=0)
