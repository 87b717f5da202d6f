"""The contract of `MetaModel`, tried by methods of every kind that the catalogue has not."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf
from conformance.catalogue import assert_equal_weights, weights

import tfmeta
from tfmeta.engine.task import StateUpdate, TaskResult
from tfmeta.inner import SGD, Rule, call_network, gradient_steps
from tfmeta.learners import MAML, ProtoNet

REGISTER = keras.saving.register_keras_serializable("tests")


def run(network, values, x):
    """Outputs of a network without state, with `values` for all its weights."""
    trainable = len(network.trainable_variables)
    parts = values[:trainable], values[trainable:]
    return call_network(network, *parts, x, training=False, batch_statistics=False)[0]


def steps(network, start, support, rule, count, loss):
    """`start`, after some steps of a rule on the support loss."""

    def support_loss(values, state, t):
        return loss(support, run(network, values, support.x)), state

    return gradient_steps(support_loss, start, (), rule, count, False)[0][-1]


def tensors(variables):
    return [tf.convert_to_tensor(v) for v in variables]


@REGISTER
class OrderedSupport(tfmeta.MetaModel):
    """An LSTM reads the support rows, one after another."""

    order_matters = True

    def __init__(self, units=8, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.reader = keras.layers.LSTM(units)
        self.head = keras.layers.Dense(1)

    def adapt(self, support):
        return self.reader(tf.concat([support.x, support.y], axis=-1)[None])[0]

    def predict_query(self, adapted, x):
        memory = tf.broadcast_to(adapted, (tf.shape(x)[0], self.units))
        return self.head(tf.concat([x, memory], axis=-1))


@REGISTER
class StepSizes(Rule):
    """A learned step size for each weight."""

    def make(self, weights):
        initializer = keras.initializers.Constant(0.02)
        self.rates = self.add_weight(shape=(len(weights),), initializer=initializer, name="rates")

    def update(self, gradients, weights, slots, step):
        pairs = enumerate(zip(weights, gradients, strict=True))
        return [w - self.rates[i] * g for i, (w, g) in pairs], slots


@REGISTER
class RuleOnNewWeights(tfmeta.MetaModel):
    """A rule is learned; the weights that it steps are drawn anew in each task."""

    def __init__(self, network, count=3, **kwargs):
        super().__init__(network, **kwargs)
        network.trainable = False
        self.count = count
        self.rule = StepSizes()
        self.seeds = keras.random.SeedGenerator(0)

    def build(self, input_shape):
        super().build(input_shape)
        self.rule.make(self.network.weights)

    def own_layers(self):
        return self.network.layers

    def adapt(self, support):
        start = [
            keras.random.normal(w.shape, 0.0, 0.5, seed=self.seeds) for w in self.network.weights
        ]
        return steps(self.network, start, support, self.rule, self.count, self.task_loss)

    def predict_query(self, adapted, x):
        return run(self.network, adapted, x)


@REGISTER
class TwoParticles(tfmeta.MetaModel):
    """Two sets of weights are adapted; the prediction is the mean of theirs."""

    def __init__(self, network, rate=0.05, **kwargs):
        super().__init__(network, **kwargs)
        self.rate = rate
        self.other = keras.models.clone_model(network)

    def own_layers(self):
        return [*self.network.layers, *self.other.layers]

    def adapt(self, support):
        return {
            name: steps(self.network, tensors(start), support, SGD(self.rate), 2, self.task_loss)
            for name, start in (("one", self.network.weights), ("two", self.other.weights))
        }

    def predict_query(self, adapted, x):
        return tf.add_n([run(self.network, adapted[name], x) for name in ("one", "two")]) / 2


@REGISTER
class Reaching(tfmeta.MetaModel):
    """A policy walks to a point that it knows from demonstrations; loss is minus the return.

    Query: x are places to start from, y the goal. Where it goes from there its actions decide.
    """

    has_own_loss = True

    def __init__(self, network, horizon=3, noise=0.05, **kwargs):
        super().__init__(network, **kwargs)
        self.horizon, self.noise = horizon, noise
        self.seeds = keras.random.SeedGenerator(1)

    def own_layers(self):
        return self.network.layers

    def adapt(self, support):
        def error(examples, actions):
            return tf.reduce_mean((actions - examples.y) ** 2)

        start = tensors(self.network.weights)
        return steps(self.network, start, support, SGD(0.1), 2, error)

    def predict_query(self, adapted, x):
        return run(self.network, adapted, x)

    def score_task(self, episode, training):
        adapted, place, path = self.adapt(episode.support), episode.query.x, []
        for _ in range(self.horizon):
            noise = keras.random.normal(place.shape, stddev=self.noise, seed=self.seeds)
            place = place + self.predict_query(adapted, place) + (noise if training else 0.0)
            path.append(place)
        outputs = tf.stack(path, axis=1)  # [M, horizon, 2]
        goals = tf.repeat(episode.query.y[:, None], self.horizon, axis=1)
        return TaskResult(tf.reduce_mean((outputs - goals) ** 2), goals, outputs)


def journeys():
    """Each task is a goal; the support rows are steps towards it, half of the way."""
    random = np.random.default_rng(0)
    goal = random.normal(size=(3, 1, 2))

    def examples(targets):
        x = random.normal(size=(3, 5, 2))
        y = targets(x) + np.zeros_like(x)
        return tfmeta.Examples(*(tf.constant(t, tf.float32) for t in (x, y, np.ones((3, 5)))))

    return tfmeta.Episode(examples(lambda x: (goal - x) / 2), examples(lambda x: goal))


METHODS = {
    "order": (OrderedSupport, tasks.regression),
    "rule": (lambda **kw: RuleOnNewWeights(tasks.dense(), **kw), tasks.regression),
    "particles": (lambda **kw: TwoParticles(tasks.dense(), **kw), tasks.regression),
    "policy": (lambda **kw: Reaching(tasks.dense(2, 2), **kw), journeys),
}


def compiled(learner, **kwargs):
    loss = None if learner.has_own_loss else "mse"
    learner.compile(
        keras.optimizers.SGD(0.02, momentum=0.9, global_clipnorm=1.0),
        loss,
        metrics=["mae"],
        **kwargs,
    )
    return learner


def method(name, jit_compile=False, run_eagerly=False, **kwargs):
    """A compiled learner with the same weights at each call, and a meta-batch for it."""
    make, episodes = METHODS[name]
    keras.utils.set_random_seed(0)
    learner = compiled(make(**kwargs), jit_compile=jit_compile, run_eagerly=run_eagerly)
    return learner, episodes()


def predict(learner, episodes):
    adapted = learner.adapt(tasks.one(episodes.support))
    return np.array(learner.predict_query(adapted, episodes.query.x[0]))


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


# Inputs that are nests.


def two_inputs(outputs):
    """A network of a dict of two inputs, of two shapes."""
    keras.utils.set_random_seed(0)
    inputs = {
        "numbers": keras.Input((3,), name="numbers"),
        "words": keras.Input((2, 2), name="words"),
    }
    flat = keras.layers.Flatten()(inputs["words"])
    both = keras.layers.Concatenate()([inputs["numbers"], flat])
    hidden = keras.layers.Dense(5, "tanh")(both)
    return keras.Model(inputs, keras.layers.Dense(outputs)(hidden))


def nests(ways=2, shots=3):
    """A meta-batch of two tasks, whose x is a dict."""
    random = np.random.default_rng(0)
    y = np.tile(np.repeat(np.arange(ways, dtype="int32"), shots), (2, 1))

    def examples():
        numbers = random.normal(size=(*y.shape, 3)) + y[..., None]
        words = random.normal(size=(*y.shape, 2, 2))
        x = {"numbers": numbers.astype("float32"), "words": words.astype("float32")}
        x = tf.nest.map_structure(tf.constant, x)
        return tfmeta.Examples(x, tf.constant(y), tf.ones(y.shape))

    return tfmeta.Episode(examples(), examples())


def one_nest(examples):
    return tf.nest.map_structure(lambda t: t[0].numpy(), examples)


@pytest.mark.parametrize(("cls", "jit_compile"), [(MAML, True), (MAML, False), (ProtoNet, False)])
def test_inputs_may_be_a_nest(cls, jit_compile, tmp_path):
    learner, episodes = cls(two_inputs(2)), nests()
    learner.compile("adam", tasks.CROSSENTROPY, metrics=["accuracy"], jit_compile=jit_compile)
    data = tasks.dataset(episodes, 10)
    losses = learner.fit(data, epochs=2, validation_data=data.take(1), verbose=0).history["loss"]
    assert losses[1] < losses[0]
    support, x = one_nest(episodes.support), one_nest(episodes.query).x
    expected = learner.predict_query(learner.adapt(support), x)
    np.testing.assert_allclose(learner.predict(data.take(1), verbose=0)[0], expected, atol=1e-5)
    np.testing.assert_allclose(
        learner.adapted_model(support).predict(x, verbose=0), expected, atol=1e-5
    )
    learner.save(tmp_path / "learner.keras")
    learner.adapted_model(support).save(tmp_path / "adapted.keras")
    loaded = keras.models.load_model(tmp_path / "learner.keras")
    np.testing.assert_allclose(loaded.predict_query(loaded.adapt(support), x), expected, atol=1e-6)
    adapted = keras.models.load_model(tmp_path / "adapted.keras")
    np.testing.assert_allclose(adapted.predict(x, verbose=0), expected, atol=1e-5)
    pair = [one.evaluate(data.take(1), verbose=0) for one in (learner, loaded)]
    np.testing.assert_allclose(*pair, rtol=1e-5)


@REGISTER
class ReadsNests(tfmeta.MetaModel):
    """Layers of its own over a dict, which a learner meets first in an episode."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.of_numbers, self.of_words = keras.layers.Dense(4), keras.layers.Dense(4)
        self.head = keras.layers.Dense(1)

    def call(self, x):
        words = tf.reduce_mean(self.of_words(x["words"]), axis=-2)
        return self.head(tf.tanh(self.of_numbers(x["numbers"]) + words))

    def adapt(self, support):
        return tf.reduce_mean(tf.cast(support.y, tf.float32)[:, None] - self(support.x), axis=0)

    def predict_query(self, adapted, x):
        return self(x) + adapted


def test_a_learners_own_layers_may_read_a_nest(tmp_path):
    learner, episodes = compiled(ReadsNests()), nests()
    learner.fit(tasks.dataset(episodes, 2), verbose=0)
    learner.save(tmp_path / "learner.keras")
    loaded = keras.models.load_model(tmp_path / "learner.keras")
    assert loaded.built
    assert_equal_weights(learner, loaded)
    model = loaded.adapted_model(one_nest(episodes.support))
    np.testing.assert_allclose(
        model.predict(one_nest(episodes.query).x, verbose=0),
        learner.predict(tasks.dataset(episodes, 1), verbose=0)[0],
        atol=1e-5,
    )


# Layers of a learner's own, masks, state.


@REGISTER
class NetworkAndLayers(tfmeta.MetaModel):
    """A network for the inputs, and layers that are made for the targets' shape, too."""

    def __init__(self, network, **kwargs):
        super().__init__(network, **kwargs)
        self.encoder = keras.layers.Dense(6, "tanh")
        self.head = keras.layers.Dense(2)

    def adapt(self, support):
        pairs = tf.concat([self.network(support.x), support.y], axis=-1)
        return tf.reduce_mean(self.encoder(pairs), axis=0)

    def predict_query(self, adapted, x):
        features = self.network(x)
        adapted = tf.broadcast_to(adapted, (tf.shape(x)[0], 6))
        return self.head(tf.concat([features, adapted], axis=-1))


def unbuilt_network():
    return keras.Sequential([keras.layers.Dense(3, "tanh")])


@pytest.mark.parametrize("network", [unbuilt_network, lambda: tasks.dense(3, 2)])
def test_a_network_and_own_layers_are_built_on_the_first_episodes(network, tmp_path):
    learner, episodes = compiled(NetworkAndLayers(network())), journeys()
    assert not learner.built
    with pytest.raises(ValueError, match="Expected"):
        learner.adapt(tasks.one(episodes.support))
    learner.prepare(tasks.dataset(episodes, 1))
    assert learner.built
    assert learner.encoder.kernel.shape == (3 + 2, 6)
    losses = learner.fit(tasks.dataset(episodes, 10), epochs=2, verbose=0).history["loss"]
    assert losses[1] < losses[0]
    learner.save(tmp_path / "learner.keras")
    loaded = keras.models.load_model(tmp_path / "learner.keras")
    assert loaded.built
    assert_equal_weights(learner, loaded)
    np.testing.assert_allclose(predict(loaded, episodes), predict(learner, episodes), atol=1e-6)


def test_fit_builds_own_layers():
    learner = compiled(NetworkAndLayers(unbuilt_network()))
    assert not learner.built
    learner.fit(tasks.dataset(journeys(), 1), verbose=0)
    assert learner.built


@REGISTER
class ExtraHead(MAML):
    """MAML, and a layer beside the network that the inner loop does not change."""

    def __init__(self, network=None, **kwargs):
        super().__init__(network, **kwargs)
        self.extra = keras.layers.Dense(1)

    def predict_query(self, adapted, x, training=False):
        return super().predict_query(adapted, x, training) + self.extra(x)


def test_a_gradient_learner_with_a_layer_of_its_own_is_saved_and_loaded(tmp_path):
    learner, episodes = compiled(ExtraHead(tasks.dense())), tasks.regression()
    assert not learner.built
    learner.fit(tasks.dataset(episodes, 2), verbose=0)
    learner.save(tmp_path / "learner.keras")
    loaded = keras.models.load_model(tmp_path / "learner.keras")
    assert_equal_weights(learner, loaded)
    np.testing.assert_array_equal(predict(loaded, episodes), predict(learner, episodes))


@REGISTER
class CentresQuery(tfmeta.MetaModel):
    """Predicts from query rows less their mean, over real rows alone."""

    supports_masks = transductive = True

    def adapt(self, support):
        mask = support.mask[:, None]
        return tf.reduce_sum(support.y * mask, axis=0) / tf.reduce_sum(mask)

    def predict_query(self, adapted, x, mask=None):
        mask = (tf.ones(tf.shape(x)[:1]) if mask is None else mask)[:, None]
        mean = tf.reduce_sum(x * mask, axis=0) / tf.reduce_sum(mask)
        return adapted + self.network(x - mean)


def padded(examples, rows=2):
    def extend(t, value):
        return tf.pad(t, [[0, 0], [0, rows], *([[0, 0]] * (t.shape.rank - 2))], "CONSTANT", value)

    return tfmeta.Examples(
        extend(examples.x, 9.0), extend(examples.y, 5.0), extend(examples.mask, 0)
    )


@pytest.mark.parametrize("jit_compile", [False, True])
def test_heads_that_look_at_all_of_the_query_set_get_its_mask(jit_compile):
    learner = compiled(CentresQuery(tasks.dense()), jit_compile=jit_compile)
    episodes = tasks.regression()
    longer = tfmeta.Episode(*map(padded, episodes))
    expected = learner.test_on_batch(episodes)
    np.testing.assert_allclose(learner.test_on_batch(longer), expected, rtol=1e-5)
    outputs = learner.predict_on_batch(longer)[:, :-2]
    np.testing.assert_allclose(outputs, learner.predict_on_batch(episodes), atol=1e-5)


def test_the_mask_of_the_query_may_be_left_out_and_a_method_without_one_gets_none():
    learner, episodes = compiled(CentresQuery(tasks.dense())), tasks.regression()
    query = tasks.one(padded(episodes.query))
    adapted = learner.adapt(tasks.one(episodes.support))
    masked = learner.predict_query(adapted, query.x, mask=query.mask)
    np.testing.assert_allclose(masked[:-2], learner.predict_query(adapted, query.x[:-2]), atol=1e-6)
    assert not np.allclose(masked, learner.predict_query(adapted, query.x))
    without = compiled(TwoParticles(tasks.dense()))
    adapted = without.adapt(tasks.one(episodes.support))
    np.testing.assert_array_equal(
        without.predict_query(adapted, query.x, mask=query.mask, training=True),
        without.predict_query(adapted, query.x),
    )


@REGISTER
class LargestTarget(MAML):
    """MAML that keeps the largest target of all tasks, and how many there were."""

    def __init__(self, network=None, **kwargs):
        super().__init__(network, **kwargs)
        self.largest = self.add_weight(shape=(), trainable=False, name="largest")
        self.seen = self.add_weight(shape=(), trainable=False, dtype="int32", name="seen")

    def score_task(self, episode, training):
        def merge(values):
            return tf.maximum(self.largest, tf.reduce_max(values)), self.seen + tf.size(values)

        result = super().score_task(episode, training)
        update = StateUpdate([self.largest, self.seen], tf.reduce_max(episode.query.y), merge)
        return result._replace(updates=[update] if training else ())


@pytest.mark.parametrize("way", [{"jit_compile": True}, {"jit_compile": False}, "loop", "eager"])
def test_state_goes_over_tasks_as_a_method_says(way, tmp_path):
    learner = LargestTarget(tasks.dense(), task_batching="loop" if way == "loop" else "auto")
    compiled(learner, **way if isinstance(way, dict) else {"run_eagerly": way == "eager"})
    batches = [tasks.regression(seed=seed) for seed in range(3)]
    for episodes in batches:
        learner.train_on_batch(episodes)
        learner.test_on_batch(episodes)
    expected = max(tf.reduce_max(e.query.y).numpy() for e in batches)
    np.testing.assert_allclose(learner.largest, expected)
    assert int(learner.seen) == 9
    learner.save(tmp_path / "learner.keras")
    loaded = keras.models.load_model(tmp_path / "learner.keras")
    assert (float(loaded.largest), int(loaded.seen)) == (float(learner.largest), 9)
