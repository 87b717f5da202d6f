"""The contract of `MetaModel`, tried by methods of every kind that the catalogue has not."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf
from conformance.catalogue import assert_equal_weights, weights
from conformance.methods import METHODS, compiled, method, predict

import tfmeta
from tfmeta.learners import MAML


@pytest.mark.parametrize("name", METHODS)
def test_it_trains(name):
    learner, episodes = method(name)
    learner.prepare(tasks.dataset(episodes, 1))
    before = weights(learner)
    data = tasks.dataset(episodes, 10)
    history = learner.fit(data, epochs=3, validation_data=data.take(1), verbose=0).history
    assert history["val_loss"][2] < history["val_loss"][0]
    for values in (*history.values(), *weights(learner)):
        assert np.isfinite(values).all()
    state = {id(v) for v in learner.non_trainable_variables}
    for variable, old in zip(learner.variables, before, strict=True):
        assert np.array_equal(variable, old) == (id(variable) in state), variable.path


@pytest.mark.parametrize("name", METHODS)
def test_every_way_to_run_it_gives_the_same_weights(name):
    ways = [{}, {"run_eagerly": True}, {"task_batching": "loop"}]
    if name == "order":  # XLA draws other random numbers from the same seeds
        ways.append({"jit_compile": True})
    found = []
    for way in ways:
        learner, episodes = method(name, **way)
        learner.fit(tasks.dataset(episodes, 2), verbose=0)
        found.append(weights(learner))
    for other, way in zip(found[1:], ways[1:], strict=True):
        assert_equal_weights(found[0], other, rtol=1e-3, atol=1e-4, err_msg=str(way))


@pytest.mark.parametrize("name", METHODS)
def test_it_is_saved_and_loaded_and_goes_on(name, tmp_path):
    learner, episodes = method(name)
    data = tasks.dataset(episodes, 2)
    learner.fit(data, verbose=0)
    learner.save(tmp_path / "learner.keras")
    loaded = keras.models.load_model(tmp_path / "learner.keras")
    np.testing.assert_array_equal(predict(loaded, episodes), predict(learner, episodes))
    for one in (learner, loaded):
        one.fit(data, verbose=0)
    # Trainable ones: Keras saves no seed of an LSTM without dropout.
    pair = [[np.array(v) for v in one.trainable_variables] for one in (learner, loaded)]
    assert_equal_weights(*pair, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_its_adapted_model_predicts_and_is_saved(name, tmp_path):
    learner, episodes = method(name)
    learner.prepare(tasks.dataset(episodes, 1))
    model, x = learner.adapted_model(tasks.one(episodes.support)), episodes.query.x[0].numpy()
    np.testing.assert_allclose(model.predict(x, verbose=0), predict(learner, episodes), atol=1e-5)
    model.save(tmp_path / "adapted.keras")
    loaded = keras.models.load_model(tmp_path / "adapted.keras")
    np.testing.assert_allclose(loaded(x), model(x), atol=1e-6)


def test_a_learner_of_ordered_rows_tells_orders_apart():
    learner, episodes = method("order")
    learner.prepare(tasks.dataset(episodes, 1))
    support, x = tasks.one(episodes.support), episodes.query.x[0]
    backwards = tfmeta.Examples(*[t[::-1] for t in support])
    pair = [learner.predict_query(learner.adapt(s), x) for s in (support, backwards)]
    assert not np.allclose(*pair, atol=1e-4)


def test_the_outer_gradient_reaches_the_rule_alone():
    learner, episodes = method("rule")
    learner.fit(tasks.dataset(episodes, 2), verbose=0)
    assert [v.path for v in learner.trainable_variables] == [learner.rule.rates.path]
    _, gradients = learner.outer_gradients(episodes)
    assert [g.shape for g in gradients] == [(6,)]
    assert np.all(np.array(gradients[0]) != 0)


def test_each_task_of_a_training_step_draws_weights_of_its_own():
    learner, episodes = method("rule")
    same = tf.nest.map_structure(lambda t: tf.repeat(t[:1], 2, axis=0), episodes)
    learner.prepare(tasks.dataset(same, 1))
    learner.rule.rates.assign(np.zeros(6))  # what is drawn stays
    results, _ = learner.outer_gradients(same)
    assert not np.allclose(results.outputs[0], results.outputs[1])
    outputs = learner.predict_on_batch(same)
    np.testing.assert_array_equal(outputs[0], outputs[1])


def test_particles_predict_the_mean_of_two():
    learner, episodes = method("particles")
    learner.prepare(tasks.dataset(episodes, 1))
    support, x = tasks.one(episodes.support), episodes.query.x[0]
    two = []
    for network in (learner.network, learner.other):
        maml = compiled(MAML(network, inner_learning_rate=0.05, inner_steps=2))
        two.append(maml.predict_query(maml.adapt(support), x))
    assert not np.allclose(*two, atol=1e-4)
    np.testing.assert_allclose(predict(learner, episodes), np.mean(two, axis=0), atol=1e-6)


def test_metrics_compare_the_targets_and_outputs_of_a_policy_itself():
    learner, episodes = method("policy")
    logs = learner.test_on_batch(episodes, return_dict=True)
    errors = []
    for task in range(3):
        adapted = learner.adapt(tasks.one(episodes.support, task))
        place = episodes.query.x[task]
        for _ in range(3):
            place = place + learner.predict_query(adapted, place)
            errors.append(place - episodes.query.y[task])
    np.testing.assert_allclose(logs["mae"], np.abs(errors).mean(), rtol=1e-5)
    np.testing.assert_allclose(logs["loss"], np.square(errors).mean(), rtol=1e-5)
