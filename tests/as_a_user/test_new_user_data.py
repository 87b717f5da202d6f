"""Trials as a new user from Keras would make: data, episodes, evaluation, plots, arguments."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf

import tfmeta
from tfmeta import datasets, episodes, evaluation
from tfmeta.learners import MAML, ProtoNet


def animals(per_class=6):
    """Vectors of six classes with names."""
    names = ["ant", "bee", "cat", "dog", "eel", "fox"]
    x = np.random.default_rng(0).normal(size=(6 * per_class, 4)).astype("float32")
    return datasets.from_arrays(x, np.repeat(names, per_class))


def three_ways(**kwargs):
    return episodes.classification(animals(), **({"ways": 3, "queries": 2} | kwargs))


def compiled(learner, loss=tasks.CROSSENTROPY, **kwargs):
    learner.compile("sgd", loss, run_eagerly=True, **kwargs)
    return learner


def protonet():
    return compiled(ProtoNet(tasks.dense(3, 4)))


# Data sets.


def test_labels_that_are_strings_of_tensorflow():
    dataset = datasets.from_arrays(tf.zeros((4, 2)), tf.constant(["b", "a", "b", "é"]))
    assert dataset.class_names == ("a", "b", "é")


def test_class_names_by_label():
    x, labels = np.arange(4.0)[:, None], [7, 3, 7, 3]
    dataset = datasets.from_arrays(x, labels, class_names={7: "seven", 3: "three", 9: "nine"})
    assert dataset.class_names == ("three", "seven")
    np.testing.assert_array_equal(dataset.of_class("seven")[:, 0], [0, 2])
    with pytest.raises(ValueError, match=r"a name for each label. Received: none for \[3\]"):
        datasets.from_arrays(x, labels, class_names={7: "seven"})
    with pytest.raises(ValueError, match="list of class names"):
        datasets.from_arrays(x, labels, class_names="ab")


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([[1.0, 2.0], [3.0]], "rows of x of one shape.*Pad them"),
        ({"ids": [[1, 2], [3]]}, "rows of x of one shape.*Pad them"),
        (tf.data.Dataset.range(2), r"Received: a tf\.data\.Dataset. Collect it"),
    ],
)
def test_what_is_no_array(x, message):
    with pytest.raises(ValueError, match=message):
        datasets.from_arrays(x, [0, 1])


def test_classes_are_taken_by_name():
    some = animals().subset(["fox", "ant"])
    assert some.class_names == ("fox", "ant")
    np.testing.assert_array_equal(some.of_class("fox"), animals().of_class(5))


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["fax"], "name of a class. Received: 'fax'. Did you mean 'fox'"),
        ([6], r"class ids 0\.\.5, or names of classes. Received: 6"),
        ([-1], "Received: -1"),
        ([True, False], "Received: True"),
        ([1.5], r"Received: 1\.5"),
        (2, "a list of class ids or names. Received: 2"),
        ("fox", "a list of class ids or names. Received: 'fox'"),
    ],
)
def test_classes_that_there_are_not(classes, message):
    with pytest.raises(ValueError, match=message):
        animals().subset(classes)


def test_parts_that_are_not_taken_apart_are_no_proof_of_anything():
    # This passed, whatever the parts had in common.
    dataset = animals()
    with pytest.raises(
        ValueError, match=r"Received: a tuple of them. Call check_disjoint\(\*parts"
    ):
        datasets.check_disjoint((dataset, dataset))
    datasets.check_disjoint(*datasets.class_split(dataset, (0.5, 0.5)))


@pytest.mark.parametrize(
    "call",
    [
        lambda data: datasets.class_split(data, (0.5, 0.5)),
        datasets.rotated_classes,
        datasets.check_disjoint,
        datasets.labelled,
        episodes.classification,
    ],
)
def test_what_is_no_data_set(call):
    with pytest.raises(ValueError, match=r"Expected a ClassDataset\. Received: ndarray"):
        call(np.zeros((4, 2)))


# Episodes.


def test_episodes_that_were_saved_and_loaded(tmp_path):
    three_ways(count=4).save(str(tmp_path))
    loaded, learner = tf.data.Dataset.load(str(tmp_path)), protonet()
    with pytest.raises(ValueError, match=r"tf\.data\.Dataset\.load gives; \.map\(lambda e:"):
        learner.fit(loaded)
    # What was advised.
    loaded = loaded.map(lambda e: tfmeta.Episode(tfmeta.Examples(*e[0]), tfmeta.Examples(*e[1])))
    found = learner.evaluate(loaded, verbose=0)
    np.testing.assert_allclose(found, learner.evaluate(three_ways(count=4), verbose=0), rtol=1e-5)


def test_episodes_in_batches_of_batches():
    with pytest.raises(ValueError, match=r"Leave out `\.batch`, and set meta_batch_size"):
        protonet().fit(three_ways(count=4).batch(2))


def test_an_iterator_of_episodes():
    for call in (protonet().fit, protonet().evaluate):
        with pytest.raises(ValueError, match="an iterator, of which nothing can be read twice"):
            call(iter(three_ways(count=4)))


def test_episodes_of_a_generator():
    batch = next(iter(three_ways()))
    spec = tf.nest.map_structure(lambda t: tf.TensorSpec([None] * len(t.shape), t.dtype), batch)
    data = tf.data.Dataset.from_generator(lambda: iter([batch] * 3), output_signature=spec)
    found = protonet().evaluate(data, verbose=0)
    expected = protonet().evaluate(tasks.dataset(batch, 3), verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_meta_batch_where_one_task_is_wanted():
    batch, learner = next(iter(three_ways())), protonet()
    for call in (learner.adapt, learner.adapted_model):
        with pytest.raises(ValueError, match=r"one class label a row|One task of a meta-batch is"):
            call(batch.support)
    support = tasks.regression().support
    learner = compiled(MAML(tasks.dense()), "mse")
    with pytest.raises(ValueError, match=r"Examples\(\*\[t\[0\] for t in support\]\)"):
        learner.adapt(support)
    learner.adapt(tfmeta.Examples(*[t[0] for t in support]))  # what was advised


def test_arguments_of_predict_query_the_wrong_way_round():
    learner, support = protonet(), tasks.one(next(iter(three_ways())).support)
    with pytest.raises(ValueError, match="Expected an array of numbers"):
        learner.predict_query(support.x, [[1.0], [1.0, 2.0]])


# Evaluation and plots.


def test_evaluate_episodes_of_what_is_no_learner():
    support = tasks.one(next(iter(three_ways())).support)
    for model in (tasks.dense(3, 4), protonet().adapted_model(support)):
        for call in (evaluation.evaluate_episodes, evaluation.score_curve):
            with pytest.raises(ValueError, match="Expected a learner"):
                call(model, three_ways(), count=2, verbose=0)


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (keras.metrics.sparse_categorical_accuracy, r"one of the arguments \(y_true, y_pred\)"),
        # One metric for all tasks: its score of a task was one of all tasks before it.
        (keras.metrics.SparseCategoricalAccuracy(), "a metric, which adds up what it has seen"),
    ],
)
def test_scores_of_keras(score, message):
    with pytest.raises(ValueError, match=message):
        evaluation.evaluate_episodes(protonet(), three_ways(), 2, score=score, verbose=0)


def test_reports_and_curves_that_are_something_else():
    pytest.importorskip("matplotlib")
    report = evaluation.EvaluationReport([0.5, 0.6])
    with pytest.raises(ValueError, match=r"another EvaluationReport. Received: 0\.5"):
        report.difference(0.5)
    for curve in (report, keras.callbacks.History(), {"a": [0.1, 0.2]}):
        with pytest.raises(ValueError, match="Expected what score_curve returns"):
            evaluation.plot_curve(curve)
    with pytest.raises(ValueError, match=r"pass next\(iter\(episodes\)\)"):
        evaluation.plot_episode(three_ways())


# Arguments.


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda n: MAML(n, inner_lr=0.1),
            r"Received: inner_lr\. Did you mean inner_learning_rate\?",
        ),
        (lambda n: MAML(n, inner_step=2), r"Received: inner_step\. Did you mean inner_steps\?"),
        (lambda n: ProtoNet(n, inner_steps=2), "arguments of ProtoNet: network, .*: inner_steps"),
    ],
)
def test_arguments_that_a_learner_does_not_have(make, message):
    with pytest.raises(ValueError, match=message):
        make(tasks.dense())


def test_keras_own_arguments_are_still_taken():
    assert not MAML(tasks.dense(), trainable=False).trainable
    assert MAML(tasks.dense(), name="mine").name == "mine"


def test_an_argument_that_a_layer_in_a_learner_does_not_have():
    class Mine(MAML):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.head = keras.layers.Dense(1, unit=3)

    with pytest.raises(ValueError, match="passed to Dense"):
        Mine()
