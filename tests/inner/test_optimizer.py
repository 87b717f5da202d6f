"""A rule as the optimizer of a plain Keras model."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf

from tfmeta.inner import SGD, Rule, RuleOptimizer
from tfmeta.learners import MetaSGD


@keras.saving.register_keras_serializable("tests")
class LearnedMomentum(Rule):
    """Momentum, of a learned rate for each weight; it counts its steps in a slot of its own."""

    def __init__(self, decay=0.9, **kwargs):
        super().__init__(**kwargs)
        self.decay = decay

    def make(self, weights):
        initializer = keras.initializers.Constant(0.05)
        self.rates = self.add_weight(shape=(len(weights),), initializer=initializer, name="rates")

    def init(self, weights):
        return {"momenta": [tf.zeros_like(w) for w in weights], "count": tf.constant(0.0)}

    def update(self, gradients, weights, slots, step):
        pairs = zip(slots["momenta"], gradients, strict=True)
        momenta = [self.decay * m + g for m, g in pairs]
        pairs = enumerate(zip(weights, momenta, strict=True))
        new = [w - self.rates[i] * m for i, (w, m) in pairs]
        return new, {"momenta": momenta, "count": slots["count"] + 1.0}

    def get_config(self):
        return super().get_config() | {"decay": self.decay}


def data(steps=4):
    """Batches of a regression."""
    random = np.random.default_rng(0)
    x = random.normal(size=(steps * 8, 2)).astype("float32")
    return tf.data.Dataset.from_tensor_slices((x, x.sum(1, keepdims=True))).batch(8)


def fitted(optimizer, epochs=2, **kwargs):
    """A model that is always the same, after some steps of the optimizer."""
    model = tasks.dense(inputs=2)
    model.compile(optimizer, "mse", **kwargs)
    model.fit(data(), epochs=epochs, verbose=0)
    return model


def assert_equal(a, b, **tolerance):
    for x, y in zip(a.variables, b.variables, strict=True):
        np.testing.assert_allclose(x, y, **tolerance)


@pytest.mark.parametrize("way", [{}, {"jit_compile": True}, {"run_eagerly": True}])
def test_gradient_descent_is_that_of_keras(way):
    model = fitted(RuleOptimizer(SGD(0.1)), **way)
    assert_equal(model, fitted(keras.optimizers.SGD(0.1), **way), rtol=1e-5, atol=1e-6)
    assert int(model.optimizer.iterations) == 8


@pytest.mark.parametrize("way", [{}, {"jit_compile": True}, {"run_eagerly": True}])
def test_a_rule_with_slots_and_learned_weights_steps(way):
    optimizer = RuleOptimizer(LearnedMomentum())
    model = fitted(optimizer, **way)
    expected = fitted(keras.optimizers.SGD(0.05, momentum=0.9))
    assert_equal(model, expected, rtol=1e-4, atol=1e-6)
    count, *momenta = optimizer.variables[2:]
    assert float(count) == 8
    for momentum, velocity in zip(momenta, expected.optimizer.variables[2:], strict=True):
        np.testing.assert_allclose(-0.05 * momentum, velocity, rtol=1e-3, atol=1e-6)


def test_what_the_rule_has_learned_stays_and_is_no_slot():
    optimizer = RuleOptimizer(LearnedMomentum())
    fitted(optimizer)
    (rates,) = optimizer.learned
    np.testing.assert_array_equal(rates, np.full(6, 0.05, "float32"))
    assert id(rates) not in {id(v) for v in optimizer.variables}
    # iterations, learning rate, a momentum for each weight, the count
    assert len(optimizer.variables) == 2 + 6 + 1


def test_a_rule_that_was_learned_before_is_taken_as_it_is():
    learner = MetaSGD(tasks.dense(inputs=2), inner_learning_rate=0.1)
    learner.rule.rates[0].assign(np.full(learner.rule.rates[0].shape, 0.2))
    learned = [np.array(rate) for rate in learner.rule.rates]
    optimizer = RuleOptimizer(learner.rule)
    model = tasks.dense(inputs=2)
    model.compile(optimizer, "mse")
    weights, x = [np.array(v) for v in model.trainable_variables], tf.ones((4, 2))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(x) - 1.0) ** 2)
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    optimizer.apply(gradients, model.trainable_variables)
    for new, w, rate, g in zip(model.trainable_variables, weights, learned, gradients, strict=True):
        np.testing.assert_allclose(new, w - rate * g, rtol=1e-5, atol=1e-7)
    assert [id(v) for v in optimizer.learned] == [id(v) for v in learner.rule.rates]


def half_way(rule, **kwargs):
    """A model in the middle of a run, whose rule has learned something else than it starts from."""
    model = fitted(RuleOptimizer(rule()), **kwargs)
    for weight in model.optimizer.learned:
        weight.assign(np.linspace(0.01, 0.06, 6))
    return model


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("rule", [lambda: SGD(0.1), lambda: LearnedMomentum(0.8)])
def test_save_and_go_on_equals_an_uninterrupted_run(rule, jit_compile, tmp_path):
    model = half_way(rule, jit_compile=jit_compile)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.optimizer, RuleOptimizer)
    assert_equal(loaded.optimizer, model.optimizer)
    pairs = zip(loaded.optimizer.learned, model.optimizer.learned, strict=True)
    for new, old in pairs:
        np.testing.assert_array_equal(new, old)
    for one in (model, loaded):
        one.fit(data(), epochs=2, verbose=0)
    assert_equal(loaded, model, rtol=1e-5, atol=1e-6)


def test_learning_rate_may_be_a_schedule_and_multiplies_the_step():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([3], [1.0, 0.5])
    rates = keras.optimizers.schedules.PiecewiseConstantDecay([3], [0.1, 0.05])
    assert_equal(
        fitted(RuleOptimizer(SGD(0.1), learning_rate=schedule)),
        fitted(keras.optimizers.SGD(rates)),
        rtol=1e-5, atol=1e-6,
    )  # fmt: skip
    assert_equal(fitted(RuleOptimizer(SGD(0.1), learning_rate=0.0)), tasks.dense(inputs=2), atol=0)


def test_the_config_holds_the_rule():
    optimizer = RuleOptimizer(LearnedMomentum(decay=0.5), learning_rate=0.3)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert isinstance(again.rule, LearnedMomentum)
    assert again.rule.decay == 0.5
    assert float(again.learning_rate) == pytest.approx(0.3)


@pytest.mark.parametrize("rule", ["sgd", None, keras.optimizers.SGD(0.1), SGD])
def test_anything_but_a_rule_is_an_error(rule):
    with pytest.raises(ValueError, match=r"Expected a tfmeta\.inner\.Rule\. Received: "):
        RuleOptimizer(rule)
