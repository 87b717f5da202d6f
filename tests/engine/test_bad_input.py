"""Bad input: a clear error before the first step."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf

import tfmeta
from tfmeta.learners import MAML, ProtoNet

SPARSE = tasks.CROSSENTROPY


def classifier(outputs=3, loss=SPARSE, **kwargs):
    learner = MAML(tfmeta.networks.mlp((8, 8, 1), outputs, hidden=(4,)), **kwargs)
    learner.compile("sgd", loss)
    return learner


def regressor(**kwargs):
    learner = MAML(tasks.dense(), **kwargs)
    learner.compile("sgd", "mse")
    return learner


def fit(learner, episodes):
    learner.fit(tasks.dataset(episodes, 2), verbose=0)


def support(**changes):
    return tasks.one(tasks.images().support)._replace(mask=None, **changes)


@pytest.mark.parametrize("outputs", [2, 4])
def test_ways_that_do_not_match_the_outputs(outputs):
    with pytest.raises(ValueError, match=f"outputs, {outputs}. Received: episodes of 3 ways"):
        fit(classifier(outputs), tasks.images())


def test_labels():
    episodes = tasks.images()
    for y, message in (
        (tf.cast(episodes.query.y, "float32"), "integer class labels in query.y"),
        (episodes.query.y - 1, "Received: -1 in query.y"),
    ):
        bad = episodes._replace(query=episodes.query._replace(y=y))
        for learner in (classifier(), ProtoNet(tasks.convolutional(4))):
            learner.compile("sgd", SPARSE)
            with pytest.raises(ValueError, match=message):
                fit(learner, bad)


def test_labels_of_one_task():
    learner = classifier()
    y = np.arange(3)
    for labels, message in (
        (y + 1, "labels 0..2, one for each output. Received: 3"),
        (y - 1, "Received: -1"),
        (y / 2, "integer class labels"),
    ):
        with pytest.raises(ValueError, match=message):
            learner.adapt(support(y=labels))


def test_unbuilt_and_uncompiled():
    unbuilt = keras.Sequential([keras.layers.Dense(1)])
    learner = MAML(unbuilt)
    learner.compile("sgd", "mse")
    one = tasks.one(tasks.regression().support)
    with pytest.raises(ValueError, match="Expected a built network before `adapt`"):
        learner.adapt(one)
    learner.build((None, 1))
    learner.adapt(one)
    for learner in (MAML(tasks.dense()), MAML(tasks.dense())):
        data = tasks.dataset(tasks.regression(), 1)
        for call in (learner.fit, learner.evaluate, lambda _: learner.adapt(one)):  # noqa: B023
            with pytest.raises(ValueError, match="Expected a compiled learner"):
                call(data)
        learner.compile("sgd")


def test_what_is_not_episodes():
    learner, episodes = regressor(), tasks.regression()
    x = np.zeros((4, 1), "float32")
    single = tf.nest.map_structure(lambda t: t[0], episodes)
    for data, message in (
        (x, "object of type ndarray.*tfmeta.episodes.classification"),
        (tf.data.Dataset.from_tensor_slices((x, x)), "data set of tuple"),
        (tf.data.Dataset.from_tensors(single), "Expected a meta-batch.*batch"),
        (episodes, "one Episode.*from_tensors"),
        (tasks.dataset(episodes, 0), "empty data set"),
    ):
        for call in (learner.fit, learner.evaluate, learner.predict):
            with pytest.raises(ValueError, match=message):
                call(data)
    with pytest.raises(ValueError, match="a second argument"):
        learner.fit(x, x)
    with pytest.raises(ValueError, match=r"Pass episode\.support"):
        learner.adapt(single)
    with pytest.raises(ValueError, match=r"Pass tfmeta.Examples\(x, y\)"):
        learner.adapt((x, x))


def test_endless_episodes():
    learner, data = regressor(), tasks.dataset(tasks.regression())
    with pytest.raises(ValueError, match="Expected `steps_per_epoch`"):
        learner.fit(data)
    with pytest.raises(ValueError, match="Expected `validation_steps`"):
        learner.fit(data, steps_per_epoch=1, validation_data=data)
    with pytest.raises(ValueError, match="Expected `steps`"):
        learner.evaluate(data)


@pytest.mark.parametrize(
    "arguments",
    [
        {"inner_learning_rate": 0.0},
        {"inner_learning_rate": -1.0},
        {"inner_learning_rate": float("nan")},
        {"inner_steps": -1},
        {"inner_steps": 1.5},
        {"evaluation_steps": -1},
    ],
)
def test_arguments_out_of_range(arguments):
    with pytest.raises(ValueError, match=f"Expected {next(iter(arguments))}.*Received"):
        MAML(tasks.dense(), **arguments)


def test_network_that_is_no_model():
    with pytest.raises(ValueError, match=r"Expected a keras\.Model as the network of MAML"):
        MAML(keras.layers.Dense(1))


def test_no_support_rows():
    episodes = tasks.regression()
    empty = tfmeta.Examples(*[t[:, :0] for t in episodes.support])
    with pytest.raises(ValueError, match="shots = 0"):
        fit(regressor(), episodes._replace(support=empty))
    with pytest.raises(ValueError, match="at least one"):
        regressor().adapt(tasks.one(empty))


class Unreached(keras.layers.Layer):
    def build(self, shape):
        self.used = self.add_weight(shape=(1,), name="used")
        self.lost = self.add_weight(shape=(1,), name="lost")

    def call(self, x):
        return x * self.used


class RawVariable(keras.layers.Layer):
    def __init__(self):
        super().__init__(name="raw")
        self.scale = [tf.Variable(1.0)]

    def call(self, x):
        return x * self.scale[0]


def test_weights_that_no_gradient_reaches():
    learner = MAML(keras.Sequential([keras.Input((1,)), Unreached(name="odd")]))
    learner.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"no gradient for \['.*odd/lost'\]"):
        fit(learner, tasks.regression())


def test_networks_that_cannot_run_on_given_weights():
    rnn = [keras.Input((3, 1), batch_size=4), keras.layers.SimpleRNN(2, stateful=True)]
    for layers, message in (
        (rnn, "'simple_rnn.*stateful=True"),
        ([keras.Input((1,)), RawVariable()], "'scale' of layer 'raw'"),
    ):
        learner = MAML(keras.Sequential([*layers, keras.layers.Dense(1)]))
        learner.compile("sgd", "mse")
        with pytest.raises(ValueError, match=message):
            fit(learner, tasks.regression())


def test_loss_of_probabilities_on_logits():
    for loss in ("sparse_categorical_crossentropy", keras.losses.SparseCategoricalCrossentropy()):
        with pytest.raises(ValueError, match="from_logits=True"):
            fit(classifier(loss=loss), tasks.images())
    protonet = ProtoNet(tasks.convolutional(4))
    protonet.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="from_logits=True"):
        fit(protonet, tasks.images())


def test_losses():
    with pytest.raises(ValueError, match="Expected one loss"):
        MAML(tasks.dense()).compile("sgd", ["mse", "mae"])
    learner = MAML(tasks.dense())
    learner.compile("sgd", lambda y, p: tf.reduce_mean((y - p) ** 2))
    with pytest.raises(ValueError, match="one loss value a row"):
        fit(learner, tasks.regression())


def test_operations_that_xla_does_not_know():
    def metric(y, outputs):
        return tf.reshape(tf.numpy_function(np.abs, [outputs - y], tf.float32), (-1,))

    learner = MAML(tasks.dense())
    learner.compile("sgd", "mse", metrics=[metric], jit_compile=True)
    with pytest.raises(ValueError, match=r"Received: \w+ in .*jit_compile=False"):
        learner.evaluate(tasks.dataset(tasks.regression(), 1), verbose=0)
