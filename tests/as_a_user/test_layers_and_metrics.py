"""Trials with layers and metrics of a user's own: adapted models, variables, copies."""

import warnings

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf

from tfmeta.learners import ANIL, MAML, ProtoNet

SUPPORT = tasks.one(tasks.regression().support)


class Doubled(keras.layers.Layer):
    """Without get_config, and with an argument that its constructor wants."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def call(self, x):
        return x * self.factor


def compiled(learner, loss="mse", **kwargs):
    learner.compile("sgd", loss, run_eagerly=True, **kwargs)
    return learner


def network(*layers):
    return keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(3), *layers, keras.layers.Dense(1)]
    )


# Adapted models.

UNUSUAL = {
    "lambda": lambda: keras.layers.Lambda(lambda x: x * 2),
    "no config": lambda: Doubled(2.0),
    "no config, a function": lambda: Doubled(np.float32(2.0)),
    "with state": lambda: keras.Sequential([keras.layers.BatchNormalization(), Doubled(2.0)]),
}


@pytest.mark.parametrize("kind", UNUSUAL)
@pytest.mark.parametrize("cls", [MAML, ANIL])
def test_what_can_be_evaluated_has_an_adapted_model(cls, kind):
    learner = compiled(cls(network(UNUSUAL[kind]()), inner_learning_rate=0.1, inner_steps=2))
    learner.evaluate(tasks.dataset(tasks.regression(), 1), verbose=0)
    expected = learner.predict_query(learner.adapt(SUPPORT), SUPPORT.x)
    model = learner.adapted_model(SUPPORT)
    np.testing.assert_allclose(model(SUPPORT.x), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.predict(SUPPORT.x, verbose=0), expected, rtol=1e-5, atol=1e-6)


def test_an_adapted_model_of_a_lambda_does_not_follow_the_learner():
    learner = compiled(MAML(network(UNUSUAL["lambda"]())))
    model = learner.adapted_model(SUPPORT)
    before = np.array(model(SUPPORT.x))
    learner.network.set_weights([w + 1 for w in learner.network.get_weights()])
    np.testing.assert_array_equal(model(SUPPORT.x), before)


def test_an_adapted_model_of_a_lambda_is_exported(tmp_path):
    model = compiled(MAML(network(UNUSUAL["lambda"]()))).adapted_model(SUPPORT)
    model.export(tmp_path / "model", verbose=False)
    served = tf.saved_model.load(tmp_path / "model")
    np.testing.assert_allclose(served.serve(SUPPORT.x), model(SUPPORT.x), rtol=1e-5)


# Variables.


class Holder(keras.layers.Layer):
    """A layer that keeps a variable in an attribute, past Keras."""

    def __init__(self, scale):
        super().__init__(name="holder")
        self.scale = scale

    def call(self, x):
        return x


class Module(tf.Module):
    def __init__(self, trainable=True):
        super().__init__()
        self.weight = tf.Variable(1.0, trainable=trainable)


@pytest.mark.parametrize(
    "make",
    [
        lambda: tf.Variable(1.0),
        lambda: [tf.Variable(1.0)],
        lambda: {"a": (tf.Variable(1.0),)},
        Module,
    ],
)
def test_a_variable_in_a_layer_is_named_by_its_attribute(make):
    learner = compiled(MAML(network(Holder(make()))))
    for call in (
        lambda: learner.fit(tasks.dataset(tasks.regression(), 1), verbose=0),
        lambda: learner.adapt(SUPPORT),
    ):
        with pytest.raises(ValueError, match=r"attribute 'scale' of layer 'holder' \(Holder\)"):
            call()


def test_a_variable_in_a_subclassed_network_is_named():
    class Network(keras.Model):
        def __init__(self):
            super().__init__(name="mine")
            self.factor, self.head = tf.Variable(2.0), keras.layers.Dense(1)

        def call(self, x):
            return self.head(x) * self.factor

    with pytest.raises(ValueError, match=r"attribute 'factor' of layer 'mine' \(Network\)"):
        compiled(MAML(Network())).fit(tasks.dataset(tasks.regression(), 1), verbose=0)


def test_a_fixed_module_is_a_part_of_a_layer():
    learner = compiled(MAML(network(Holder(Module(trainable=False)))))
    learner.evaluate(tasks.dataset(tasks.regression(), 1), verbose=0)


# Metrics.


class Shifted(keras.metrics.Mean):
    """The mean output, and a number that its constructor is given."""

    def __init__(self, by=0.0):
        super().__init__(name="shifted")
        self.by = by

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(y_pred + self.by)


class Named(Shifted):
    """The same, with what a copy is made from."""

    def __init__(self, by=0.0, name="shifted"):
        super().__init__(by)

    def get_config(self):
        return {"by": self.by}


class WithoutWeights(keras.metrics.Mean):
    def update_state(self, y_true, y_pred):
        super().update_state(y_pred)


def logs_of(metric):
    learner = compiled(MAML(tasks.dense()), metrics=[metric, "mae"])
    data = tasks.dataset(tasks.regression(), 1)
    return learner.evaluate(data, verbose=0, return_dict=True)


def test_a_metric_without_a_config_is_measured_after_adaptation():
    with pytest.warns(UserWarning, match="'shifted' is measured after adaptation alone"):
        found = logs_of(Shifted(5.0))
    assert set(found) == {"loss", "loss_before", "shifted", "mae", "mae_before"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other = logs_of(Named(5.0))
    assert found["shifted"] == other["shifted"]
    assert abs(other["shifted_before"] - other["shifted"]) < 1  # it was given the 5, too


def test_a_metric_that_takes_no_weights():
    for metrics in ([WithoutWeights()], {"a": WithoutWeights()}, WithoutWeights()):
        with pytest.raises(ValueError, match=r"WithoutWeights\.update_state without sample_weight"):
            compiled(MAML(tasks.dense()), metrics=metrics)


def test_keras_metrics_are_measured_before_and_after():
    metrics = ["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(2, name="top")]
    learner = compiled(ProtoNet(tasks.convolutional()), tasks.CROSSENTROPY, metrics=metrics)
    learner = compiled(MAML(tasks.convolutional()), tasks.CROSSENTROPY, metrics=metrics)
    found = learner.evaluate(tasks.dataset(tasks.images(), 1), verbose=0, return_dict=True)
    assert {"accuracy", "accuracy_before", "top", "top_before"} <= set(found)


def test_a_search_refuses_a_metric_that_it_cannot_make_anew():
    keras_tuner = pytest.importorskip("keras_tuner")
    from tfmeta.tuning import MetaHyperModel

    model = MetaHyperModel(MAML, tasks.dense, compile={"loss": "mse", "metrics": [Shifted(5.0)]})
    with pytest.raises(ValueError, match=r"made anew for each trial\. Received: 'shifted'"):
        model.build(keras_tuner.HyperParameters())
