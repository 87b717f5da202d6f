"""VariBAD: a belief that lives through a task's episodes, and is told by all of its rewards."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmeta
from tfmeta.environments import bandits, grid_navigation, point_navigation
from tfmeta.evaluation import plot_belief
from tfmeta.evaluation.pictures import belief_plots
from tfmeta.learners import VariBAD

GRID = grid_navigation(size=3, horizon=2, episodes=2)


def made(environment=GRID, **arguments):
    keras.utils.set_random_seed(0)
    sizes = {"units": 8, "latent_size": 2, "policy_hidden": (6,), "decoder_hidden": (7,)}
    learner = VariBAD(environment, **(sizes | {"draws": 4} | arguments))
    learner.compile(keras.optimizers.Adam(0.02))
    return learner


def lived(learner, rows=3, change=None, at=0):
    """A trial whose rewards are changed at one step: `Trajectories`."""
    environment = learner.environment
    learner.prepare(environment.tasks(meta_batch_size=1, count=1))
    task = tf.repeat(environment.parameters([0]), rows, axis=0)
    part = tfmeta.Examples(
        {"task": task[None], "row": tf.range(rows, dtype=tf.int64)[None]}, tf.zeros((1, rows))
    )
    if change is None:
        return learner.live(part, True)
    step, calls = environment.step, []

    def other(*arguments):
        state, reward, done = step(*arguments)
        calls.append(1)
        return state, reward + change * (len(calls) == at + 1), done

    environment.step = other
    found = learner.live(part, True)
    environment.__dict__.pop("step", None)
    return found


def test_the_belief_lives_across_episodes_and_a_later_reward_changes_nothing_before_it():
    learner = made()
    before = lived(learner).extra
    after = lived(learner, change=5.0, at=1).extra
    for part in (1, 3, 4):  # values, means and scales of the belief
        a, b = np.array(before[part]), np.array(after[part])
        np.testing.assert_array_equal(a[:2], b[:2])
        # What is changed in the first episode is known in the second.
        assert np.all(np.abs(a[2:] - b[2:]).reshape(2, 3, -1).max(axis=(0, 2)) > 1e-6)


def gaussian_kl(mean, scale, other_mean, other_scale, rng):
    """By a million draws."""
    x = mean + scale * rng.normal(size=(1_000_000, len(mean)))

    def log(mean, scale):
        return (-0.5 * ((x - mean) / scale) ** 2 - np.log(scale)).sum(axis=1)

    return (log(mean, scale) - log(other_mean, other_scale)).mean()


def test_the_bound_is_that_of_numpy():
    learner = made(reward_scale=0.6)
    learner.prepare(GRID.tasks(meta_batch_size=1, count=1))
    trial = lived(learner)
    trial = trial._replace(mask=tf.constant(np.arange(12).reshape(4, 3) % 4 > 0, tf.float32))
    steps, noise = (
        np.array([[0, 1, 3], [3, 0, 2]], "int32"),
        np.random.default_rng(0).normal(size=(2, 3, 2)),
    )
    found = learner.bounds(trial, tf.constant(steps), tf.constant(noise, tf.float32))
    mean, scale = (np.array(t, "float64") for t in trial.extra[3:5])
    weights = [np.array(v, "float64") for layer in learner.decoder_layers for v in layer.weights]
    rng = np.random.default_rng(1)
    for d, n in np.ndindex(2, 3):
        t = steps[d, n]
        latent = mean[t, n] + scale[t, n] * noise[d, n]
        likelihood = 0.0
        for i in range(4):
            action = np.eye(5)[trial.actions[i, n]]
            inputs = np.concatenate([latent, trial.observations[i, n], action])
            hidden = np.maximum(inputs @ weights[0] + weights[1], 0)
            error = (trial.rewards[i, n] - (hidden @ weights[2] + weights[3])[0]) / 0.6
            each = -0.5 * error**2 - np.log(0.6 * np.sqrt(2 * np.pi))
            likelihood += trial.mask[i, n] * each
        before = (mean[t - 1, n], scale[t - 1, n]) if t else (np.zeros(2), np.ones(2))
        divergence = gaussian_kl(mean[t, n], scale[t, n], *before, rng)
        np.testing.assert_allclose(found[d, n], likelihood - divergence, atol=0.01)


def test_the_policy_does_not_teach_the_encoder_nor_the_bound_the_policy():
    learner = made()
    learner.prepare(GRID.tasks(meta_batch_size=1, count=1))
    with tf.GradientTape(persistent=True) as tape:
        trial = lived(learner)
        policy = super(VariBAD, learner).objective(trial)[0]
        bound = tf.reduce_mean(learner.bounds(trial, *trial.extra[5:]))
    of_encoder = [*learner.memory.trainable_weights, *learner.beliefs.trainable_weights]
    of_policy = [*learner.policy_layers[0].weights, *learner.actor.weights, *learner.critic.weights]
    assert all(g is None for g in tape.gradient(policy, of_encoder))
    assert all(g is None for g in tape.gradient(bound, of_policy))
    assert all(np.abs(g).max() > 0 for g in tape.gradient(bound, of_encoder))
    assert all(np.abs(g).max() > 0 for g in tape.gradient(policy, of_policy))


def test_it_infers_the_task_and_is_saved(tmp_path):
    """What the decoder tells of two arms, against their exact posterior."""
    environment = bandits(arms=2, pulls=6)
    learner = made(
        environment, units=16, decoder_hidden=(16,), draws=6, entropy_weight=0.1, reward_scale=0.5
    )
    tasks = environment.tasks(meta_batch_size=200)
    history = learner.fit(tasks, epochs=2, steps_per_epoch=300, verbose=0).history
    assert set(history) == {"loss", "return", "entropy"}
    assert history["loss"][-1] < history["loss"][0]
    assert history["return"][-1] > 3.05  # 3.00 at random, and most choices are kept open
    rows = tf.range(500, dtype=tf.int64)
    task = environment.parameters(rows, seed=5)
    trial, _ = tf.function(learner.roll)(task, rows)
    # The belief at the last step has read five pulls: the posterior of each arm is a Beta.
    pulled = np.eye(2)[np.array(trial.actions[:5])]
    paid = (pulled * np.array(trial.rewards[:5])[..., None]).sum(axis=0)
    exact = (paid + 1) / (pulled.sum(axis=0) + 2)
    latent, nothing = trial.extra[3][-1], tf.zeros((500, 1))
    told = [learner.rewards(latent, nothing, tf.fill([500], arm)).numpy() for arm in range(2)]
    error = np.abs(np.stack(told, axis=1) - exact).mean()
    assert error < 0.6 * np.abs(0.5 - exact).mean()
    learner.save(tmp_path / "policy.keras")
    loaded = keras.models.load_model(tmp_path / "policy.keras")
    test = environment.tasks(2, 10, seed=3, count=30)
    found = [tfmeta.evaluation.evaluate_returns(x, test, 25).scores for x in (learner, loaded)]
    np.testing.assert_array_equal(*found)
    support = tfmeta.Examples({"task": task[:3], "row": rows[:3]}, tf.zeros(3))
    choices = learner.predict_query(learner.adapt(support), np.zeros((3, 1), "float32"))
    assert choices.shape == (3, 2)


def test_actions_of_numbers_and_features():
    environment = point_navigation(horizon=3)
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4, "tanh")])
    learner = made(environment, network=network)
    history = learner.fit(environment.tasks(2, 4), steps_per_epoch=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_a_picture_of_the_belief(tmp_path):
    pytest.importorskip("matplotlib")
    learner = made()
    learner.prepare(GRID.tasks(meta_batch_size=1, count=1))
    figure = plot_belief(learner, 3, (0, 1, 3), tmp_path / "belief.png")
    assert (tmp_path / "belief.png").read_bytes().startswith(b"\x89PNG")
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["episode 1, step 0", "episode 1, step 1", "episode 2, step 1"]
    goal, cells, expected = belief_plots.expected_rewards(learner, 3)
    np.testing.assert_array_equal(goal, GRID.parameters([3], 1)[0])
    assert cells.shape == (4, 2)
    assert expected.shape == (4, 3, 3)
    # One draw at its mean is what the decoder tells.
    learner.beliefs.bias.assign([0.5, -0.5, -30.0, -30.0])
    _, _, expected = belief_plots.expected_rewards(learner, 3)
    trial, _ = learner.roll(GRID.parameters([3], 1), tf.constant([3], tf.int64))
    told = learner.rewards(trial.extra[3][2], np.array([[2.0, 1.0]], "float32"), [0])
    np.testing.assert_allclose(expected[2, 2, 1], told[0], atol=0.02)
    with pytest.raises(ValueError, match=r"Expected steps 0\.\.3"):
        plot_belief(learner, steps=(4,))
    with pytest.raises(ValueError, match="Expected a VariBAD for"):
        plot_belief(made(bandits()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"units": 0}, "Expected units"),
        ({"latent_size": 0}, "Expected latent_size"),
        ({"draws": 0}, "Expected draws"),
        ({"reward_scale": 0}, "Expected reward_scale"),
        ({"policy_hidden": 3}, "Expected policy_hidden to be a tuple"),
        ({"decoder_hidden": (0,)}, "Expected each width in decoder_hidden"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        made(**arguments)
