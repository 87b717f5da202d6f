"""Layers of a learner's own beside a network, masks of query sets, and state across tasks."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf
from conformance.catalogue import assert_equal_weights
from conformance.methods import REGISTER, TwoParticles, compiled, journeys, predict

import tfmeta
from tfmeta.engine.task import StateUpdate
from tfmeta.learners import MAML


@REGISTER
class NetworkAndLayers(tfmeta.MetaModel):
    """A network for the inputs, and layers that are made for the targets' shape, too."""

    def __init__(self, network, **kwargs):
        super().__init__(network, **kwargs)
        self.encoder = keras.layers.Dense(6, "tanh")
        self.head = keras.layers.Dense(2)

    def adapt(self, support):
        pairs = tf.concat([self.network(support.x), support.y], axis=-1)
        return tf.reduce_mean(self.encoder(pairs), axis=0)

    def predict_query(self, adapted, x):
        features = self.network(x)
        adapted = tf.broadcast_to(adapted, (tf.shape(x)[0], 6))
        return self.head(tf.concat([features, adapted], axis=-1))


def unbuilt_network():
    return keras.Sequential([keras.layers.Dense(3, "tanh")])


@pytest.mark.parametrize("network", [unbuilt_network, lambda: tasks.dense(3, 2)])
def test_a_network_and_own_layers_are_built_on_the_first_episodes(network, tmp_path):
    learner, episodes = compiled(NetworkAndLayers(network())), journeys()
    assert not learner.built
    with pytest.raises(ValueError, match="Expected"):
        learner.adapt(tasks.one(episodes.support))
    learner.prepare(tasks.dataset(episodes, 1))
    assert learner.built
    assert learner.encoder.kernel.shape == (3 + 2, 6)
    losses = learner.fit(tasks.dataset(episodes, 10), epochs=2, verbose=0).history["loss"]
    assert losses[1] < losses[0]
    learner.save(tmp_path / "learner.keras")
    loaded = keras.models.load_model(tmp_path / "learner.keras")
    assert loaded.built
    assert_equal_weights(learner, loaded)
    np.testing.assert_allclose(predict(loaded, episodes), predict(learner, episodes), atol=1e-6)


def test_fit_builds_own_layers():
    learner = compiled(NetworkAndLayers(unbuilt_network()))
    assert not learner.built
    learner.fit(tasks.dataset(journeys(), 1), verbose=0)
    assert learner.built


@REGISTER
class ExtraHead(MAML):
    """MAML, and a layer beside the network that the inner loop does not change."""

    def __init__(self, network=None, **kwargs):
        super().__init__(network, **kwargs)
        self.extra = keras.layers.Dense(1)

    def predict_query(self, adapted, x, training=False):
        return super().predict_query(adapted, x, training) + self.extra(x)


def test_a_gradient_learner_with_a_layer_of_its_own_is_saved_and_loaded(tmp_path):
    learner, episodes = compiled(ExtraHead(tasks.dense())), tasks.regression()
    assert not learner.built
    learner.fit(tasks.dataset(episodes, 2), verbose=0)
    learner.save(tmp_path / "learner.keras")
    loaded = keras.models.load_model(tmp_path / "learner.keras")
    assert_equal_weights(learner, loaded)
    np.testing.assert_array_equal(predict(loaded, episodes), predict(learner, episodes))


@REGISTER
class CentresQuery(tfmeta.MetaModel):
    """Predicts from query rows less their mean, over real rows alone."""

    supports_masks = transductive = True

    def adapt(self, support):
        mask = support.mask[:, None]
        return tf.reduce_sum(support.y * mask, axis=0) / tf.reduce_sum(mask)

    def predict_query(self, adapted, x, mask=None):
        mask = (tf.ones(tf.shape(x)[:1]) if mask is None else mask)[:, None]
        mean = tf.reduce_sum(x * mask, axis=0) / tf.reduce_sum(mask)
        return adapted + self.network(x - mean)


def padded(examples, rows=2):
    def extend(t, value):
        return tf.pad(t, [[0, 0], [0, rows], *([[0, 0]] * (t.shape.rank - 2))], "CONSTANT", value)

    return tfmeta.Examples(
        extend(examples.x, 9.0), extend(examples.y, 5.0), extend(examples.mask, 0)
    )


@pytest.mark.parametrize("jit_compile", [False, True])
def test_heads_that_look_at_all_of_the_query_set_get_its_mask(jit_compile):
    learner = compiled(CentresQuery(tasks.dense()), jit_compile=jit_compile)
    episodes = tasks.regression()
    longer = tfmeta.Episode(*map(padded, episodes))
    expected = learner.test_on_batch(episodes)
    np.testing.assert_allclose(learner.test_on_batch(longer), expected, rtol=1e-5)
    outputs = learner.predict_on_batch(longer)[:, :-2]
    np.testing.assert_allclose(outputs, learner.predict_on_batch(episodes), atol=1e-5)


def test_the_mask_of_the_query_may_be_left_out_and_a_method_without_one_gets_none():
    learner, episodes = compiled(CentresQuery(tasks.dense())), tasks.regression()
    query = tasks.one(padded(episodes.query))
    adapted = learner.adapt(tasks.one(episodes.support))
    masked = learner.predict_query(adapted, query.x, mask=query.mask)
    np.testing.assert_allclose(masked[:-2], learner.predict_query(adapted, query.x[:-2]), atol=1e-6)
    assert not np.allclose(masked, learner.predict_query(adapted, query.x))
    without = compiled(TwoParticles(tasks.dense()))
    adapted = without.adapt(tasks.one(episodes.support))
    np.testing.assert_array_equal(
        without.predict_query(adapted, query.x, mask=query.mask, training=True),
        without.predict_query(adapted, query.x),
    )


@REGISTER
class LargestTarget(MAML):
    """MAML that keeps the largest target of all tasks, and how many there were."""

    def __init__(self, network=None, **kwargs):
        super().__init__(network, **kwargs)
        self.largest = self.add_weight(shape=(), trainable=False, name="largest")
        self.seen = self.add_weight(shape=(), trainable=False, dtype="int32", name="seen")

    def score_task(self, episode, training):
        def merge(values):
            return tf.maximum(self.largest, tf.reduce_max(values)), self.seen + tf.size(values)

        result = super().score_task(episode, training)
        update = StateUpdate([self.largest, self.seen], tf.reduce_max(episode.query.y), merge)
        return result._replace(updates=[update] if training else ())


@pytest.mark.parametrize("way", [{"jit_compile": True}, {"jit_compile": False}, "loop", "eager"])
def test_state_goes_over_tasks_as_a_method_says(way, tmp_path):
    learner = LargestTarget(tasks.dense(), task_batching="loop" if way == "loop" else "auto")
    compiled(learner, **way if isinstance(way, dict) else {"run_eagerly": way == "eager"})
    batches = [tasks.regression(seed=seed) for seed in range(3)]
    for episodes in batches:
        learner.train_on_batch(episodes)
        learner.test_on_batch(episodes)
    expected = max(tf.reduce_max(e.query.y).numpy() for e in batches)
    np.testing.assert_allclose(learner.largest, expected)
    assert int(learner.seen) == 9
    learner.save(tmp_path / "learner.keras")
    loaded = keras.models.load_model(tmp_path / "learner.keras")
    assert (float(loaded.largest), int(loaded.seen)) == (float(learner.largest), 9)
