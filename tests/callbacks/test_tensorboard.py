"""What `TensorBoard` and `CSVLogger` show of a training run."""

import csv
import sys
import time

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf

import tfmeta
from tfmeta.callbacks import CSVLogger, TensorBoard
from tfmeta.callbacks.measures import learned_rates, measure
from tfmeta.learners import ALFA, MAML, MAMLPlusPlus, MetaSGD, ProtoNet


def compiled(learner, loss="mse", **kwargs):
    learner.compile(keras.optimizers.SGD(0.05), loss, **kwargs)
    return learner


def on_a_line(learner_of=MAML, **kwargs):
    learner = compiled(learner_of(tasks.line(), inner_learning_rate=0.1, **kwargs))
    episodes = tasks.regression(tasks=1)
    learner.prepare(tasks.dataset(episodes, 1))
    return learner, episodes


def by_hand(episodes, steps):
    """Losses and gradients of gradient descent on a line, in NumPy."""
    (sx, sy, _), (qx, qy, _) = (map(lambda t: t[0].numpy().astype(float), p) for p in episodes)
    w, losses, norms = np.array([0.5, 0.2]), [], []
    for _ in range(steps + 1):
        error = sx[:, 0] * w[0] + w[1] - sy[:, 0]
        gradient = 2 * np.array([(error * sx[:, 0]).mean(), error.mean()])
        query = ((qx[:, 0] * w[0] + w[1] - qy[:, 0]) ** 2).mean()
        losses.append(((error**2).mean(), query))
        norms.append(np.linalg.norm(gradient))
        w = w - 0.1 * gradient
    return losses, norms


def test_the_numbers_of_a_line_are_those_of_numpy():
    learner, episodes = on_a_line(inner_steps=2)
    before = [np.array(v) for v in learner.variables]
    numbers, outputs = measure(learner, episodes)
    losses, norms = by_hand(episodes, 2)
    expected = {
        "query_loss/before": losses[0][1],
        "query_loss/adapted": losses[2][1],
        "support_loss/step_0": losses[0][0],
        "support_loss/step_1": losses[1][0],
        "support_loss/adapted": losses[2][0],
        "support_query_gap": losses[2][1] - losses[2][0],
        "inner_gradient_norm/step_0": norms[0],
        "inner_gradient_norm/step_1": norms[1],
        "inner_step_norm/step_0": 0.1 * norms[0],
        "inner_step_norm/step_1": 0.1 * norms[1],
    }
    for name, value in expected.items():
        np.testing.assert_allclose(numbers[name], value, rtol=1e-4, err_msg=name)
    gradients = learner.outer_gradients(episodes)[1]
    np.testing.assert_allclose(
        numbers["outer_gradient_norm"], tf.linalg.global_norm(gradients), rtol=1e-4
    )
    layers = [v for k, v in numbers.items() if k.startswith("outer_gradient_norm/")]
    np.testing.assert_allclose(np.linalg.norm(layers), numbers["outer_gradient_norm"], rtol=1e-5)
    assert outputs.shape == (4, 1)
    for old, variable in zip(before, learner.variables, strict=True):
        np.testing.assert_array_equal(old, np.array(variable))


def test_learned_rates_have_a_name_for_each_step_and_layer():
    assert learned_rates(on_a_line(MAML)[0]) == {}
    for made, steps in ((MetaSGD, [""]), (MAMLPlusPlus, ["step_0/", "step_1/"])):
        learner = on_a_line(made, inner_steps=2)[0]
        layer = learner.network.layers[-1].path
        names = [f"inner_learning_rate/{step}{layer}" for step in steps]
        found = learned_rates(learner)
        assert list(found) == names
        np.testing.assert_allclose(list(found.values()), 0.1, rtol=1e-6)
    learner.rule.rates.assign([[0.3], [-0.4]])
    np.testing.assert_allclose(list(learned_rates(learner).values()), [0.3, -0.4], rtol=1e-6)
    assert len(learned_rates(on_a_line(ALFA, inner_steps=2)[0])) == 2


def read(folder):
    module = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="needs tensorboard"
    )
    events = module.EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    return events


def numbers_of(events, tag):
    return [float(tf.make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)]


def test_fit_writes_numbers_pictures_and_the_configuration(tmp_path):
    learner = ProtoNet(tasks.convolutional(4, norm=False))
    compiled(learner, tasks.CROSSENTROPY, metrics=["accuracy"])
    data = tasks.dataset(tasks.images(tasks=2))
    held_out = tasks.dataset(tasks.images(tasks=1, seed=1), 1)
    board = TensorBoard(tmp_path / "logs", every=2)
    table = CSVLogger(tmp_path / "run.csv", episodes=held_out)
    learner.fit(
        data, epochs=3, steps_per_epoch=3, validation_data=held_out, verbose=0,
        callbacks=[board, table],
    )  # fmt: skip
    events = read(tmp_path / "logs" / "train")
    assert len(numbers_of(events, "epoch_loss")) == 3  # Keras's own
    losses = numbers_of(events, "query_loss/adapted")
    assert losses[0] == losses[1] != losses[2]  # looked at in each second epoch
    gap = numbers_of(events, "support_query_gap")[0]
    np.testing.assert_allclose(
        gap, losses[0] - numbers_of(events, "support_loss/adapted")[0], atol=1e-6
    )
    assert numbers_of(events, "time_to_first_step")[0] > 0
    assert all(rate > 0 for rate in numbers_of(events, "episodes_per_second"))
    assert not any("inner" in tag for tag in events.Tags()["tensors"])
    text = events.Tensors("configuration")[0].tensor_proto.string_val[0].decode()
    assert "| learner | ProtoNet |" in text
    assert f"| tfmeta | {tfmeta.__version__} |" in text
    assert "| optimizer learning_rate | 0.05" in text
    pictures = events.Tensors("episode")
    assert [event.step for event in pictures] == [0, 2]
    picture = tf.io.decode_png(pictures[0].tensor_proto.string_val[2])
    assert picture.shape == (3 * 14, 14 + 7 + 2 * 14, 3)
    rows = list(csv.DictReader((tmp_path / "run.csv").open()))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert "val_loss" in rows[0]
    assert "val_support_query_gap" not in rows[0]
    assert float(rows[0]["query_loss/adapted"]) != losses[0]  # of the episodes given
    assert len({row["query_loss/adapted"] for row in rows}) == 3


def test_fit_of_learned_rates_writes_them_and_what_each_inner_step_does(tmp_path):
    learner = on_a_line(MetaSGD, inner_steps=2)[0]
    board, table = TensorBoard(tmp_path / "logs"), CSVLogger(tmp_path / "run.csv")
    data = tasks.dataset(tasks.regression(tasks=2))
    learner.fit(data, epochs=2, steps_per_epoch=2, verbose=0, callbacks=[board, table])
    events = read(tmp_path / "logs" / "train")
    rows = list(csv.DictReader((tmp_path / "run.csv").open()))
    layer = learner.network.layers[-1].path
    looked = [
        "query_loss/before",
        "query_loss/adapted",
        "support_loss/step_1",
        "outer_gradient_norm",
    ]
    looked += [f"inner_{kind}_norm/step_{i}" for kind in ("gradient", "step") for i in (0, 1)]
    for tag in [*looked, f"inner_learning_rate/{layer}"]:
        column = [float(row[tag]) for row in rows]
        assert all(value > 0 for value in column), tag
        np.testing.assert_allclose(numbers_of(events, tag), column, rtol=1e-5, err_msg=tag)
    for tag, column in (("epoch_loss", "loss"), ("epoch_loss_before", "loss_before")):
        values = [float(row[column]) for row in rows]
        np.testing.assert_allclose(numbers_of(events, tag), values, rtol=1e-5)
    assert float(rows[0]["loss_before"]) > float(rows[0]["loss"])
    rates = learned_rates(learner)[f"inner_learning_rate/{layer}"]
    np.testing.assert_allclose(float(rows[-1][f"inner_learning_rate/{layer}"]), rates, rtol=1e-5)


def test_frames_tell_right_from_wrong():
    from tfmeta.evaluation.pictures.images import as_picture, holds_pictures

    episode = tasks.images(tasks=1, ways=3, shots=1, queries=1)
    outputs = np.eye(3)[[[0, 2, 2]]]
    picture = as_picture(episode, outputs)
    frames = [tuple(picture[14 * row, -1]) for row in range(3)]
    assert frames == [(0, 114, 178), (213, 94, 0), (0, 114, 178)]
    assert tuple(picture[0, 0]) == (255, 255, 255)
    assert holds_pictures(episode)
    assert not holds_pictures(tasks.regression())


def test_without_tensorboard_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ImportError, match=r"pip install tfmeta\[watch\]"):
        TensorBoard("logs")


@pytest.mark.parametrize("callback", [TensorBoard, CSVLogger])
def test_bad_arguments(callback, tmp_path):
    with pytest.raises(ValueError, match=r"Expected episodes to be a tf\.data\.Dataset"):
        callback(tmp_path / "x", episodes=[1])
    with pytest.raises(ValueError, match="Expected every to be an integer of at least 1"):
        callback(tmp_path / "x", every=0)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=f"keras.callbacks.{callback.__name__} for it"):
        model.fit(np.ones((2, 1)), np.ones((2, 1)), callbacks=[callback(tmp_path / "x")], verbose=0)


def timed(base):
    """A callback that adds up the processor time of its hooks."""

    class Timed(base):
        spent = 0.0

        def on_epoch_begin(self, *args, **kwargs):
            self._timed(super().on_epoch_begin, *args, **kwargs)

        def on_epoch_end(self, *args, **kwargs):
            self._timed(super().on_epoch_end, *args, **kwargs)

        def on_train_batch_begin(self, *args, **kwargs):
            self._timed(super().on_train_batch_begin, *args, **kwargs)

        def on_train_batch_end(self, *args, **kwargs):
            self._timed(super().on_train_batch_end, *args, **kwargs)

        def _timed(self, hook, *args, **kwargs):
            start = time.process_time()
            hook(*args, **kwargs)
            self.spent += time.process_time() - start

    return Timed


@pytest.mark.slow
@pytest.mark.parametrize("pictures", [False, True])
def test_it_costs_at_most_three_percent_of_the_steps(pictures, tmp_path):
    pytest.importorskip("tensorboard")
    if pictures:
        data = tfmeta.datasets.glyphs("train")
        data = tfmeta.episodes.classification(data, ways=5, shots=1, queries=5)
        network = tfmeta.networks.conv4((28, 28, 1), 5, filters=32, downsample="stride")
        learner, steps = MAML(network, inner_learning_rate=0.4), 100
        learner.compile("adam", tasks.CROSSENTROPY, metrics=["accuracy"])
    else:
        data, steps = tfmeta.episodes.sinusoid(shots=10), 2000
        learner = compiled(MAML(tfmeta.networks.mlp((1,), 1)))
    callback = timed(TensorBoard)(tmp_path / "logs")
    # Both are traced here, which is no cost of a step.
    learner.fit(data, steps_per_epoch=10, callbacks=[callback], verbose=0)
    callback.spent, start = 0.0, time.process_time()
    learner.fit(data, epochs=3, steps_per_epoch=steps, callbacks=[callback], verbose=0)
    assert callback.spent <= 0.03 * (time.process_time() - start - callback.spent)
