"""Keras's training loop, for every learner."""

import time

import keras
import numpy as np
import pytest
import tasks
from conformance import catalogue

PARAMS = catalogue.PARAMS


@PARAMS
def test_fit_learns_traces_each_step_once_and_leaves_gradient_learners_statistics(row):
    learner, data = row.compiled(), tasks.dataset(row.episodes(), 10)
    traces = catalogue.count_traces(learner)
    statistics = learner.inner_network().non_trainable_variables
    before = [np.array(v) for v in statistics]
    first = learner.fit(data, epochs=2, validation_data=data.take(2), verbose=0)
    second = learner.fit(data, epochs=1, validation_data=data.take(2), verbose=0)
    learner.evaluate(data.take(2), verbose=0)
    assert traces == {"train_step": 1, "test_step": 1}
    losses = first.history["loss"] + second.history["loss"]
    assert losses[2] < losses[1] < losses[0]
    moved = [not np.array_equal(a, b) for a, b in zip(before, statistics, strict=True)]
    # ProtoNet trains the moving averages that it later predicts with; MAML never touches them.
    assert all(moved) if row.renames else not any(moved)


@catalogue.EAGER_OR_COMPILED
def test_save_and_go_on_equals_an_uninterrupted_run(row, eager, tmp_path):
    learner = row.compiled(run_eagerly=eager)
    data = tasks.dataset(row.episodes(), 2)
    learner.fit(data, verbose=0)
    learner.save(tmp_path / "learner.keras")
    loaded = keras.models.load_model(tmp_path / "learner.keras")
    assert type(loaded) is type(learner)
    # A network's own config names its inputs anew.
    unnamed = dict.fromkeys(("network", "description_network"))
    assert loaded.get_config() | unnamed == learner.get_config() | unnamed
    catalogue.assert_equal_weights(learner, loaded)
    catalogue.assert_equal_weights(
        [np.array(v) for v in learner.optimizer.variables],
        [np.array(v) for v in loaded.optimizer.variables],
    )
    np.testing.assert_allclose(
        learner.evaluate(data, verbose=0), loaded.evaluate(data, verbose=0), rtol=1e-5
    )
    history = [model.fit(data, verbose=0).history["loss"] for model in (learner, loaded)]
    np.testing.assert_allclose(*history, rtol=1e-5)
    catalogue.assert_equal_weights(learner, loaded, rtol=1e-4, atol=1e-6)


MODES = [{"steps_per_execution": 5}, {"run_eagerly": True}, {"jit_compile": True}]


@catalogue.COMPILED
def test_every_way_to_run_gives_the_same_weights(row):
    data = tasks.dataset(row.episodes(), 3)
    plain = row.compiled()
    expected = plain.fit(data, verbose=0).history["loss"]
    for mode in MODES:
        learner = row.compiled(**mode)
        np.testing.assert_allclose(
            learner.fit(data, verbose=0).history["loss"], expected, rtol=1e-4, err_msg=str(mode)
        )
        catalogue.assert_equal_weights(
            learner, plain, rtol=1e-3, atol=1e-4 if "jit_compile" in mode else 1e-5
        )


@pytest.mark.parametrize("name", ["MAML", "MAML-strided"])
def test_xla_does_not_compile_again_at_every_step(name):
    row = catalogue.ROWS[name]
    learner, data = row.compiled(jit_compile=True), tasks.dataset(row.episodes(), 20)
    start = time.perf_counter()
    learner.fit(data.take(1), verbose=0)
    first = time.perf_counter() - start
    learner.fit(data.take(1), verbose=0)
    start = time.perf_counter()
    learner.fit(data, verbose=0)
    # Compiled again, 20 steps would take 20 times as long as the first.
    assert time.perf_counter() - start < 3 * first
