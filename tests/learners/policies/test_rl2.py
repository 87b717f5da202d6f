"""RL2: a memory that lives through a task's episodes, and learns to."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from learners.policies.small_policies import NoSteps

import tfmeta
from tfmeta.environments import bandits, grid_navigation, point_navigation
from tfmeta.evaluation import evaluate_returns
from tfmeta.learners import MAML, MAMLPPO, MAMLTRPO, RL2, VariBAD

ENVIRONMENT = bandits(arms=2, pulls=6)


def made(environment=ENVIRONMENT, seed=0, **arguments):
    keras.utils.set_random_seed(seed)
    learner = RL2(environment, **{"units": 16, **arguments})
    learner.compile(keras.optimizers.Adam(0.01), jit_compile=False)  # sooner, for a few steps
    return learner


@pytest.fixture(scope="module")
def trained():
    learner = made(decay=0.95)
    traces = []
    step = learner.train_step
    learner.train_step = lambda episodes: (traces.append(1), step(episodes))[1]
    history = learner.fit(
        ENVIRONMENT.tasks(meta_batch_size=500), epochs=2, steps_per_epoch=150, verbose=0
    )
    assert len(traces) == 1
    return learner, history.history


def test_it_learns_to_take_the_arm_that_pays(trained):
    learner, history = trained
    assert set(history) == {"loss", "return", "entropy"}
    report = evaluate_returns(learner, ENVIRONMENT.tasks(1, 500, seed=1), 2000)
    # At random 3.00; pulling the arm that paid once again and again comes to about 3.5.
    assert report.mean - report.interval > 3.3
    assert str(report).startswith("return 3.")
    task = tf.constant([[0.0, 1.0]])
    adapted = learner.adapt(support_of(task))
    choices = learner.predict_query(adapted, np.zeros((3, 1), "float32"))
    assert choices.shape == (3, 2)
    assert np.all(np.argmax(choices, axis=1) == 1)


def support_of(task, rows=1):
    x = {"task": tf.repeat(task, rows, axis=0), "row": tf.range(rows, dtype=tf.int64)}
    return tfmeta.Examples(x, tf.zeros(rows))


@pytest.mark.xla
def test_xla_compiles_a_step_in_the_graph():
    learner = RL2(ENVIRONMENT, units=4)
    learner.compile("adam")
    assert learner.jit_compile
    history = learner.fit(ENVIRONMENT.tasks(meta_batch_size=8), steps_per_epoch=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.parametrize(("layer", "gains"), [("Dense", True), ("Conv1D", False)])
def test_a_network_that_convolves_is_left_without_xla(layer, gains):
    inputs = keras.Input((ENVIRONMENT.observation_size,))
    x = keras.layers.Reshape((-1, 1))(inputs)
    x = keras.layers.Dense(2)(x) if layer == "Dense" else keras.layers.Conv1D(2, 1)(x)
    network = keras.Model(inputs, keras.layers.Flatten()(x))
    assert RL2(ENVIRONMENT, network, units=4).gains_in_xla == gains


def test_files_and_evaluation(trained, tmp_path):
    learner, _ = trained
    learner.save(tmp_path / "policy.keras")
    loaded = keras.models.load_model(tmp_path / "policy.keras")
    assert repr(loaded.environment) == repr(ENVIRONMENT)
    tasks = ENVIRONMENT.tasks(2, 10, seed=3, count=30)
    first = evaluate_returns(learner, tasks, 25)
    np.testing.assert_array_equal(first.scores, evaluate_returns(loaded, tasks, 25).scores)
    whole = evaluate_returns(learner, tasks, 30)
    found = loaded.evaluate(tasks, verbose=0, return_dict=True)
    np.testing.assert_allclose(found["return"], whole.mean, rtol=1e-5)
    np.testing.assert_array_equal(
        evaluate_returns(learner, tasks, 25, episode=0).scores, first.scores
    )


def test_it_is_watched_without_an_episode_to_look_at(trained, tmp_path):
    learner, _ = trained
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    tasks = ENVIRONMENT.tasks(meta_batch_size=4)
    callbacks = tfmeta.callbacks.TensorBoard(tmp_path), tfmeta.callbacks.CSVLogger(tmp_path / "csv")
    history = learner.fit(tasks, steps_per_epoch=2, callbacks=list(callbacks), verbose=0).history
    found = events.EventAccumulator(str(tmp_path / "train"))
    found.Reload()
    (written,) = found.Tensors("epoch_return")
    assert tf.make_ndarray(written.tensor_proto) == np.float32(history["return"][0])
    assert str(history["return"][0]) in (tmp_path / "csv").read_text()
    callback = tfmeta.callbacks.CSVLogger(tmp_path / "other", episodes=tasks)
    with pytest.raises(ValueError, match="Expected no episodes to look at: RL2 is a policy"):
        learner.fit(tasks, steps_per_epoch=2, callbacks=[callback], verbose=0)


@pytest.mark.parametrize(("save_freq", "count"), [("epoch", None), (1, None), (2, 32)])
def test_a_run_that_was_stopped_goes_on_with_the_same_numbers(save_freq, count, tmp_path):
    """Stopped at the end of an epoch: what comes next are the tasks of the next one."""
    tasks = ENVIRONMENT.tasks(meta_batch_size=8, count=count)
    whole = made()
    whole.fit(tasks, epochs=2, steps_per_epoch=2, verbose=0)
    for epochs in (1, 2):
        learner = made()
        backup = tfmeta.callbacks.BackupAndRestore(
            str(tmp_path / "backup"), save_freq, delete_checkpoint=False
        )
        learner.fit(tasks, epochs=epochs, steps_per_epoch=2, callbacks=[backup], verbose=0)
    for a, b in zip(whole.variables, learner.variables, strict=True):
        np.testing.assert_array_equal(a, b)


def lived(learner, environment, change=None, at=0):
    """Log chances of a rollout whose rewards are changed at one step."""
    learner.prepare(environment.tasks(meta_batch_size=1, count=1))
    x = support_of(environment.parameters([0]), 3).x
    if change is not None:
        step, calls = environment.step, []

        def other(*arguments):
            state, reward, done = step(*arguments)
            calls.append(1)
            return state, reward + change * (len(calls) == at + 1), done

        environment.step = other
    trajectories, state = learner.roll(x["task"], x["row"])
    environment.__dict__.pop("step", None)
    return np.array(trajectories.extra[1]), np.array(state)


def test_the_state_lives_across_episodes_and_a_later_reward_changes_nothing_before_it():
    environment = grid_navigation(size=3, horizon=3, episodes=2)
    learner = made(environment)
    values, state = lived(learner, environment)
    for at in (1, 2):
        changed, other_state = lived(learner, environment, 5.0, at)
        np.testing.assert_array_equal(changed[: at + 1], values[: at + 1])
        # What is changed in the first episode is known in the second.
        assert np.all(np.abs(changed[3:] - values[3:]).max(axis=0) > 1e-6)
        assert not np.allclose(other_state, state)


def test_the_state_is_new_in_a_new_task():
    learner = made()
    learner.fit(ENVIRONMENT.tasks(meta_batch_size=4), steps_per_epoch=1, verbose=0)
    one, other = tf.constant([[0.0, 1.0]]), tf.constant([[1.0, 0.0]])
    alone = learner.adapt(support_of(other))
    learner.adapt(support_of(one))
    for a, b in zip(learner.adapt(support_of(other)), alone, strict=True):
        np.testing.assert_array_equal(a, b)
    # Beside another task in a meta-batch, too; and before its first pull no task is another's.
    both, rows = tf.concat([one, other], axis=0), tf.zeros(2, tf.int64)
    trajectories, state = learner.roll(both, rows)
    np.testing.assert_allclose(state[1:], alone.state, rtol=1e-6)
    values = np.array(trajectories.extra[1])
    np.testing.assert_array_equal(values[0, 0], values[0, 1])
    assert np.all(values[-1, 0] != values[-1, 1])


def test_the_gradient_is_the_estimators():
    """Against the gradient of the same sum, made of a second pass over what was lived through."""
    learner = made(entropy_weight=0.1, value_weight=0.3, reward_weight=0.2)
    tasks = ENVIRONMENT.tasks(meta_batch_size=5, count=5)
    learner.prepare(tasks)
    query = next(iter(tasks)).query
    with tf.GradientTape() as tape:
        trajectories = learner.live(query, True)
        objective, _ = learner.objective(trajectories)
    found = tape.gradient(objective, learner.trainable_variables)
    to_come = np.cumsum(0.99 ** np.arange(6))[::-1, np.newaxis]  # the critic's is per step
    values = np.array(trajectories.extra[1], "float64") * to_come
    rewards = np.array(trajectories.rewards, "float64")
    advantages = np.zeros_like(values)
    for t in reversed(range(6)):
        error = rewards[t] + 0.99 * (values[t + 1] if t < 5 else 0) - values[t]
        advantages[t] = error + (0.99 * 0.3 * advantages[t + 1] if t < 5 else 0)
    scaled = (advantages - advantages.mean()) / advantages.std()
    with tf.GradientTape() as tape:
        state, experience, total = (
            tf.zeros((5, 16)),
            (tf.zeros(5, tf.int32), *[tf.zeros(5)] * 2),
            0.0,
        )
        for t in range(6):
            seen = trajectories.observations[t]
            choices, value, state, told = learner.act(seen, state, experience)
            told = tf.gather(told, trajectories.actions[t], batch_dims=1)
            surprise = tf.square(told - trajectories.rewards[t]) / rewards.var()
            logs = tf.nn.log_softmax(choices)
            log_chance = tf.gather(logs, trajectories.actions[t], batch_dims=1)
            entropy = -tf.reduce_sum(tf.exp(logs) * logs, axis=-1)
            value *= to_come[t].astype("float32")
            error = tf.square(value - (advantages[t] + values[t]).astype("float32"))
            error /= advantages.var()
            total += tf.reduce_mean(
                0.3 * error - scaled[t].astype("float32") * log_chance - 0.1 * entropy
            )
            total += 0.2 * tf.reduce_mean(surprise)
            ended = tf.fill([5], float(t == 5))
            experience = trajectories.actions[t], trajectories.rewards[t], ended
        total /= 6
    expected = tape.gradient(total, learner.trainable_variables)
    np.testing.assert_allclose(objective, total, rtol=1e-4)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)


def test_actions_of_numbers():
    environment = point_navigation(horizon=3)
    learner = made(environment)
    history = learner.fit(environment.tasks(2, 4), steps_per_epoch=2, verbose=0).history
    assert np.isfinite(history["return"]).all()
    assert learner.log_scale.shape == (2,)
    trajectories = learner.live(next(iter(environment.tasks(2, 4))).query, False)
    np.testing.assert_allclose(trajectories.extra[2], np.log(2 * np.pi * np.e), rtol=0.05)
    assert trajectories.actions.shape == (3, 8, 2)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda: RL2("CartPole-v1"), "Expected an environment"),
        (lambda: RL2(ENVIRONMENT, units=0), "Expected units"),
        (lambda: RL2(ENVIRONMENT, discount=1.5), "Expected discount <= 1"),
        (lambda: RL2(ENVIRONMENT, decay=1.5), "Expected decay <= 1"),
        (lambda: RL2(ENVIRONMENT, reward_weight=-1.0), "Expected reward_weight"),
        (lambda: RL2(point_navigation(), reward_weight=1.0), "reward of each .* Received: 1.0"),
        (lambda: VariBAD(ENVIRONMENT, reward_weight=1.0), "VariBAD has a decoder of rewards"),
        (
            lambda: made().fit(bandits(arms=3).tasks(), steps_per_epoch=1),
            r"Expected tasks of Bandits\(arms=2, pulls=6\)",
        ),
        (
            lambda: made().fit(tfmeta.episodes.sinusoid(), steps_per_epoch=1),
            r"Expected tasks of Bandits\(arms=2, pulls=6\)",
        ),
        (
            lambda: evaluate_returns(made(), ENVIRONMENT.tasks(), episode=1),
            "Expected episode < 1",
        ),
        (lambda: evaluate_returns(made(), ENVIRONMENT.tasks(count=2), 3), "at least 3 tasks"),
        (
            lambda: evaluate_returns(made(), ENVIRONMENT.tasks(), inner_steps=1),
            "Expected no inner_steps: RL2 takes none",
        ),
        (
            lambda: evaluate_returns(MAML(tfmeta.networks.mlp((1,), 1)), ENVIRONMENT.tasks()),
            "Expected a policy",
        ),
        (
            lambda: tfmeta.evaluation.evaluate_episodes(made(), ENVIRONMENT.tasks(), 2),
            "Received: RL2, a policy, .*evaluate_returns",
        ),
        (lambda: made().adapted_model(None), "Expected a policy without a memory"),
        (lambda: RL2(NoSteps((0, 0))), "Expected horizon of the environment"),
        (lambda: made().export("policy"), "Expected a learner that learns from examples"),
    ],
)
def test_bad_input(run, message):
    with pytest.raises(ValueError, match=message):
        run()


class Broken(type(point_navigation())):
    """Pays what is no number where the goal is on the right."""

    def step(self, task, state, action, bits):
        state, reward, done = super().step(task, state, action, bits)
        return state, tf.where(task[:, 0] > 0, np.nan, reward), done


@pytest.mark.parametrize(
    "kind", [RL2, *(pytest.param(kind, marks=pytest.mark.slow) for kind in (MAMLTRPO, MAMLPPO))]
)
def test_rewards_that_are_no_numbers_change_no_weight_and_are_no_score(kind):
    learner = kind(Broken(horizon=2))
    learner.compile(*["adam"] * (kind is not MAMLTRPO))
    tasks = learner.environment.tasks(2, 4)
    learner.prepare(tasks)
    before = [np.array(v) for v in learner.trainable_variables]
    with pytest.raises(ValueError, match=r"Expected finite observations and rewards of Broken\("):
        learner.fit(tasks, steps_per_epoch=1, verbose=0)
    for a, b in zip(before, learner.trainable_variables, strict=True):
        np.testing.assert_array_equal(a, b)
    goals = learner.environment.parameters(range(4))[:, 0].numpy()
    message = f"Received: a return of nan in task {np.argmax(goals > 0)} of the dataset"
    with pytest.raises(FloatingPointError, match=message):
        evaluate_returns(learner, tasks, 4)
