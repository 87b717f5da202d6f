"""What was learned, as an optimizer of Keras; and bad input."""

import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tasks

import tfmeta
from tfmeta.inner import SGD
from tfmeta.learners import (
    LearnedAdam,
    LearnedOptimizer,
    LearnedSGD,
    MLPRule,
    PersistentES,
)

TESTS = pathlib.Path(__file__).parents[2]


def trained(rule, network=None, **kwargs):
    keras.utils.set_random_seed(0)
    network = network or tasks.dense()
    learner = LearnedOptimizer(network, rule=rule, **{"inner_steps": 2} | kwargs)
    learner.compile(keras.optimizers.Adam(0.01), "mse", run_eagerly=True)
    learner.train_on_batch(tasks.regression())
    return learner


def data():
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    return x, x[:, :2]


def other_model(optimizer, **kwargs):
    keras.utils.set_random_seed(1)
    model = tfmeta.networks.mlp((4,), 2, hidden=(8,))
    model.compile(optimizer, "mse", **kwargs)
    return model


def fit(model):
    return model.fit(*data(), batch_size=16, epochs=2, shuffle=False, verbose=0).history["loss"]


@pytest.mark.parametrize("way", [{"jit_compile": True}, {"run_eagerly": True}])
def test_another_model_trains_by_the_learned_rule(way, tmp_path):
    """With the same weights it steps as Keras's Adam of what was learned; files go on."""
    learner = trained(LearnedAdam(0.05, 0.8, 0.9, 1e-3))
    rate, *betas, epsilon = (float(np.exp(v)) for v in learner.rule.logs.values())
    assert rate != pytest.approx(0.05, rel=1e-3)  # it has learned something
    model = other_model(learner.keras_optimizer(), **way)
    assert isinstance(model.optimizer, keras.optimizers.Optimizer)
    expected = fit(other_model(keras.optimizers.Adam(rate, *(1 - b for b in betas), epsilon)))
    np.testing.assert_allclose(fit(model), expected, rtol=1e-4)
    # Frozen, and a copy.
    frozen = [np.array(v) for v in model.optimizer.learned]
    np.testing.assert_array_equal(frozen, learner.rule.get_weights())
    learner.train_on_batch(tasks.regression())
    np.testing.assert_array_equal(frozen, model.optimizer.learned)
    assert not np.array_equal(frozen, learner.rule.get_weights())
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(frozen, loaded.optimizer.learned)
    np.testing.assert_allclose(fit(loaded), fit(model), rtol=1e-5)


def test_a_loaded_learner_gives_its_optimizer(tmp_path):
    learner = trained(MLPRule((4,)))
    learner.save(tmp_path / "learner.keras")
    loaded = keras.models.load_model(tmp_path / "learner.keras", compile=False)
    for a, b in zip(
        loaded.keras_optimizer().learned, learner.keras_optimizer().learned, strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_the_network_keeps_its_weights_and_can_be_trained_by_what_it_taught():
    network = tasks.dense()
    before = network.get_weights()
    learner = trained(LearnedSGD(), network)
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert network.trainable_variables
    adapted = learner.adapt(tasks.one(tasks.regression().support))
    drawn = learner.adapt(tasks.one(tasks.regression().support), inner_steps=0)
    assert not np.allclose(drawn.weights[0], before[0])  # drawn anew, not the network's
    assert not np.allclose(adapted.weights[0], drawn.weights[0])


@pytest.mark.slow
def test_two_devices_equal_one():
    """Learners whose tasks go on, and models that train by what was learned."""
    script = TESTS / "learners" / "optimizers" / "two_devices.py"
    result = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        timeout=900,
        env={"PYTHONPATH": f"{TESTS.parent}:{TESTS}", "PATH": ""},
    )
    errors = [float(x.split()[1]) for x in result.stdout.splitlines() if x.startswith("RESULT")]
    assert len(errors) == 2, result.stderr[-3000:]
    assert max(errors) < 1e-5


NO_NETWORK = r"Expected a network: LearnedOptimizer\(network\)"
BAD = {
    NO_NETWORK: lambda: LearnedOptimizer(),
    r"Expected a tfmeta\.inner\.Rule.*Received: 'adam'": lambda: made(rule="adam"),
    r"Expected a rule with weights that can be learned.*Received: SGD": lambda: made(rule=SGD(0.1)),
    r"inner_steps to be a multiple of unroll_length=8.*Received: inner_steps=20. Take 16 or 24": (
        lambda: made(inner_steps=20, unroll_length=8)
    ),
    r"warm_start to be a multiple of unroll_length=5.*Received: warm_start=7": (
        lambda: made(inner_steps=20, unroll_length=5, warm_start=7)
    ),
    r"fewest_steps to be a multiple": lambda: made(unroll_length=5, fewest_steps=3),
    r"Expected fewest_steps <= inner_steps": lambda: made(unroll_length=5, fewest_steps=25),
    r"Expected unroll_length.*for PersistentES": lambda: made(outer_gradient=PersistentES()),
    r"Expected unroll_length.*Received: unroll_length=None, fewest_steps=5": (
        lambda: made(fewest_steps=5)
    ),
    r"Expected inner_steps of at least 1": lambda: made(inner_steps=0),
    r"Expected outer_gradient to be": lambda: made(outer_gradient="pes"),
    r"Expected standard_deviation > 0": lambda: PersistentES(0.0),
    r"Expected a network with trainable weights": lambda: LearnedOptimizer(frozen()),
    r"Expected a network without regularizers": lambda: LearnedOptimizer(
        tasks.dense(kernel_regularizer="l2")
    ),
    r"Expected a trained learner.*after 0 outer steps": lambda: made().keras_optimizer(),
    r"Expected arguments of LearnedOptimizer": lambda: made(inner_step=3),
}


def made(**kwargs):
    return LearnedOptimizer(tasks.dense(), **kwargs)


def frozen():
    network = tasks.dense()
    network.trainable = False
    return network


@pytest.mark.parametrize("message", BAD)
def test_bad_input(message):
    with pytest.raises(ValueError, match=message):
        BAD[message]()


def test_lengths_that_stop_fitting_and_other_meta_batches_are_refused():
    learner = made(inner_steps=4, unroll_length=2, rule=LearnedSGD())
    with pytest.raises(ValueError, match="multiple of unroll_length=3"):
        learner.unroll_length = 3
    learner = made(inner_steps=4, unroll_length=2, rule=LearnedSGD())
    learner.compile("sgd", "mse", run_eagerly=True)
    with pytest.raises(ValueError, match=r"or learner\.prepare_unrolls"):
        learner.outer_gradients(tasks.regression())
    learner.train_on_batch(tasks.regression())
    with pytest.raises(ValueError, match="same meta_batch_size and rows, or make another learner"):
        learner.train_on_batch(tasks.regression(tasks=2))
    assert np.isfinite(learner.test_on_batch(tasks.regression(tasks=2))).all()
