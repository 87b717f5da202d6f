"""Methods of every kind that the catalogue has not, thirty lines each: they try the contract."""

import keras
import numpy as np
import tasks
import tensorflow as tf

import tfmeta
from tfmeta.engine.task import TaskResult
from tfmeta.inner import SGD, Rule, call_network, gradient_steps

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
