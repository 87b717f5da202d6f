"""What gradient policies share: estimators, advantages, the inner step, files."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from learners.policies.small_policies import ARMS, PLANE, NoSteps, first, made, tabular
from learners.policies.two_steps import TwoSteps, gradient_of

import tfmeta
from tfmeta.engine.checks.doubts import check_gain
from tfmeta.evaluation import evaluate_returns
from tfmeta.learners import MAMLTRPO, ProMP
from tfmeta.learners.policies.experience import baseline_features

RATE = 3.0


def scale_of(experience, environment):
    """What advantages were divided by: at the first step one baseline is taken from all returns."""
    first, second = np.array(experience.actions[0])
    returns = np.array(environment.first)[first] + np.array(environment.second)[first, second]
    high, low = returns.argmax(), returns.argmin()
    advantages = np.array(experience.advantages[0, 0])
    return (returns[high] - returns[low]) / (advantages[high] - advantages[low])


def error_of(estimator, environment, rows=400_000):
    """Of the meta-gradient of many rows, relative to that of the closed form."""
    learner = MAMLTRPO(
        environment, tabular(), inner_learning_rate=RATE, estimator=estimator, discount=1.0
    )
    episode = first(environment.tasks(rows, 1, count=1))

    @tf.function
    def run():
        _, supports, query = learner._live(episode)
        start = learner.initial_weights()
        with tf.GradientTape() as tape:
            tape.watch(start)
            loss, _ = learner._loss_and_kl(start, supports, query)
        return -tape.gradient(loss, start)[0], supports[0], query

    found, support, query = run()
    # A mean over two steps, of advantages in units of their deviation.
    rate = RATE / (2 * scale_of(support, environment))

    def adapted_return(logits):
        stepped = logits + rate * gradient_of(environment.expected_return, logits)
        return environment.expected_return(stepped)

    logits = np.array(learner.network.layers[0].kernel, "float64")
    expected = gradient_of(adapted_return, logits) / (2 * scale_of(query, environment))
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def test_the_meta_gradient_is_that_of_the_expected_return():
    # What the second action pays depends on the first.
    environment = TwoSteps(((1.0, -1.0), (-0.5, 2.0)))
    assert error_of("dice", environment) < 0.02
    assert error_of("naive", environment) > 0.1
    assert error_of("lvc", environment) > 0.2
    # Where no later action matters, low variance curvature leaves nothing out.
    environment = TwoSteps(((1.0, 1.0), (-0.5, -0.5)))
    assert error_of("lvc", environment) < 0.02
    assert error_of("naive", environment) > 0.1


def test_advantages_against_numpy():
    """Baseline, generalised advantages and their scale, with rows that are done early."""
    learner = made(discount=0.9, decay=0.8, deviation=0.125)
    goals = np.array([[0.02, 0.0], [0.3, -0.2]])
    np.testing.assert_allclose(np.exp(learner.log_scale), [0.125, 0.125], rtol=1e-5)
    part = first(PLANE.tasks(50, 2, seed=5)).support
    task = tf.repeat(tf.constant(goals, tf.float32)[:, tf.newaxis], 50, axis=1)
    part = part._replace(x={"task": task, "row": part.x["row"]})
    lived, found = learner.experience(None, part)
    mask = np.array(lived.mask).reshape(6, 2, 50)
    assert 0 < (1 - mask).sum() < mask.sum()
    rewards = np.array(lived.rewards, "float64").reshape(6, 2, 50)
    seen = np.array(lived.observations, "float64").reshape(6, 2, 50, 2)
    for i in range(2):
        real = mask[:, i] > 0
        time = np.broadcast_to(np.arange(6)[:, None] / 100, real.shape)
        features = np.stack(
            [*np.moveaxis(seen[:, i], -1, 0), *np.moveaxis(seen[:, i] ** 2, -1, 0)]
            + [time**p for p in range(4)], axis=-1,
        )  # fmt: skip
        returns, later = np.zeros_like(real, "float64"), 0.0
        for t in reversed(range(6)):
            later = returns[t] = rewards[t, i] + 0.9 * later
        x, y = features[real], returns[real]
        weights = np.linalg.solve(x.T @ x + 1e-5 * np.eye(8), x.T @ y)
        values = np.where(real, features @ weights, 0.0)
        advantages, later = np.zeros_like(returns), 0.0
        for t in reversed(range(6)):
            following = values[t + 1] if t < 5 else 0.0
            error = rewards[t, i] + 0.9 * following - values[t]
            later = advantages[t] = error + 0.9 * 0.8 * later
        expected = (advantages - advantages[real].mean()) / advantages[real].std()
        np.testing.assert_allclose(
            found.advantages[i], np.where(real, expected, 0.0), rtol=1e-3, atol=2e-4
        )
    assert baseline_features(tf.zeros((3, 1, 5))).shape == (3, 1, 14)


def test_an_inner_step_is_reinforce_by_hand():
    """On logits of a table: rate times the mean of `A (one-hot - chances)`, place by place."""
    environment = TwoSteps(((1.0, -1.0), (-0.5, 2.0)))
    learner = MAMLTRPO(environment, tabular(), inner_learning_rate=(2.0, 1.0), inner_steps=2)
    support = tf.nest.map_structure(lambda t: t[0], first(environment.tasks(30, 1)).support)
    before = [np.array(v) for v in learner.variables]
    path = learner.adaptation_path(support)
    weights = before[0]
    batch = tf.nest.map_structure(lambda t: t[tf.newaxis], support)
    for step, rate in enumerate((2.0, 1.0)):
        _, found = learner.experience(
            [tf.constant(weights)[tf.newaxis]] if step else None, batch, step
        )
        chances = tf.nn.softmax(weights).numpy()
        change = np.zeros_like(weights)
        for t, row in np.ndindex(2, 30):
            place = int(np.argmax(found.observations[0, t, row]))
            error = np.eye(2)[found.actions[0, t, row]] - chances[place]
            change[place] += found.advantages[0, t, row].numpy() * error / 60
        weights = weights + rate * change
        np.testing.assert_allclose(path[step + 1].weights[0], weights, rtol=1e-4, atol=1e-5)
    for old, new in zip(before, learner.variables, strict=True):
        np.testing.assert_array_equal(old, new)
    adapted = learner.adapt(support)
    np.testing.assert_allclose(adapted.weights[0], weights, rtol=1e-4, atol=1e-5)
    places = np.eye(3, dtype="float32")
    for outputs in (
        learner.predict_query(adapted, places), learner.adapted_model(support)(places)
    ):  # fmt: skip
        np.testing.assert_allclose(outputs, weights, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="Expected inner_steps"):
        learner.adapt(support, inner_steps=-1)


@pytest.fixture(scope="module")
def trained():
    """Of each class, one that has taken a few outer steps, traced once, and its history."""
    found = {}
    for cls, environment in ((MAMLTRPO, PLANE), (ProMP, ARMS)):
        learner, traces = made(cls, environment), []
        step = learner.train_step
        learner.train_step = lambda e, step=step, traces=traces: (traces.append(1), step(e))[1]
        tasks = environment.tasks(10, 4)
        history = learner.fit(tasks, epochs=2, steps_per_epoch=2, verbose=0).history
        assert len(traces) == 1
        found[cls] = learner, history
    return found


@pytest.mark.parametrize("cls", [MAMLTRPO, ProMP])
def test_logs_files_and_evaluation(cls, trained, tmp_path):
    learner, history = trained[cls]
    assert set(history) == {"loss", "return", "return_before", "kl", "entropy"}
    assert all(np.isfinite(values).all() for values in history.values())
    if cls is MAMLTRPO:
        assert 0 < max(history["kl"]) <= learner.max_kl
    learner.save(tmp_path / "policy.keras")
    loaded = keras.models.load_model(tmp_path / "policy.keras")
    tasks = learner.environment.tasks(4, 3, seed=3, count=6)
    reports = [evaluate_returns(learner, tasks, 6, inner_steps=steps) for steps in (0, 1)]
    again = evaluate_returns(loaded, tasks, 6)
    np.testing.assert_array_equal(reports[1].scores, again.scores)
    assert not np.array_equal(reports[0].scores, reports[1].scores)
    logs = loaded.evaluate(tasks, verbose=0, return_dict=True)
    np.testing.assert_allclose(logs["return"], again.mean, rtol=1e-5)
    loaded.fit(tasks, verbose=0)  # the optimizer is in the file
    check_gain(learner, np.zeros(4), 200)  # what a long `fit` asks


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda: MAMLTRPO(ARMS, tfmeta.networks.mlp(1, 2)), r"with 3 outputs \(logits"),
        (lambda: MAMLTRPO(PLANE, tfmeta.networks.mlp(2, 5)), r"with 2 outputs \(means"),
        (lambda: MAMLTRPO(PLANE, tfmeta.networks.mlp(3, 2)), r"observations \[rows, 2\]"),
        (lambda: ProMP(PLANE, inner_steps=-1), "Expected inner_steps to be an integer"),
        (lambda: ProMP(PLANE, inner_learning_rate=()), "Expected inner_learning_rate"),
        (lambda: ProMP(PLANE, inner_learning_rate=(0.1, 0)), "Expected inner_learning_rate > 0"),
        (lambda: ProMP(PLANE, estimator="exact"), "Expected estimator in"),
        (lambda: ProMP(PLANE, decay=1.5), "Expected decay <= 1"),
        (lambda: ProMP(PLANE, deviation=0), "Expected deviation > 0"),
        (lambda: ProMP(ARMS, deviation=0.5), "Expected no deviation: .* Received: 0.5"),
        (lambda: made().fit(PLANE.tasks(), steps_per_epoch=1), "Expected several trajectories"),
        (lambda: made().fit(ARMS.tasks(5), steps_per_epoch=1), "Expected tasks of PointNav"),
        (lambda: evaluate_returns(made(), PLANE.tasks(3), episode=1), "Expected episode < 1"),
        (lambda: MAMLTRPO(NoSteps((0, 0))), "Expected horizon of the environment"),
    ],
)
def test_bad_input(run, message):
    with pytest.raises(ValueError, match=message):
        run()
