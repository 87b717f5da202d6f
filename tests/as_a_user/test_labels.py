"""Trials with labels as users have them: in a column, one-hot, of two classes, for another loss."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf

import tfmeta
from tfmeta.learners import MAML, R2D2, Hypernetwork, ProtoNet, Reptile, SimpleShot

ONE_HOT = keras.losses.CategoricalCrossentropy(from_logits=True)
BINARY = keras.losses.BinaryCrossentropy(from_logits=True)


def vectors(ways=3, change=lambda y: y):
    """A meta-batch of two tasks of vectors; `change` maps labels `[2, rows]` to targets."""
    random, y = np.random.default_rng(0), np.tile(np.arange(ways, dtype="int32"), (2, 2))

    def examples():
        x = random.normal(size=(*y.shape, 4)).astype("float32") + y[..., None]
        return tfmeta.Examples(*map(tf.constant, (x, change(y), np.ones(y.shape, "float32"))))

    return tfmeta.Episode(examples(), examples())


def one_hot(dtype):
    return lambda y: np.eye(3, dtype=dtype)[y]


def compiled(cls, loss=tasks.CROSSENTROPY, outputs=3, **kwargs):
    learner = cls(tasks.dense(outputs, 4))
    learner.compile("sgd", loss, run_eagerly=True, **kwargs)
    return learner


def fit(learner, episodes):
    return learner.fit(tasks.dataset(episodes, 1), verbose=0).history


@pytest.mark.parametrize("cls", [MAML, Reptile, ProtoNet, R2D2, Hypernetwork])
def test_labels_in_a_column_are_labels(cls):
    found = []
    for episodes in (vectors(), vectors(change=lambda y: y[..., None])):
        learner, data = compiled(cls, metrics=["accuracy"]), tasks.dataset(episodes, 1)
        support, query = tasks.one(episodes.support), tasks.one(episodes.query)
        report = tfmeta.evaluation.evaluate_episodes(learner, data, 2, verbose=0)
        found.append(
            [
                learner.evaluate(data, verbose=0),
                learner.predict(data, verbose=0),
                learner.adapted_model(support)(query.x),
                report.scores,
                fit(learner, episodes)["loss"],
            ]
        )
    for column, flat in zip(*found, strict=True):
        np.testing.assert_allclose(column, flat, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["RelationNet", "FEAT", "ProtoMAML", "LSTMLearner"])
def test_labels_in_a_column_of_learners_that_score_or_read_them_themselves(name):
    found = []
    for change in (lambda y: y, lambda y: y[..., None]):
        keras.utils.set_random_seed(0)
        learner = compiled(getattr(tfmeta.learners, name))
        found.append(learner.test_on_batch(vectors(change=change), return_dict=True)["loss"])
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    with pytest.raises(ValueError, match=r"pass y\.argmax\(axis=-1\)"):
        learner.test_on_batch(vectors(change=one_hot("int32")))


def test_an_episode_with_labels_in_a_column_is_drawn():
    pytest.importorskip("matplotlib")
    episodes = tasks.images()
    column = tfmeta.Episode(*[e._replace(y=e.y[..., None]) for e in episodes])
    one = tfmeta.Episode(*[tasks.one(e) for e in column])
    for given in (column, one):
        figure = tfmeta.evaluation.plot_episode(given, np.eye(3)[one.query.y[:, 0]])
        assert "100" in "".join(
            t.get_text() for t in figure.findobj(lambda a: hasattr(a, "get_text"))
        )


@pytest.mark.parametrize("dtype", ["int32", "float32"])
@pytest.mark.parametrize("cls", [MAML, ProtoNet])
def test_one_hot_labels_with_a_loss_of_labels(cls, dtype):
    episodes, learner = vectors(change=one_hot(dtype)), compiled(cls)
    calls = [
        lambda: fit(learner, episodes),
        lambda: learner.evaluate(tasks.dataset(episodes, 1), verbose=0),
        lambda: learner.train_on_batch(episodes),
        lambda: learner.adapt(tasks.one(episodes.support)),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"pass y\.argmax\(axis=-1\)"):
            call()


def test_one_hot_labels_with_their_own_loss():
    expected = fit(compiled(MAML), vectors())["loss"]
    for dtype in ("int32", "float32"):
        found = fit(compiled(MAML, ONE_HOT), vectors(change=one_hot(dtype)))["loss"]
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_labels_with_a_loss_of_one_hot_rows():
    for loss in (ONE_HOT, keras.losses.CategoricalFocalCrossentropy(from_logits=True)):
        with pytest.raises(ValueError, match=r"one-hot targets.*SparseCategoricalCrossentropy"):
            fit(compiled(MAML, loss), vectors())


@pytest.mark.parametrize("loss", [ONE_HOT, BINARY, "mse"])
@pytest.mark.parametrize("cls", [ProtoNet, SimpleShot])
def test_a_learner_of_labels_with_another_loss(cls, loss):
    with pytest.raises(ValueError, match=r"a loss of class labels.*SparseCategoricalCross"):
        fit(compiled(cls, loss), vectors())


def test_labels_with_a_loss_of_numbers():
    # Three rows of three outputs: their difference would be a matrix, and nothing be said.
    for loss in ("mse", "mae", keras.losses.Huber(), BINARY):
        with pytest.raises(ValueError, match=r"shape of the outputs.*SparseCategoricalCross"):
            fit(compiled(MAML, loss), vectors())


def test_two_classes_and_one_output():
    with pytest.raises(ValueError, match=r"outputs=ways.*BinaryCrossentropy\(from_logits=True\)"):
        fit(compiled(MAML, outputs=1), vectors(2))
    # What was advised.
    history = fit(compiled(MAML, BINARY, outputs=1, metrics=["accuracy"]), vectors(2))
    assert np.isfinite(history["loss"]).all()
    assert 0 <= history["accuracy"][0] <= 1


def test_labels_of_every_step_of_a_sequence_are_labels():
    network = keras.Sequential([keras.Input((5, 2)), keras.layers.Dense(3)])
    learner = MAML(network)
    learner.compile("sgd", tasks.CROSSENTROPY, run_eagerly=True)
    random = np.random.default_rng(0)
    x = tf.constant(random.normal(size=(2, 3, 5, 2)), tf.float32)
    y = tf.constant(random.permuted(np.tile(np.arange(3), (2, 3, 2))[..., :5], axis=-1), tf.int32)
    examples = tfmeta.Examples(x, y, tf.ones((2, 3)))
    assert np.isfinite(fit(learner, tfmeta.Episode(examples, examples))["loss"]).all()


def test_targets_that_are_wider_than_the_outputs():
    episodes = vectors(change=lambda y: np.repeat(y[..., None, None] / 2, 3, axis=-1))
    with pytest.raises(ValueError, match=r"shape of the outputs.*outputs=3"):
        fit(compiled(MAML, "mse", outputs=2), episodes)
