"""What `adapt` and `predict_query` promise, for every learner."""

import numpy as np
import pytest
import tasks
import tensorflow as tf
from conformance import catalogue

import tfmeta
from tfmeta import MetaModel, learners

PARAMS = catalogue.PARAMS


def all_subclasses(cls):
    return {cls}.union(*map(all_subclasses, cls.__subclasses__()))


def test_every_exported_learner_has_a_row():
    exported = {getattr(learners, name) for name in learners.__all__}
    exported &= all_subclasses(MetaModel)
    exported -= {learners.EmbeddingLearner, learners.GradientLearner, MetaModel}
    # Policies read no examples: tests/learners/policies asks them the same.
    exported -= all_subclasses(learners.PolicyLearner)
    missing = exported - {row.cls for row in catalogue.ROWS.values() if not row.second}
    assert not missing, f"Add a row to tests/conformance/catalogue.py for {missing}."


def predict(learner, support, x):
    return learner.predict_query(learner.adapt(support), x)


@PARAMS
def test_adapt_changes_no_variable_and_all_modes_agree(row):
    learner, episodes = catalogue.learner_to_read(row), row.episodes()
    before = catalogue.weights(learner)

    def task(episode):
        outputs = predict(learner, episode.support, episode.query.x)
        # A compiled ProtoNet has a column for each support row.
        return outputs[:, :3]

    eager = np.stack([task(tf.nest.map_structure(lambda t: t[i], episodes)) for i in range(3)])  # noqa: B023
    catalogue.assert_equal_weights(learner, before)
    loop = tf.function(lambda e: tfmeta.ops.map_tasks(task, e, "loop"))
    np.testing.assert_allclose(loop(episodes), eager, rtol=1e-4, atol=1e-5)
    mapped = tf.function(lambda e: learner.map_tasks(task, e))
    np.testing.assert_allclose(mapped(episodes), eager, rtol=1e-4, atol=1e-5)
    catalogue.assert_equal_weights(learner, before)


@PARAMS
def test_numpy_arrays_and_a_missing_mask(row):
    learner, episodes = catalogue.learner_to_read(row), row.episodes()
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    expected = predict(learner, support, query.x)
    double = tfmeta.Examples(support.x.astype("float64"), support.y)
    np.testing.assert_allclose(predict(learner, double, query.x.astype("float64")), expected)
    if row.images:
        pixels = np.random.default_rng(0).integers(0, 256, support.x.shape, dtype="uint8")
        scaled = tfmeta.Examples(pixels / 255, support.y)
        raw = tfmeta.Examples(pixels, support.y.astype("uint8"))
        np.testing.assert_allclose(
            predict(learner, raw, pixels), predict(learner, scaled, pixels / 255), atol=1e-5
        )


@PARAMS
def test_order_and_names_of_the_support_rows(row):
    learner, episodes = catalogue.learner_to_read(row), row.episodes()
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    expected = np.array(predict(learner, support, query.x))
    order = np.random.default_rng(0).permutation(len(support.x))
    shuffled = tfmeta.Examples(*[t[order] for t in support])
    if learner.order_matters:
        assert not np.allclose(predict(learner, shuffled, query.x), expected, atol=1e-5)
    else:
        np.testing.assert_allclose(predict(learner, shuffled, query.x), expected, atol=1e-4)
    if row.renames:
        names = np.array([2, 0, 1], "int32")
        renamed = support._replace(y=names[support.y])
        np.testing.assert_allclose(
            np.array(predict(learner, renamed, query.x))[:, names], expected, atol=1e-4
        )


@PARAMS
def test_query_examples_count_for_each_other_only_where_that_is_said(row):
    learner, episodes = catalogue.learner_to_read(row), row.episodes()
    adapted, x = learner.adapt(tasks.one(episodes.support)), tasks.one(episodes.query).x
    some = np.array(learner.predict_query(adapted, x[:2]))
    difference = np.abs(learner.predict_query(adapted, x)[:2] - some).max()
    assert (difference > 1e-4) if learner.is_transductive() else (difference < 1e-4)


@PARAMS
def test_adapted_model_predicts_saves_and_loads(row, tmp_path):
    import keras

    learner, episodes = catalogue.learner_to_read(row), row.episodes()
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    model = learner.adapted_model(support)
    expected = predict(learner, support, query.x)
    # A gradient learner's plain clone normalises by the support statistics it has stored.
    if not learner.transductive:
        np.testing.assert_allclose(model.predict(query.x, verbose=0), expected, atol=1e-5)
    model.save(tmp_path / "adapted.keras")
    loaded = keras.models.load_model(tmp_path / "adapted.keras")
    np.testing.assert_allclose(
        loaded.predict(query.x, verbose=0), model.predict(query.x, verbose=0), atol=1e-6
    )


def pad(examples, rows):
    """`rows` more rows with mask 0, full of rubbish."""

    def extend(t, value):
        shape = (t.shape[0], rows, *t.shape[2:])
        return tf.concat([t, tf.cast(tf.fill(shape, value), t.dtype)], axis=1)

    return tfmeta.Examples(
        extend(examples.x, 7.0), extend(examples.y, 1), extend(examples.mask, 0.0)
    )


@catalogue.EAGER_OR_COMPILED
def test_padded_rows_change_nothing_or_stop(row, eager):
    episodes = row.episodes()
    padded = tfmeta.Episode(pad(episodes.support, 2), pad(episodes.query, 3))
    if not row.masks:
        learner = row.compiled()
        with pytest.raises(ValueError, match="without BatchNormalization"):
            learner.fit(tasks.dataset(padded, 1), verbose=0)
        return
    learner, other = (row.compiled(run_eagerly=eager) for _ in range(2))
    expected = learner.test_on_batch(episodes)
    np.testing.assert_allclose(learner.test_on_batch(padded), expected, rtol=1e-5)
    learner.train_on_batch(episodes)
    other.train_on_batch(padded)
    catalogue.assert_equal_weights(learner, other, atol=1e-5)


def test_padded_rows_stop_a_learner_without_support():
    class Unmasked(catalogue.MethodOfItsOwn):
        supports_masks = False

    learner = Unmasked()
    learner.compile(loss="mse")
    episodes = tasks.regression()
    padded = tfmeta.Episode(pad(episodes.support, 1), episodes.query)
    with pytest.raises(ValueError, match="supports_masks = True"):
        learner.fit(tasks.dataset(padded, 1), verbose=0)
    # Also when the padding comes later than the first meta-batch.
    mixed = tasks.dataset(
        tfmeta.Episode(pad(episodes.support, 1)._replace(mask=tf.ones((3, 5))), episodes.query), 1
    ).concatenate(tasks.dataset(padded, 1))
    with pytest.raises(ValueError, match="supports_masks = True"):
        learner.fit(mixed, verbose=0)
