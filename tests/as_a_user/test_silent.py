"""Trials of what once was silent and wrong: each did something else than it said."""

import re
import time

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf

import tfmeta
from tfmeta.learners import MAML, ProtoNet


def learner_of(outputs, loss, cls=MAML, width=4, **options):
    """A small learner that steps eagerly: nothing here is about compiled steps."""
    network = keras.Sequential([keras.Input((width,)), keras.layers.Dense(outputs)])
    learner = cls(network, **options)
    learner.compile("sgd", loss, run_eagerly=True)
    return learner


def episode_of(y, width=4, seed=0):
    """A meta-batch `[B, rows]` of random inputs, support and query, with these targets."""
    y, random = np.asarray(y), np.random.default_rng(seed)

    def examples():
        x = random.normal(size=(*y.shape[:2], width)).astype("float32")
        return tfmeta.Examples(*map(tf.constant, (x, y, np.ones(y.shape[:2], "float32"))))

    return tfmeta.Episode(examples(), examples())


# Scores.

LABELS = np.array([[0, 1, 2, 0], [2, 1, 1, 0]])
ONE_HOT = np.eye(3, dtype="float32")[LABELS]
BINARY = (LABELS[..., None] > 0).astype("float32")
LOGITS = {"from_logits": True}


@pytest.mark.parametrize(
    ("loss", "y", "outputs"),
    [
        (keras.losses.SparseCategoricalCrossentropy(**LOGITS), LABELS[..., None], 3),
        (keras.losses.CategoricalCrossentropy(**LOGITS), ONE_HOT, 3),
        (keras.losses.CategoricalCrossentropy(**LOGITS), ONE_HOT.astype("int32"), 3),
        (keras.losses.BinaryCrossentropy(**LOGITS), BINARY, 1),
        (keras.losses.BinaryCrossentropy(**LOGITS), BINARY[..., 0], 1),
        (keras.losses.BinaryFocalCrossentropy(**LOGITS), ONE_HOT, 3),
        ("hinge", BINARY, 1),
    ],
    ids=["labels [rows, 1]", "one-hot", "int one-hot", "binary", "binary [rows]", "many", "hinge"],
)
def test_episodes_are_scored_by_the_compiled_loss(loss, y, outputs):
    learner, episode = learner_of(outputs, loss), episode_of(y)
    report = tfmeta.evaluation.evaluate_episodes(learner, tasks.dataset(episode, 1), 2, verbose=0)
    assert report.score_name == "accuracy"
    for task, score in enumerate(report.scores):
        query = tasks.one(episode.query, task)
        logits = learner.predict_query(learner.adapt(tasks.one(episode.support, task)), query.x)
        logits, y = np.array(logits), query.y
        if y.shape == logits.shape and loss != "hinge" and "categorical" in loss.name:
            right = logits.argmax(-1) == y.argmax(-1)
        elif outputs == 3 and y.shape[-1] == 1:
            right = logits.argmax(-1) == y[:, 0]
        else:
            right = (logits > 0) == y.reshape(logits.shape)
        assert score == pytest.approx(right.mean())


def test_a_loss_of_probabilities_is_scored_at_one_half():
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, "sigmoid")])
    learner, episode = MAML(network), episode_of(BINARY)
    learner.compile("sgd", "binary_crossentropy", run_eagerly=True)
    report = tfmeta.evaluation.evaluate_episodes(learner, tasks.dataset(episode, 1), 2, verbose=0)
    query = tasks.one(episode.query)
    said = learner.predict_query(learner.adapt(tasks.one(episode.support)), query.x)
    assert report.scores[0] == pytest.approx(np.mean((said > 0.5) == (query.y > 0.5)))


def test_the_progress_bar_shows_the_mean_so_far(capsys):
    def slowly():  # Progbar leaves out what comes within 0.05 s of the last
        for label in (0, 1, 1):
            time.sleep(0.06)
            yield episode_of(np.full((1, 4), label, "int32"))

    learner, first = learner_of(1, "mse"), episode_of(LABELS[:1].astype("int32"))
    spec = tf.nest.map_structure(tf.TensorSpec.from_tensor, first)
    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False
    tfmeta.evaluation.evaluate_episodes(
        learner,
        tf.data.Dataset.from_generator(slowly, output_signature=spec).with_options(options),
        3,
        score=lambda y, outputs, mask: tf.reduce_mean(tf.cast(y, tf.float32)),
    )
    shown = re.findall(r"score: ([0-9.e+-]+)", capsys.readouterr().out)
    assert [float(s) for s in shown] == pytest.approx([0, 1 / 2, 2 / 3], abs=1e-4)


# Losses.


@pytest.mark.parametrize("ignored", [-1, 2, 255])
def test_rows_of_the_ignored_class_do_not_count(ignored):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=ignored)
    y = np.where(LABELS == 2, ignored, LABELS)
    learner, episode = learner_of(2 if ignored != 2 else 3, loss, inner_steps=0), episode_of(y)
    learner.compile("sgd", loss, metrics=["accuracy"], run_eagerly=True)
    logs = learner.evaluate(tasks.dataset(episode, 1), verbose=0, return_dict=True)
    outputs = [np.array(learner(x)) for x in episode.query.x]
    expected = [float(loss(y, o)) for y, o in zip(episode.query.y, outputs, strict=True)]
    assert logs["loss"] == pytest.approx(np.mean(expected), rel=1e-5)
    right = np.stack(outputs).argmax(-1)[y != ignored] == y[y != ignored]
    assert logs["accuracy"] == pytest.approx(right.mean())
    assert logs["accuracy_before"] == pytest.approx(right.mean())
    report = tfmeta.evaluation.evaluate_episodes(learner, tasks.dataset(episode, 1), 2, verbose=0)
    outputs, row = outputs[0].argmax(-1), y[0]
    assert report.scores[0] == pytest.approx(np.mean((outputs == row)[row != ignored]))
    # The support set's loss, too.
    learner.inner_steps = 1
    support = tasks.one(episode.support)
    expected = float(loss(support.y, learner(support.x)))
    assert float(learner.adapt(support).inner_losses[0]) == pytest.approx(expected, rel=1e-5)


def test_a_prototype_has_no_rows_of_the_ignored_class():
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    learner = learner_of(3, loss, ProtoNet)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    y = np.array([0, 1, 255, 1, 0])
    some = y != 255
    adapted = learner.adapt(tfmeta.Examples(x, y))
    np.testing.assert_allclose(
        adapted.means, learner.adapt(tfmeta.Examples(x[some], y[some])).means, rtol=1e-5
    )


def test_masked_steps_of_a_sequence_do_not_count():
    layers = [keras.Input((3, 2)), keras.layers.Masking(), keras.layers.Dense(1)]
    learner = MAML(keras.Sequential(layers), inner_steps=1)
    learner.compile("sgd", "mse", run_eagerly=True)
    random = np.random.default_rng(0)
    x = random.normal(size=(4, 3, 2)).astype("float32")
    x[:2, 1:] = 0.0
    y = random.normal(size=(4, 3, 1)).astype("float32")
    expected = float(keras.losses.MeanSquaredError()(y, learner.network(tf.constant(x))))
    first = float(learner.adapt(tfmeta.Examples(x, y)).inner_losses[0])
    assert first == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("make", [np.asarray, tf.constant], ids=["array", "tensor"])
def test_uint8_targets_are_no_pictures(make):
    learner = learner_of(3, tasks.CROSSENTROPY)
    x = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
    many = learner_of(3, keras.losses.BinaryCrossentropy(from_logits=True))
    for one, y in ((learner, LABELS[0]), (many, ONE_HOT[0])):
        expected = one.adapt(tfmeta.Examples(x, y)).inner_losses
        support = tfmeta.Examples(make(x), make(y.astype("uint8")))
        np.testing.assert_allclose(one.adapt(support).inner_losses, expected)
        batch = tfmeta.Examples(x[None], y[None].astype("uint8"))
        first = one.test_on_batch(tfmeta.Episode(batch, batch))
        batch = tfmeta.Examples(x[None], y[None])
        np.testing.assert_allclose(one.test_on_batch(tfmeta.Episode(batch, batch)), first)


class Sparse(keras.layers.Dense):
    """A layer with a loss of its own."""

    def call(self, x):
        outputs = super().call(x)
        self.add_loss(keras.ops.mean(keras.ops.abs(outputs)))
        return outputs


@pytest.mark.parametrize("cls", [MAML, ProtoNet, tfmeta.learners.R2D2])
def test_a_layers_own_loss_is_refused(cls):
    learner = cls(keras.Sequential([keras.Input((4,)), Sparse(3, name="sparse")]))
    learner.compile("sgd", tasks.CROSSENTROPY, run_eagerly=True)
    data = tasks.dataset(episode_of(LABELS), 1)
    for use in (learner.fit, learner.evaluate, learner.predict):
        with pytest.raises(ValueError, match=r"add no loss.*add_loss in \['sparse'\]"):
            use(data, verbose=0)
    with pytest.raises(ValueError, match=r"add_loss in \['sparse'\]"):
        learner.adapt(tasks.one(episode_of(LABELS).support))


def test_a_learners_own_loss_is_refused():
    class Own(tfmeta.MetaModel):
        def __init__(self):
            super().__init__()
            self.head = keras.layers.Dense(3)

        def adapt(self, support):
            self.add_loss(tf.reduce_mean(support.x))
            return ()

        def predict_query(self, adapted, x):
            return self.head(x)

    learner = Own()
    learner.compile("sgd", tasks.CROSSENTROPY, run_eagerly=True)
    with pytest.raises(ValueError, match="Expected layers that add no loss"):
        learner.fit(tasks.dataset(episode_of(LABELS), 1), verbose=0)


# Constraints.


def constrained(cls, **options):
    constraint = {"kernel_constraint": keras.constraints.UnitNorm(axis=0)}
    layer = keras.layers.Dense(3, bias_constraint="non_neg", **constraint)
    learner = cls(keras.Sequential([keras.Input((4,)), layer]), **options)
    learner.compile("sgd", tasks.CROSSENTROPY, run_eagerly=True)
    return learner


@pytest.mark.parametrize("cls", [MAML, tfmeta.learners.Reptile, tfmeta.learners.ANIL])
def test_inner_steps_keep_constraints(cls):
    learner = constrained(cls, inner_steps=2, inner_learning_rate=0.5)
    support = tasks.one(episode_of(LABELS).support)
    kernel, bias = learner.adapt(support).weights
    np.testing.assert_allclose(np.linalg.norm(kernel, axis=0), np.ones(3), rtol=1e-5)
    assert np.min(bias) == 0 < np.max(bias)
    # The steps are those of Keras's own optimizer.
    plain = keras.models.clone_model(learner.network)
    plain.set_weights(learner.network.get_weights())
    plain.compile(keras.optimizers.SGD(0.5), tasks.CROSSENTROPY, run_eagerly=True)
    plain.fit(support.x, support.y, batch_size=4, epochs=2, verbose=0)
    np.testing.assert_allclose(kernel, plain.get_weights()[0], rtol=1e-4, atol=1e-6)
    learner.fit(tasks.dataset(episode_of(LABELS), 1), verbose=0)
    assert np.isfinite(learner.network.get_weights()[0]).all()


@pytest.mark.parametrize("cls", [tfmeta.learners.ImplicitMAML, tfmeta.learners.CAVIA])
def test_constraints_that_are_not_kept_are_said(cls):
    with pytest.warns(UserWarning, match=r"without a constraint.*bias"):
        constrained(cls)


# Episodes.


def test_what_is_mapped_over_episodes_takes_one():
    learner, data = learner_of(3, tasks.CROSSENTROPY), tasks.dataset(episode_of(LABELS), 1)
    assert "lambda episode: episode._replace(" in tfmeta.Episode.__doc__
    double = data.map(
        lambda episode: episode._replace(
            support=episode.support._replace(x=2 * episode.support.x),
        )
    )
    assert isinstance(double.element_spec, tfmeta.Episode)
    learner.evaluate(double, verbose=0)
    pairs = data.map(lambda episode: (episode.support, episode.query))
    with pytest.raises(ValueError, match=r"no Episode;.*\.map\(lambda episode:"):
        learner.evaluate(pairs, verbose=0)
