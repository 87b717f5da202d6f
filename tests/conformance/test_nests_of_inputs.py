"""Inputs that are nests: episodes, learners, files and adapted models take them."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf
from conformance.catalogue import assert_equal_weights
from conformance.methods import REGISTER, compiled

import tfmeta
from tfmeta.learners import MAML, ProtoNet


def two_inputs(outputs):
    """A network of a dict of two inputs, of two shapes."""
    keras.utils.set_random_seed(0)
    inputs = {
        "numbers": keras.Input((3,), name="numbers"),
        "words": keras.Input((2, 2), name="words"),
    }
    flat = keras.layers.Flatten()(inputs["words"])
    both = keras.layers.Concatenate()([inputs["numbers"], flat])
    hidden = keras.layers.Dense(5, "tanh")(both)
    return keras.Model(inputs, keras.layers.Dense(outputs)(hidden))


def nests(ways=2, shots=3):
    """A meta-batch of two tasks, whose x is a dict."""
    random = np.random.default_rng(0)
    y = np.tile(np.repeat(np.arange(ways, dtype="int32"), shots), (2, 1))

    def examples():
        numbers = random.normal(size=(*y.shape, 3)) + y[..., None]
        words = random.normal(size=(*y.shape, 2, 2))
        x = {"numbers": numbers.astype("float32"), "words": words.astype("float32")}
        x = tf.nest.map_structure(tf.constant, x)
        return tfmeta.Examples(x, tf.constant(y), tf.ones(y.shape))

    return tfmeta.Episode(examples(), examples())


def one_nest(examples):
    return tf.nest.map_structure(lambda t: t[0].numpy(), examples)


@pytest.mark.parametrize(("cls", "jit_compile"), [(MAML, True), (MAML, False), (ProtoNet, False)])
def test_inputs_may_be_a_nest(cls, jit_compile, tmp_path):
    learner, episodes = cls(two_inputs(2)), nests()
    learner.compile("adam", tasks.CROSSENTROPY, metrics=["accuracy"], jit_compile=jit_compile)
    data = tasks.dataset(episodes, 10)
    losses = learner.fit(data, epochs=2, validation_data=data.take(1), verbose=0).history["loss"]
    assert losses[1] < losses[0]
    support, x = one_nest(episodes.support), one_nest(episodes.query).x
    expected = learner.predict_query(learner.adapt(support), x)
    np.testing.assert_allclose(learner.predict(data.take(1), verbose=0)[0], expected, atol=1e-5)
    np.testing.assert_allclose(
        learner.adapted_model(support).predict(x, verbose=0), expected, atol=1e-5
    )
    learner.save(tmp_path / "learner.keras")
    learner.adapted_model(support).save(tmp_path / "adapted.keras")
    loaded = keras.models.load_model(tmp_path / "learner.keras")
    np.testing.assert_allclose(loaded.predict_query(loaded.adapt(support), x), expected, atol=1e-6)
    adapted = keras.models.load_model(tmp_path / "adapted.keras")
    np.testing.assert_allclose(adapted.predict(x, verbose=0), expected, atol=1e-5)
    pair = [one.evaluate(data.take(1), verbose=0) for one in (learner, loaded)]
    np.testing.assert_allclose(*pair, rtol=1e-5)


@REGISTER
class ReadsNests(tfmeta.MetaModel):
    """Layers of its own over a dict, which a learner meets first in an episode."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.of_numbers, self.of_words = keras.layers.Dense(4), keras.layers.Dense(4)
        self.head = keras.layers.Dense(1)

    def call(self, x):
        words = tf.reduce_mean(self.of_words(x["words"]), axis=-2)
        return self.head(tf.tanh(self.of_numbers(x["numbers"]) + words))

    def adapt(self, support):
        return tf.reduce_mean(tf.cast(support.y, tf.float32)[:, None] - self(support.x), axis=0)

    def predict_query(self, adapted, x):
        return self(x) + adapted


def test_a_learners_own_layers_may_read_a_nest(tmp_path):
    learner, episodes = compiled(ReadsNests()), nests()
    learner.fit(tasks.dataset(episodes, 2), verbose=0)
    learner.save(tmp_path / "learner.keras")
    loaded = keras.models.load_model(tmp_path / "learner.keras")
    assert loaded.built
    assert_equal_weights(learner, loaded)
    model = loaded.adapted_model(one_nest(episodes.support))
    np.testing.assert_allclose(
        model.predict(one_nest(episodes.query).x, verbose=0),
        learner.predict(tasks.dataset(episodes, 1), verbose=0)[0],
        atol=1e-5,
    )
