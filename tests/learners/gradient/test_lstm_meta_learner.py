"""The LSTM meta-learner: gradient descent as a special case, NumPy, gates, outer gradients."""

import numpy as np
import pytest
import tasks
from meta_gradients import assert_gradients_of_maml, compiled, relative_error_along

import tfmeta
from tfmeta.inner import RuleOptimizer
from tfmeta.learners import LSTMMetaLearner

RATE = {"inner_learning_rate": 0.1, "inner_steps": 2}
HIDDEN = 3


def away_from_the_start(learner, seed=0):
    """The learner with parameters of its LSTM that all count."""
    random = np.random.default_rng(seed)
    for variable in learner.rule.trainable_variables:
        variable.assign(variable + 0.3 * random.normal(size=variable.shape))
    return learner


@pytest.mark.parametrize(
    ("convolutional", "first_order"),
    [
        (False, False),
        (False, True),
        pytest.param(True, False, marks=pytest.mark.slow),
    ],
)
def test_constant_gates_are_gradient_descent(convolutional, first_order):
    def learner(network):
        made = LSTMMetaLearner(network, hidden=HIDDEN, first_order=first_order, **RATE)
        made.rule.gates["forget"][-1].assign(40.0)  # its sigmoid is 1 in float64
        return made

    eager = not convolutional
    assert_gradients_of_maml(learner, convolutional, eager, first_order=first_order, **RATE)


def test_against_central_differences():
    network = tasks.dense(dtype="float64")
    learner = LSTMMetaLearner(network, hidden=HIDDEN, first_order=False, **RATE)
    learner = away_from_the_start(compiled(learner))
    episodes = tasks.regression(dtype="float64")
    assert relative_error_along(learner, episodes, step=1e-6, eager=True) < 1e-6


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def features(value):
    """`p` of one number."""
    if abs(value) >= np.exp(-10):
        return np.array([np.log(abs(value)) / 10, np.sign(value)])
    return np.array([-1, np.exp(10) * value])


def stepped_by_numpy(rule, x, y, w, steps):
    """Slope and offset after each step, one number at a time, and their gates."""
    of = {v.name: np.array(v) for v in rule.weights}
    state = [(np.zeros(HIDDEN), np.zeros(HIDDEN), *rule.starts.values()) for _ in w]
    path, gates = [np.array(w)], []
    for _ in range(steps):
        error = w[0] * x + w[1] - y
        gradient, loss, new = [np.mean(2 * error * x), np.mean(2 * error)], np.mean(error**2), []
        for i in range(2):
            h, c, forget, gate = state[i]
            parts = features(gradient[i]) @ of["from_gradient"] + features(loss) @ of["from_loss"]
            write, keep, read, cell = np.split(parts + h @ of["recurrent"] + of["bias"], 4)
            c = sigmoid(keep) * c + sigmoid(write) * np.tanh(cell)
            h = sigmoid(read) * np.tanh(c)
            forget, gate = (
                sigmoid(
                    h @ of[f"{name}_h"][:, 0] + w[i] * of[f"{name}_weight"]
                    + before * of[f"{name}_gate"] + of[f"{name}_bias"]
                )
                for name, before in (("forget", forget), ("input", gate))
            )  # fmt: skip
            state[i] = (h, c, forget, gate)
            new.append(forget * w[i] - gate * gradient[i])
        gates.append([s[2:] for s in state])
        w = new
        path.append(np.array(w))
    return path, np.array(gates)  # [T, weights, 2]


def test_steps_and_gates_are_those_of_numpy():
    learner = compiled(LSTMMetaLearner(tasks.line(), hidden=HIDDEN, **RATE))
    away_from_the_start(learner)
    support = tasks.one(tasks.regression(rows=6).support)
    x, y = support.x[:, 0], support.y[:, 0]
    expected, gates = stepped_by_numpy(learner.rule, x, y, [0.5, 0.2], 3)
    path = learner.adaptation_path(support, inner_steps=3)
    found = [[float(np.ravel(w)[0]) for w in point.weights] for point in path]
    np.testing.assert_allclose(found, expected, rtol=2e-5)
    seen = learner.gates(support, inner_steps=3)
    for i, shape in enumerate([(3, 1, 1), (3, 1)]):
        assert seen.forget[i].shape == seen.input[i].shape == shape
        np.testing.assert_allclose(np.ravel(seen.forget[i]), gates[:, i, 0], rtol=2e-5)
        np.testing.assert_allclose(np.ravel(seen.input[i]), gates[:, i, 1], rtol=2e-5)


def test_gates_start_where_they_are_told_and_are_drawn(tmp_path):
    learner = compiled(LSTMMetaLearner(tasks.dense(), forget=0.9, hidden=HIDDEN, **RATE))
    episodes = tasks.regression()
    for gates in learner.gates(tasks.one(episodes.support)):
        assert len(gates) == 6
    forget, gate = learner.gates(tasks.one(episodes.support))
    np.testing.assert_allclose(np.concatenate([g.ravel() for g in forget]), 0.9, rtol=1e-6)
    np.testing.assert_allclose(np.concatenate([g.ravel() for g in gate]), 0.1, rtol=1e-6)
    figure = tfmeta.evaluation.plot_gates(learner, episodes, tmp_path / "gates.png")
    assert (tmp_path / "gates.png").stat().st_size > 5000
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["forget gate", "input gate"]
    assert all(len(axes.lines) == 6 for axes in figure.axes)
    with pytest.raises(ValueError, match=r"Expected an LSTMMetaLearner\. Received: MAML"):
        tfmeta.evaluation.plot_gates(tfmeta.learners.MAML(tasks.dense()), episodes)


def test_bad_arguments():
    for arguments, message in (
        ({"inner_learning_rate": 1.0}, r"Expected inner_learning_rate < 1.*=1.0"),
        ({"forget": 1}, r"Expected forget < 1, a gate. Received: forget=1"),
        ({"forget": 0}, r"Expected forget > 0"),
        ({"hidden": 0}, r"Expected hidden .* at least 1. Received: hidden=0"),
    ):
        with pytest.raises(ValueError, match=message):
            LSTMMetaLearner(tasks.dense(), **arguments)
    rule = LSTMMetaLearner(tasks.dense()).rule
    with pytest.raises(ValueError, match=r"goes by gradients.*GatedSteps, which takes the loss"):
        RuleOptimizer(rule)
