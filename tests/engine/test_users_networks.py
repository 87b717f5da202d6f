"""Networks as users bring them: frozen in part, built elsewhere, with weights or a call of their
own. The learners' own parameters are made for what was there when they were made.
"""

import keras
import numpy as np
import pytest
import tasks
from meta_gradients import compiled

import tfmeta
from tfmeta.learners import (
    ALFA,
    ANIL,
    BOIL,
    CAVIA,
    MAML,
    Finetune,
    MAMLPlusPlus,
    MetaCurvature,
    MetaSGD,
    ParameterMemory,
    SimpleShot,
)

SUPPORT = tasks.one(tasks.regression().support)


@keras.saving.register_keras_serializable("tests")
class Scaled(keras.Model):
    """A model with a weight of its own, before a layer."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.scale = self.add_weight(shape=(1,), initializer="ones", name="scale")
        self.body, self.head = keras.layers.Dense(3, "tanh"), keras.layers.Dense(1)

    def call(self, x):
        return self.head(self.body(x * self.scale))


def scaled():
    network = Scaled()
    network(np.zeros((1, 1)))
    return network


def test_frozen_batch_normalization_goes_by_its_moving_averages_in_every_mode():
    losses = []
    for mode in ({"run_eagerly": True}, {"jit_compile": False}, {"jit_compile": True}):
        network = tasks.convolutional()
        for layer in network.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
                layer.moving_mean.assign(np.full(layer.moving_mean.shape, 0.3))
        learner = compiled(MAML(network, inner_learning_rate=0.1), tasks.CROSSENTROPY, **mode)
        losses.append(learner.evaluate(tasks.dataset(tasks.images(), 1), verbose=0)[0])
    np.testing.assert_allclose(losses[1:], losses[0], rtol=1e-5)


def test_a_call_of_its_own_is_in_the_adapted_model():
    class Doubled(keras.Model):
        def call(self, x, training=None, mask=None):
            return 2 * super().call(x, training=training, mask=mask)

    plain = tasks.dense()
    network = Doubled(inputs=plain.inputs, outputs=plain.outputs)
    learner = compiled(MAML(network, inner_learning_rate=0.1))
    adapted = learner.predict_query(learner.adapt(SUPPORT), SUPPORT.x)
    np.testing.assert_allclose(learner.adapted_model(SUPPORT)(SUPPORT.x), adapted, rtol=1e-6)


def test_one_frozen_weight_stays_in_the_adapted_model():
    network = tasks.dense()
    network.layers[0].kernel.trainable = False
    learner = compiled(MAML(network, inner_learning_rate=0.1))
    adapted = learner.predict_query(learner.adapt(SUPPORT), SUPPORT.x)
    # One by a graph, the other operation by operation: sums of float32 in another order.
    model = learner.adapted_model(SUPPORT)
    np.testing.assert_allclose(model(SUPPORT.x), adapted, rtol=1e-6, atol=1e-7)


def test_weights_of_the_model_itself_are_in_the_body_and_have_a_rate():
    network = scaled()
    adapted = compiled(BOIL(network)).adapted_positions()
    assert adapted == [0, 1, 2]
    assert compiled(ANIL(network)).adapted_positions() == [3, 4]
    learner = compiled(MAMLPlusPlus(network, inner_steps=1))
    assert learner.meta_parameters.trainable_variables[0].shape == (1, 3)
    moved = learner.adapt(SUPPORT).weights
    assert all(np.any(w != v) for w, v in zip(moved, network.trainable_variables, strict=True))


@pytest.mark.parametrize(
    "cls", [MetaSGD, ALFA, MetaCurvature, CAVIA, ParameterMemory, MAMLPlusPlus]
)
def test_layers_that_are_frozen_too_late(cls):
    network = tasks.dense()
    learner = compiled(cls(network))
    network.layers[0].trainable = False
    with pytest.raises(ValueError, match="Freeze layers before you make the learner"):
        learner.adapt(SUPPORT)
    compiled(cls(network)).adapt(SUPPORT)


@pytest.mark.parametrize("cls", [MetaSGD, ALFA, CAVIA, ParameterMemory, MAMLPlusPlus])
def test_a_network_that_is_built_after_its_learner(cls):
    network = keras.Sequential([keras.layers.Dense(3, "tanh"), keras.layers.Dense(1)])
    learner = compiled(cls(network))
    network(SUPPORT.x)
    learner.adapt(SUPPORT)
    assert learner.meta_parameters is not None


def test_a_learner_of_a_network_that_is_built_after_it_is_saved_whole(tmp_path):
    network = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(4)])
    learner = SimpleShot(network)
    network(np.zeros((1, 28, 28, 1)))
    learner.save(tmp_path / "learner.keras")
    keras.models.load_model(tmp_path / "learner.keras")


@pytest.mark.parametrize(
    ("cls", "name", "value"),
    [
        (MetaSGD, "inner_learning_rate", 0.5),
        (ALFA, "weight_decay", 0.5),
        (MAMLPlusPlus, "per_step_rates", False),
        (MAMLPlusPlus, "transductive", True),
        (ParameterMemory, "memory_size", 3),
        (CAVIA, "context_size", 3),
        (CAVIA, "context_layers", ["other"]),
    ],
)
def test_arguments_that_parameters_were_made_for(cls, name, value):
    learner = cls(tasks.dense())
    with pytest.raises(ValueError, match=f"Expected {name} to stay .*has made parameters for it"):
        setattr(learner, name, value)
    cls.from_config(learner.get_config())


def test_changed_arguments_are_checked():
    learner = MAML(tasks.dense())
    for name, value in (("inner_learning_rate", -1), ("inner_steps", -2), ("first_order", None)):
        with pytest.raises(ValueError, match=f"Expected {name}"):
            setattr(learner, name, value)
    with pytest.raises(ValueError, match="Expected no inner_steps: Finetune"):
        Finetune(tasks.dense()).inner_steps = 2
    with pytest.raises(ValueError, match="Expected inner_steps to be an integer of at least 0"):
        compiled(learner).adapt(SUPPORT, inner_steps=-1)


def test_an_argument_that_the_constructor_does_not_take_is_not_in_the_config():
    class Mine(MAML):
        def __init__(self, network):
            super().__init__(network)
            self.inner_steps = 3

    assert Mine.from_config(Mine(tasks.dense()).get_config()).inner_steps == 3


def test_cavia_shifts_what_has_an_effect():
    layers, norm = keras.layers, keras.layers.BatchNormalization(scale=False)
    network = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Conv2D(4, 3), norm, layers.ReLU(), layers.Flatten()]
    )
    network.add(layers.Dense(3))
    learner = compiled(CAVIA(network), tasks.CROSSENTROPY)
    assert [learner.network_weights()[i] for i in learner.shifted()] == [norm.beta]
    embedded = keras.Sequential([keras.Input((1,)), layers.Embedding(5, 2), layers.Flatten()])
    embedded.add(layers.Dense(1, name="first_with_a_bias"))
    (position,) = CAVIA(embedded).shifted()
    assert "first_with_a_bias" in CAVIA(embedded).network_weights()[position].path


def test_cavia_in_a_bias_of_two_axes():
    network = keras.Sequential([keras.Input((4, 1)), keras.layers.GRU(3), keras.layers.Dense(1)])
    support = tfmeta.Examples(np.ones((2, 4, 1)), np.ones((2, 1)))
    adapted = compiled(CAVIA(network, inner_learning_rate=0.1)).adapt(support)
    assert np.all(np.isfinite(adapted.inner_losses))


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones(1), r"Expected a mask of shape \[4\].*Received: \(1,\)"),
        (np.zeros(4), "Expected a real row in the support set"),
    ],
)
def test_masks(mask, message):
    with pytest.raises(ValueError, match=message):
        compiled(MAML(tasks.line())).adapt(SUPPORT._replace(mask=mask))
