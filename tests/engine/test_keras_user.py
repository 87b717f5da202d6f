"""What a Keras user expects: callbacks, attributes that change, single batches, odd networks."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf

import tfmeta
from tfmeta.learners import MAML, ProtoNet


def classifier(**kwargs):
    learner = MAML(tfmeta.networks.mlp((8, 8, 1), 3, hidden=(4,)), **kwargs)
    learner.compile("adam", tasks.CROSSENTROPY, metrics=["accuracy"])
    return learner


def test_callbacks_metrics_and_summary(tmp_path):
    learner, data = classifier(), tasks.dataset(tasks.images(), 3)
    path = tmp_path / "best.keras"
    best = {"monitor": "val_accuracy", "mode": "max"}
    callbacks = [
        keras.callbacks.EarlyStopping(**best, patience=1, restore_best_weights=True),
        keras.callbacks.ModelCheckpoint(path, **best, save_best_only=True),
        keras.callbacks.ReduceLROnPlateau(patience=1),
        keras.callbacks.TerminateOnNaN(),
    ]
    history = learner.fit(data, epochs=3, validation_data=data, callbacks=callbacks, verbose=0)
    names = {"loss", "loss_before", "accuracy", "accuracy_before"}
    assert set(history.history) == names | {f"val_{n}" for n in names} | {"learning_rate"}
    assert set(learner.evaluate(data, verbose=0, return_dict=True)) == names
    assert keras.models.load_model(path).evaluate(data, verbose=0)[1] == pytest.approx(
        max(history.history["val_accuracy"]), abs=1e-6
    )
    lines = []
    learner.summary(print_fn=lambda text, **_: lines.append(text))
    assert "mlp" in "".join(lines)
    assert learner(tasks.images().query.x[0]).shape == (6, 3)


def test_fit_shows_one_progress_bar(capfd):
    data = tasks.dataset(tasks.images(), 3)
    classifier().fit(data, epochs=2, validation_data=data, verbose=2)
    lines = [line for line in capfd.readouterr().out.splitlines() if line.strip()]
    assert [line[:9].split(" - ")[0] for line in lines] == ["Epoch 1/2", "3/3", "Epoch 2/2", "3/3"]


def test_metrics_count_queries_after_and_before_adaptation():
    learner, episodes = classifier(inner_learning_rate=0.5, inner_steps=3), tasks.images()
    logs = learner.test_on_batch(episodes, return_dict=True)
    after = learner.predict_on_batch(episodes)
    before = np.array(learner(tf.reshape(episodes.query.x, (-1, 8, 8, 1)))).reshape(after.shape)
    for outputs, suffix in ((after, ""), (before, "_before")):
        right = np.mean(outputs.argmax(-1) == episodes.query.y)
        loss = np.mean(tasks.CROSSENTROPY(episodes.query.y, outputs))
        np.testing.assert_allclose(logs[f"accuracy{suffix}"], right, rtol=1e-5)
        np.testing.assert_allclose(logs[f"loss{suffix}"], loss, rtol=1e-4)
    assert logs["loss"] < logs["loss_before"]


def test_single_batches_equal_fit_evaluate_and_predict():
    episodes = tasks.images()
    data = tasks.dataset(episodes, 1)
    arrays = tfmeta.Episode(*[tfmeta.Examples(e.x.numpy(), e.y.numpy()) for e in episodes])
    keras.utils.set_random_seed(0)
    a = classifier()
    keras.utils.set_random_seed(0)
    b = classifier()
    loss = a.fit(data, verbose=0).history["loss"][0]
    assert b.train_on_batch(arrays, return_dict=True)["loss"] == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(a.evaluate(data, verbose=0), b.test_on_batch(arrays), rtol=1e-4)
    np.testing.assert_allclose(
        a.predict(data, verbose=0), b.predict_on_batch(arrays), rtol=1e-4, atol=1e-5
    )
    with pytest.raises(ValueError, match="Expected one meta-batch"):
        a.train_on_batch(arrays.support.x)


def test_changed_arguments_take_effect():
    learner, data = classifier(inner_learning_rate=0.1), tasks.dataset(tasks.images(), 1)
    first = learner.evaluate(data, verbose=0)[0]
    learner.inner_steps = 5
    assert learner.evaluate(data, verbose=0)[0] < first
    learner.fit(data, verbose=0)
    lengths = []

    class Shorten(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.inner_steps = 2 - epoch
            lengths.append(self.model.inner_steps)

    learner.fit(data, epochs=2, callbacks=[Shorten()], verbose=0)
    assert lengths == [2, 1]


@pytest.mark.parametrize("cls", [tfmeta.learners.MAML, tfmeta.learners.ANIL])
def test_changed_arguments_are_saved(cls, tmp_path):
    # ANIL hands `inner_steps` on in **kwargs, MAML takes it itself.
    learner, data = cls(tasks.dense(), inner_learning_rate=0.1), tasks.dataset(tasks.regression())
    learner.compile("sgd", "mse")
    one_step = learner.evaluate(data.take(1), verbose=0, return_dict=True)
    learner.inner_steps = 4
    four_steps = learner.evaluate(data.take(1), verbose=0, return_dict=True)
    assert four_steps["loss"] != one_step["loss"]
    learner.save(tmp_path / "learner.keras")
    loaded = keras.models.load_model(tmp_path / "learner.keras")
    assert loaded.inner_steps == 4
    assert loaded.evaluate(data.take(1), verbose=0, return_dict=True) == four_steps


@pytest.mark.parametrize("cls", [tfmeta.learners.ALFA, tfmeta.learners.MAMLPlusPlus])
def test_steps_with_parameters_of_their_own_do_not_change(cls):
    learner = cls(tasks.dense(), inner_steps=3)
    with pytest.raises(ValueError, match=r"Expected inner_steps to stay 3.*Received: 2"):
        learner.inner_steps = 2
    learner.evaluation_steps = 2
    assert learner.inner_steps == 3


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.head = keras.layers.Dense(1)

    def call(self, x):
        return self.head(x)


def test_network_that_is_a_subclass_and_not_built():
    learner, episodes = MAML(Subclassed()), tasks.regression()
    learner.compile("sgd", "mse")
    learner.fit(tasks.dataset(episodes, 1), verbose=0)
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    expected = learner.predict_query(learner.adapt(support), query.x)
    model = learner.adapted_model(support)
    np.testing.assert_allclose(model.predict(query.x, verbose=0), expected, rtol=1e-5)


def test_embedding_network():
    layers = [keras.Input((5,), dtype="int32"), keras.layers.Embedding(9, 4)]
    layers += [keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(3)]
    learner = MAML(keras.Sequential(layers), inner_learning_rate=1.0)
    learner.compile("adam", tasks.CROSSENTROPY)
    x = tf.random.stateless_uniform((2, 3, 5), (0, 0), 0, 9, tf.int32)
    examples = tfmeta.Examples(x, tf.tile(tf.range(3)[None], (2, 1)), tf.ones((2, 3)))
    logs = learner.train_on_batch(tfmeta.Episode(examples, examples), return_dict=True)
    assert logs["loss"] < logs["loss_before"]


def test_exported_models(tmp_path):
    episodes = tasks.images()
    protonet = ProtoNet(tasks.convolutional(4))
    for learner in (classifier(), protonet):
        model = learner.adapted_model(tasks.one(episodes.support))
        x = episodes.query.x[0]
        model.export(tmp_path / learner.name, verbose=False)
        served = tf.saved_model.load(tmp_path / learner.name)
        np.testing.assert_allclose(served.serve(x), model.predict(x, verbose=0), atol=1e-5)


def test_networks_without_a_single_trainable_output():
    frozen = tasks.dense()
    frozen.trainable = False
    two = tasks.dense()
    two = keras.Model(two.inputs, [two.outputs[0], two.outputs[0]])
    penalty = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1, activity_regularizer="l2")]
    )
    for network, message in (
        (frozen, "trainable weights"),
        (two, "one output"),
        (penalty, "activity_regularizer"),
    ):
        learner = MAML(network)
        learner.compile("sgd", "mse")
        with pytest.raises(ValueError, match=message):
            learner.fit(tasks.dataset(tasks.regression(), 1), verbose=0)


@pytest.mark.slow
def test_memory_stays_flat_and_one_trace():
    def resident():
        with open("/proc/self/status") as status:
            return int(next(s for s in status if s.startswith("VmRSS")).split()[1]) / 1024

    learner, traces, sizes = MAML(tfmeta.networks.mlp((1,), 1)), [], []
    learner.compile("adam", "mse")
    original = learner.train_step

    def counted(data):
        traces.append(1)
        return original(data)

    object.__setattr__(learner, "train_step", counted)

    class Size(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            sizes.append(resident())

    data = tfmeta.episodes.sinusoid(meta_batch_size=4)
    learner.fit(data, steps_per_epoch=500, epochs=4, callbacks=[Size()], verbose=0)
    assert len(traces) == 1
    assert sizes[-1] - sizes[0] < 8, sizes
