"""Trials of somebody who comes from Keras: what fits there fits here, or is refused in words."""

import copy
import pickle

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf

import tfmeta
from tfmeta.learners import MAML, ProtoNet

LABELS = np.tile(np.arange(3, dtype="int32").repeat(2), (2, 1))


def network(*layers, outputs=3):
    return keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(outputs)])


def compiled(learner, optimizer="sgd", loss=tasks.CROSSENTROPY, **options):
    learner.compile(optimizer, loss, **{"run_eagerly": True} | options)
    return learner


def episode(y=LABELS, seed=0):
    random = np.random.default_rng(seed)

    def examples():
        x = random.normal(size=(*y.shape[:2], 4)).astype("float32")
        return tfmeta.Examples(*map(tf.constant, (x, y, np.ones(y.shape[:2], "float32"))))

    return tfmeta.Episode(examples(), examples())


def data(steps=2, y=LABELS):
    return tasks.dataset(episode(y), steps)


def losses_of(learner, steps=2, **options):
    return learner.fit(data(steps), verbose=0, **options).history["loss"]


# Optimizers.


def test_a_schedule_counts_outer_steps():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    learner = compiled(MAML(network()), keras.optimizers.SGD(schedule))
    losses_of(learner, 3)
    assert float(learner.optimizer.learning_rate) == pytest.approx(0.0125)


def test_a_scheduler_sets_the_outer_rate():
    learner, rates = compiled(MAML(network())), [0.1, 0.05, 0.1 / 3]
    callback = keras.callbacks.LearningRateScheduler(lambda epoch: rates[epoch])
    history = learner.fit(data(), epochs=3, callbacks=[callback], verbose=0).history
    assert history["learning_rate"] == pytest.approx(rates)


def test_clipping_bounds_the_outer_step():
    learner = compiled(MAML(network()), keras.optimizers.SGD(1.0, global_clipnorm=1e-3))
    before = learner.get_weights()
    losses_of(learner, 1)
    moves = [a - b for a, b in zip(learner.get_weights(), before, strict=True)]
    norm = np.sqrt(sum(np.sum(m**2) for m in moves))
    assert 0.9e-3 < norm < 1.1e-3


def test_gradients_accumulate():
    learner = compiled(MAML(network()), keras.optimizers.SGD(1.0, gradient_accumulation_steps=2))
    before = learner.get_weights()[0]
    losses_of(learner, 1)
    np.testing.assert_array_equal(learner.get_weights()[0], before)
    losses_of(learner, 1)
    assert np.abs(learner.get_weights()[0] - before).max() > 0


def test_averaged_weights_are_swapped_in():
    learner = compiled(MAML(network()), keras.optimizers.SGD(0.1, use_ema=True))
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    history = learner.fit(data(3), validation_data=data(1), callbacks=[swap], verbose=0).history
    assert history["val_loss"][0] != learner.evaluate(data(1), verbose=0)


def test_steps_of_one_execution_are_all_taken():
    learner = compiled(MAML(network()), steps_per_execution=3, run_eagerly=False, jit_compile=False)
    losses_of(learner, 7)
    assert int(learner.optimizer.iterations) == 7


# Callbacks.


def test_a_callback_stops_evaluates_and_writes_logs(tmp_path):
    class Mine(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 1

        def on_epoch_end(self, epoch, logs=None):
            logs["mine"] = self.model.evaluate(data(1), verbose=0, return_dict=True)["loss"]
            assert self.model.predict(data(1), verbose=0).shape == (2, 6, 3)

    learner = compiled(MAML(network()), metrics=["accuracy"])
    log = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    history = learner.fit(data(5), epochs=3, callbacks=[Mine(), log], verbose=0).history
    assert int(learner.optimizer.iterations) == 2
    assert len(history["mine"]) == 1
    assert (tmp_path / "log.csv").read_text().startswith("epoch,accuracy,accuracy_before,loss")


def test_epochs_go_on_and_validation_may_be_rare():
    options = {"initial_epoch": 1, "validation_data": data(1), "validation_freq": 2}
    history = compiled(MAML(network())).fit(data(), epochs=4, verbose=0, **options)
    assert history.epoch == [1, 2, 3]
    assert len(history.history["val_loss"]) == 2


def test_early_stopping_stops():
    learner = compiled(MAML(network()))
    stop = keras.callbacks.EarlyStopping("val_loss", min_delta=10, patience=1)
    assert len(losses_of(learner, epochs=6, validation_data=data(1), callbacks=[stop])) == 2


# Copies and files.


@pytest.mark.parametrize("by", ["clone", "deepcopy", "pickle", "json"])
def test_a_copy_is_another_learner(by):
    learner = compiled(MAML(network(), inner_learning_rate=0.3), "adam")
    losses_of(learner)
    copies = {
        "clone": keras.models.clone_model,
        "deepcopy": copy.deepcopy,
        "pickle": lambda one: pickle.loads(pickle.dumps(one)),
        "json": lambda one: keras.models.model_from_json(one.to_json()),
    }
    other = copies[by](learner)
    assert other.inner_learning_rate == 0.3
    assert other.network is not learner.network
    if by in ("clone", "json"):
        other.set_weights(learner.get_weights())
        compiled(other, "adam")
    assert other.evaluate(data(1), verbose=0) == pytest.approx(learner.evaluate(data(1), verbose=0))
    before = learner.get_weights()[0]
    losses_of(other)
    np.testing.assert_array_equal(learner.get_weights()[0], before)


def test_weights_are_saved_without_the_learner(tmp_path):
    learner, other = compiled(MAML(network())), compiled(MAML(network()))
    losses_of(learner)
    learner.save_weights(tmp_path / "my.weights.h5")
    other.load_weights(tmp_path / "my.weights.h5")
    assert other.evaluate(data(1), verbose=0) == learner.evaluate(data(1), verbose=0)


@keras.saving.register_keras_serializable("new_user")
def own_loss(y, outputs):
    return keras.ops.mean(keras.ops.abs(y - outputs), axis=-1)


def test_a_loss_of_ones_own_is_in_the_file(tmp_path):
    numbers = data(1, np.ones((2, 6, 3), "float32"))
    learner = compiled(MAML(network()), "adam", own_loss)
    learner.fit(numbers, verbose=0)
    learner.save(tmp_path / "learner.keras")
    loaded = keras.models.load_model(tmp_path / "learner.keras")
    assert loaded.evaluate(numbers, verbose=0) == learner.evaluate(numbers, verbose=0)
    assert int(loaded.optimizer.iterations) == 1


# Networks.


def test_a_frozen_backbone_stays():
    backbone = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5)])
    backbone.trainable = False
    inputs = keras.Input((4,))
    outputs = keras.layers.Dense(3)(backbone(inputs, training=False))
    learner, before = compiled(MAML(keras.Model(inputs, outputs))), backbone.get_weights()[0]
    losses_of(learner)
    np.testing.assert_array_equal(backbone.get_weights()[0], before)


def test_a_layer_that_is_frozen_after_training_stays():
    layer = keras.layers.Dense(5)
    learner = compiled(MAML(network(layer)))
    losses_of(learner)
    layer.trainable = False
    compiled(learner)
    before, all_before = layer.get_weights()[0], learner.get_weights()
    losses_of(learner)
    np.testing.assert_array_equal(layer.get_weights()[0], before)
    assert any((a != b).any() for a, b in zip(learner.get_weights(), all_before, strict=True))


@pytest.mark.parametrize("cls", [MAML, ProtoNet])
def test_an_adapted_model_is_a_part_of_other_models(cls):
    learner = compiled(cls(network()))
    losses_of(learner, 1)
    support, query = map(tasks.one, episode())
    model = learner.adapted_model(support)
    expected = keras.ops.softmax(model(query.x))
    inputs = keras.Input((4,))
    functional = keras.Model(inputs, keras.layers.Softmax()(model(inputs)))
    for other in (functional, keras.Sequential([model, keras.layers.Softmax()])):
        np.testing.assert_allclose(other(query.x), expected, rtol=1e-5)
    model.compile(loss=tasks.CROSSENTROPY, metrics=["accuracy"], run_eagerly=True)
    said = np.argmax(expected, axis=-1) == query.y
    assert model.evaluate(query.x, query.y, verbose=0)[1] == pytest.approx(said.mean())
    if cls is MAML:
        assert (model.input_shape, model.output_shape) == ((None, 4), (None, 3))


def test_the_sum_of_tasks_counts_in_an_uneven_last_meta_batch():
    three = episode(np.concatenate([LABELS, LABELS[:1]]))
    learner = compiled(MAML(network()))
    whole = learner.test_on_batch(three)
    batches = tf.data.Dataset.from_tensor_slices(three).batch(2)
    assert learner.evaluate(batches, verbose=0) == pytest.approx(whole, rel=1e-5)


def test_a_strategy_of_one_device():
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        learner = MAML(network())
        compiled(learner, run_eagerly=False, jit_compile=True)
    assert np.isfinite(losses_of(learner)[0])


# Refused in words.


def test_what_would_do_nothing_is_refused():
    learner = MAML(network())
    with pytest.raises(ValueError, match=r"no loss_weights.*loss_weights=\[2\.0\]"):
        learner.compile("sgd", "mse", loss_weights=[2.0])
    with pytest.raises(ValueError, match=r"plain keras\.Model as the network of MAML.*learner"):
        MAML(learner)


def test_a_list_of_inputs_is_refused_in_words():
    a, b = keras.Input((4,)), keras.Input((2,))
    outputs = keras.layers.Dense(3)(keras.layers.Concatenate()([a, b]))
    learner = compiled(MAML(keras.Model([a, b], outputs)))
    x = [np.ones((3, 4), "float32"), np.ones((3, 2), "float32")]
    with pytest.raises(ValueError, match="several arrays go into a dict or a tuple"):
        learner.adapt(tfmeta.Examples(x, np.arange(3)))
    assert len(learner.adapt(tfmeta.Examples(tuple(x), np.arange(3))).weights) == 2
