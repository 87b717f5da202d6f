"""Generated weights: what they are, order and padding, joint training, any network, bad input."""

import keras
import numpy as np
import pytest
import tasks
from meta_gradients import compiled, outer_loss_and_gradients, relative_error_along

import tfmeta
from tfmeta.learners import Finetune, Hypernetwork

SMALL = {"representation": 4, "hidden": (6,)}


def made(images=False, network=None, dtype="float32", **kwargs):
    """A compiled learner with weights, and a meta-batch for it."""
    if images:
        episodes, loss = tasks.images(shots=2, dtype=dtype), tasks.CROSSENTROPY
        network = network or tasks.convolutional(norm=False, dtype=dtype)
    else:
        episodes, loss = tasks.regression(dtype=dtype), "mse"
        network = network or tasks.dense(dtype=dtype)
    keras.utils.set_random_seed(0)
    learner = compiled(Hypernetwork(network, dtype=dtype, **(SMALL | kwargs)), loss)
    learner.prepare(tasks.dataset(episodes, 1))
    return learner, episodes


def predict(learner, support, x):
    return np.array(learner.predict_query(learner.adapt(support), x))


def test_weights_are_those_of_numpy():
    learner, episodes = made()
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    r = np.array(learner.encode(np.c_[support.x, support.y])).mean(axis=0)
    kernel, bias = (np.array(v) for v in learner.generate.weights)
    changes, place, expected = r @ kernel + bias, 0, []
    for variable in learner.network.trainable_variables:
        size = np.prod(variable.shape)
        part = changes[place : place + size].reshape(variable.shape)
        expected.append(np.array(variable) + part)
        place += size
    adapted = learner.adapt(support)
    for a, b in zip(adapted.weights, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    outputs = predict(learner, support, query.x)
    learner.network.set_weights(expected)
    np.testing.assert_allclose(outputs, learner.network(query.x), rtol=1e-5, atol=1e-6)


def test_classes_are_told_by_their_means():
    learner, episodes = made(images=True)
    support = tasks.one(episodes.support)
    points = np.array(learner.encode(support.x.reshape(6, -1)))
    means = np.concatenate([points[support.y == k].mean(axis=0) for k in range(3)])
    expected = learner.summarize(means[None])[0]
    np.testing.assert_allclose(learner.represent(_tensors(support)), expected, rtol=1e-5)
    other = support._replace(y=np.roll(support.y, 2))
    assert not np.allclose(learner.represent(_tensors(other)), expected, rtol=1e-3)


def _tensors(examples):
    import tensorflow as tf

    return tfmeta.Examples(*map(tf.constant, examples))


@pytest.mark.parametrize("images", [False, True])
def test_order_and_padding_of_the_support_rows_change_nothing(images):
    learner, episodes = made(images)
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    expected = predict(learner, support, query.x)
    order = np.random.default_rng(0).permutation(len(support.y))
    shuffled = tfmeta.Examples(*(t[order] for t in support))
    np.testing.assert_allclose(predict(learner, shuffled, query.x), expected, atol=1e-6)
    padded = tfmeta.Examples(*(np.concatenate([t, np.ones_like(t[:2])]) for t in support))
    padded.mask[-2:] = 0
    np.testing.assert_allclose(predict(learner, padded, query.x), expected, atol=1e-6)


@pytest.mark.parametrize("images", [False, True])
def test_outer_gradient_against_central_differences(images):
    learner, episodes = made(images, dtype="float64")
    assert {v.dtype for v in learner.trainable_variables} == {"float64"}
    assert relative_error_along(learner, episodes, step=1e-7) < 1e-6


def test_a_generator_of_zeros_is_joint_training():
    learner, episodes = made(dtype="float64")
    for variable in learner.generate.weights:
        variable.assign(np.zeros(variable.shape))
    loss, gradients = outer_loss_and_gradients(learner, episodes)
    gradients = {id(v): g for v, g in zip(learner.trainable_variables, gradients, strict=True)}
    network = tasks.dense(dtype="float64")
    network.set_weights(learner.network.get_weights())
    other = compiled(Finetune(network))
    expected_loss, expected = outer_loss_and_gradients(other, episodes)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-9)
    for variable, gradient in zip(learner.network.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(gradients[id(variable)], gradient, rtol=1e-9, atol=1e-12)


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    """A network that has no config of layers, and dropout."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden = keras.layers.Dense(6, "tanh")
        self.drop, self.head = keras.layers.Dropout(0.2), keras.layers.Dense(1)

    def call(self, x, training=None):
        return self.head(self.drop(self.hidden(x), training=training))


NETWORKS = {
    "not built": lambda: keras.Sequential([keras.layers.Dense(5, "tanh"), keras.layers.Dense(1)]),
    "subclassed, dropout": Subclassed,
}


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_any_network_is_given_weights_and_a_file_keeps_the_learner(network, tmp_path):
    learner, episodes = made(network=network())
    data = tasks.dataset(episodes, 10)
    losses = learner.fit(data, epochs=2, verbose=0).history["loss"]
    assert losses[1] < losses[0]
    learner.save(tmp_path / "learner.keras")
    loaded = keras.models.load_model(tmp_path / "learner.keras")
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    expected = predict(learner, support, query.x)
    np.testing.assert_allclose(predict(loaded, support, query.x), expected, atol=1e-6)


def test_batch_normalization_goes_by_the_support_set():
    learner, episodes = made(images=True, network=tasks.convolutional())
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    expected = predict(learner, support, query.x)
    np.testing.assert_allclose(predict(learner, support, query.x[:1]), expected[:1], atol=1e-5)
    assert not learner.is_transductive()
    losses = learner.fit(tasks.dataset(episodes, 10), epochs=2, verbose=0).history["loss"]
    assert losses[1] < losses[0]
    other, _ = made(images=True, network=tasks.convolutional(), transductive=True)
    assert other.is_transductive()
    alone = predict(other, support, query.x[:1])
    assert not np.allclose(alone, predict(other, support, query.x)[:1], atol=1e-3)


def test_an_encoder_of_pictures():
    keras.utils.set_random_seed(0)
    encoder = tasks.convolutional(4, norm=False)
    learner, episodes = made(images=True, encoder=encoder)
    points = np.array(learner.encode(encoder(tasks.one(episodes.support).x)))
    assert points.shape == (6, 4)
    losses = learner.fit(tasks.dataset(episodes, 10), epochs=2, verbose=0).history["loss"]
    assert losses[1] < losses[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"network": None}, r"Expected a network to give weights to.* Received: None"),
        ({"representation": 0}, "Expected representation to be an integer of at least 1"),
        ({"hidden": 3}, "Expected hidden to be a tuple of widths"),
        ({"transductive": 1}, "Expected transductive to be True or False"),
        ({"encoder": "cnn"}, "Expected encoder to be a Keras model or layer. Received: 'cnn'"),
        ({"encoder": tasks.convolutional()}, "Expected an encoder without BatchNormalization"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Hypernetwork(**({"network": tasks.dense()} | arguments))


def test_labels_that_do_not_fit():
    learner = compiled(Hypernetwork(tasks.convolutional(5, norm=False)), tasks.CROSSENTROPY)
    with pytest.raises(ValueError, match="Expected as many ways as the network has outputs, 5"):
        learner.prepare(tasks.dataset(tasks.images(), 1))
    learner = compiled(Hypernetwork(tasks.convolutional(norm=False)), "mse")
    with pytest.raises(ValueError, match=r"Expected targets that are floats.* type int32"):
        learner.prepare(tasks.dataset(tasks.images(), 1))
