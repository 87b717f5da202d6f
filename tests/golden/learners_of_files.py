"""The learners behind the files in `files/`: small, seeded by NumPy, made of public names only.

Nothing here comes from a random operation of TensorFlow or an initialiser of Keras, so every
commit and every version of the two starts from the same weights and sees the same meta-batch.
"""

import keras
import numpy as np
import tensorflow as tf

import tfmeta
from tfmeta import learners

#: They learn nothing besides the network's weights: later versions load their files.
WEIGHTS_ONLY = ("MAML", "ANIL", "BOIL", "Reptile", "ImplicitMAML", "Finetune", "ProtoNet")


def seed(variables):
    """Give variables values drawn by NumPy in the place of the initialisers'."""
    random = np.random.default_rng(1)
    for variable in variables:
        shape = tuple(variable.shape)
        scale = 0.1 if len(shape) == 1 else np.prod(shape[:-1]) ** -0.5
        centre = 1.0 if variable.name in ("gamma", "moving_variance") else 0.0
        variable.assign((centre + scale * random.normal(size=shape)).astype("float32"))


def regressor():
    """A dense network for regression."""
    return tfmeta.networks.mlp((1,), 1, hidden=(5, 4), activation="tanh")


def embedding():
    """A dense network that embeds pictures."""
    return tfmeta.networks.mlp((4, 4, 1), 5, hidden=(8,), activation="tanh")


def convolutional():
    """A convolutional network with BatchNormalization for pictures of three classes."""
    layers = [
        keras.Input((4, 4, 1)),
        keras.layers.Conv2D(4, 3, strides=2, padding="same", name="convolution"),
        keras.layers.BatchNormalization(momentum=0.5, name="normalisation"),
        keras.layers.Activation("tanh", name="tanh"),
        keras.layers.Flatten(name="flatten"),
        keras.layers.Dense(3, name="head"),
    ]
    return keras.Sequential(layers, name="convolutional")


def lines(tasks=3, rows=4):
    """A meta-batch of lines with noise, `Episode` of NumPy arrays."""
    random = np.random.default_rng(2)
    slope = random.normal(size=(tasks, 1, 1))

    def examples():
        x = random.normal(size=(tasks, rows, 1))
        y = x * slope + 0.1 * random.normal(size=x.shape)
        mask = np.ones((tasks, rows), "float32")
        return tfmeta.Examples(x.astype("float32"), y.astype("float32"), mask)

    return tfmeta.Episode(examples(), examples())


def pictures(tasks=3, ways=3, rows=2):
    """A meta-batch of noisy pictures of three classes, `Episode` of NumPy arrays."""
    random = np.random.default_rng(3)
    classes = np.repeat(random.normal(size=(tasks, ways, 4, 4, 1)), rows, axis=1)

    def examples():
        x = (classes + 0.3 * random.normal(size=classes.shape)).astype("float32")
        y = np.tile(np.repeat(np.arange(ways, dtype="int32"), rows), (tasks, 1))
        return tfmeta.Examples(x, y, np.ones(y.shape, "float32"))

    return tfmeta.Episode(examples(), examples())


def _maker(cls, network, **options):
    def make(**compile_options):
        learner, other = _new(cls, network, options), _new(cls, network, options)
        # What a learner itself draws at random is what differs between two new ones.
        pairs = zip(learner.trainable_variables, other.trainable_variables, strict=True)
        seed([a for a, b in pairs if not np.array_equal(a, b)])
        images = network is not regressor
        if isinstance(learner, learners.SimpleShot):  # or the mean that it keeps would be zero
            x, y, _ = pictures().support
            learner.center_on(tfmeta.datasets.from_arrays(x[0], y[0]))
        cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        loss = cross_entropy if images else "mse"
        learner.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss, **compile_options)
        return learner, pictures() if images else lines()

    return make


def _new(cls, network, options):
    network = network()
    seed([v for v in network.variables if v.dtype == "float32"])  # not the states of seeds
    return cls(network, name=cls.__name__.lower(), **options)


RATE = {"inner_learning_rate": 0.05, "inner_steps": 2}
HEAD = {"head_learning_rate": 0.5, "head_steps": 3, "weight_decay": 1e-3}

#: Name -> function of more arguments of `compile` to `(compiled learner, its meta-batch)`.
LEARNERS = {
    "MAML": _maker(learners.MAML, convolutional, **RATE),
    "ANIL": _maker(learners.ANIL, convolutional, **RATE),
    "BOIL": _maker(learners.BOIL, convolutional, **RATE),
    "Reptile": _maker(learners.Reptile, regressor, **RATE),
    "ImplicitMAML": _maker(
        learners.ImplicitMAML, regressor, regularization=2.0, cg_steps=3, cg_damping=1.0, **RATE
    ),
    "Finetune": _maker(learners.Finetune, regressor, inner_learning_rate=0.05, evaluation_steps=2),
    "ProtoNet": _maker(learners.ProtoNet, convolutional, distance="squared_euclidean"),
    "MetaSGD": _maker(learners.MetaSGD, regressor, **RATE),
    "MetaCurvature": _maker(learners.MetaCurvature, regressor, **RATE),
    "ALFA": _maker(learners.ALFA, regressor, weight_decay=5e-4, **RATE),
    "CAVIA": _maker(
        learners.CAVIA, regressor, context_size=3, inner_learning_rate=0.5, inner_steps=2
    ),
    # Five steps go through the weighting of the steps' losses, and leave it.
    "MAMLPlusPlus": _maker(learners.MAMLPlusPlus, regressor, multi_step_loss_steps=3, **RATE),
    "ParameterMemory": _maker(
        learners.ParameterMemory,
        regressor,
        memory_size=3,
        neighbours=2,
        temperature=1.0,
        write_rate=0.1,
        **RATE,
    ),
    "Baseline": _maker(learners.Baseline, embedding, **HEAD),
    "BaselinePlusPlus": _maker(learners.BaselinePlusPlus, embedding, scale=2.0, **HEAD),
    "SimpleShot": _maker(learners.SimpleShot, embedding, transform="CL2N"),
}


def dataset(episode, repeat=None):
    """A `tf.data.Dataset` that gives one meta-batch, again and again."""
    return tf.data.Dataset.from_tensors(episode).repeat(repeat)


def fit(learner, episode, steps=5):
    """The training losses of some outer steps on one meta-batch, a list of floats."""
    history = learner.fit(dataset(episode), steps_per_epoch=1, epochs=steps, verbose=0).history
    return [float(loss) for loss in history["loss"]]


def outputs(learner, support_x, support_y, query_x):
    """What a learner predicts for one task after it has adapted to it, a NumPy array."""
    mask = np.ones(len(support_x), "float32")
    adapted = learner.adapt(tfmeta.Examples(support_x, support_y, mask))
    return np.asarray(learner.predict_query(adapted, query_x))
