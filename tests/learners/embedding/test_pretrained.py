"""Learners on a pretrained network: their heads against NumPy, and pretraining itself."""

import keras
import numpy as np
import pytest
import tasks
from meta_gradients import relative_error_along

import tfmeta
from tfmeta.learners import MAML, Baseline, BaselinePlusPlus, ProtoNet, SimpleShot

ALL = [Baseline, BaselinePlusPlus, SimpleShot]


def embedding(width=4):
    return tasks.convolutional(width, norm=False)


def task(shots=2):
    """Support set and query inputs of one task of three ways, NumPy."""
    episodes = tasks.images(shots=shots)
    return tasks.one(episodes.support), tasks.one(episodes.query).x


def base_classes(classes=6, rows=8):
    """Noisy pictures, `ClassDataset`."""
    random = np.random.default_rng(0)
    x = np.repeat(random.normal(size=(classes, 8, 8, 1)), rows, axis=0)
    x = (x + 0.3 * random.normal(size=x.shape)).astype("float32")
    return tfmeta.datasets.from_arrays(x, np.repeat(np.arange(classes), rows))


def softmax(logits):
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("padding", [0, 2])
def test_steps_of_a_linear_head_by_hand(padding):
    support, x = task()
    learner = Baseline(embedding(), head_learning_rate=0.3, head_steps=3, weight_decay=0.1)
    z, onehot = learner.embed(support.x).numpy(), np.eye(3)[support.y]
    kernel, bias = np.zeros((4, 3)), np.zeros(3)
    for _ in range(3):
        errors = (softmax(z @ kernel + bias) - onehot) / len(z)
        kernel, bias = (
            kernel - 0.3 * (z.T @ errors + 0.1 * kernel),
            bias - 0.3 * (errors.sum(axis=0) + 0.1 * bias),
        )
    padded = tfmeta.Examples(
        np.concatenate([support.x, 9 * np.ones((padding, 8, 8, 1), "float32")]),
        np.concatenate([support.y, np.ones(padding, "int32")]),
        np.concatenate([support.mask, np.zeros(padding, "float32")]),
    )
    adapted = learner.adapt(padded)
    np.testing.assert_allclose(adapted.weights[0], kernel, atol=1e-5)
    np.testing.assert_allclose(adapted.weights[1], bias, atol=1e-5)
    expected = learner.embed(x).numpy() @ kernel + bias
    np.testing.assert_allclose(learner.predict_query(adapted, x), expected, atol=1e-5)


def unit(x, axis):
    return x / np.linalg.norm(x, axis=axis, keepdims=True)


def test_a_step_of_a_cosine_head_by_hand():
    support, x = task()
    learner = BaselinePlusPlus(
        embedding(), scale=5.0, head_learning_rate=0.3, head_steps=1, weight_decay=0.1
    )
    z = unit(learner.embed(support.x).numpy(), 1)
    vectors = np.stack([z[support.y == label].mean(axis=0) for label in range(3)], axis=1)
    directions, lengths = unit(vectors, 0), np.linalg.norm(vectors, axis=0)
    errors = (softmax(5 * z @ directions) - np.eye(3)[support.y]) / len(z)
    slopes = 5 * z.T @ errors
    # A change along the vector changes no cosine.
    slopes = (slopes - directions * np.sum(directions * slopes, axis=0)) / lengths
    vectors = vectors - 0.3 * (slopes + 0.1 * vectors)
    adapted = learner.adapt(support)
    np.testing.assert_allclose(adapted.weights[0], vectors, atol=1e-5)
    expected = 5 * unit(learner.embed(x).numpy(), 1) @ unit(vectors, 0)
    np.testing.assert_allclose(learner.predict_query(adapted, x), expected, atol=1e-4)


@pytest.mark.parametrize("transform", ["CL2N", "L2N", "UN"])
def test_nearest_transformed_mean_by_hand(transform):
    support, x = task()
    network, base = embedding(), base_classes()
    learner = SimpleShot(network, transform=transform)
    learner.center_on(base)
    mean = network.predict(base.x, verbose=0).mean(axis=0)
    np.testing.assert_allclose(learner.base_mean, mean, atol=1e-5)

    def transformed(x):
        z = network.predict(x, verbose=0) - (mean if transform == "CL2N" else 0)
        return z if transform == "UN" else unit(z, 1)

    z = transformed(support.x)
    means = np.stack([z[support.y == label].mean(axis=0) for label in range(3)])
    expected = -np.sum((transformed(x)[:, None] - means) ** 2, axis=-1)
    found = learner.predict_query(learner.adapt(support), x)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_mean_of_classes_whose_examples_are_nests():
    inputs = {"a": keras.Input((2,)), "b": keras.Input((3,))}
    network = keras.Model(inputs, keras.layers.Concatenate()([inputs["a"], inputs["b"]]))
    x = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")
    x = {"a": x[:, :2], "b": x[:, 2:]}
    learner = SimpleShot(network)
    learner.center_on(tfmeta.datasets.from_arrays(x, [0, 0, 1, 1, 2, 2]))
    expected = np.concatenate([x["a"], x["b"]], axis=1).mean(axis=0)
    np.testing.assert_allclose(learner.base_mean, expected, atol=1e-6)


def test_without_normalisation_it_is_a_protonet_and_without_a_mean_not_centred():
    support, x = task()
    network = embedding()

    def outputs(learner):
        return learner.predict_query(learner.adapt(support), x)

    np.testing.assert_array_equal(
        outputs(SimpleShot(network, transform="UN")),
        outputs(ProtoNet(network, distance="squared_euclidean")),
    )
    np.testing.assert_array_equal(
        outputs(SimpleShot(network)), outputs(SimpleShot(network, transform="L2N"))
    )


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("built", [True, False])
def test_the_mean_is_saved(built, center, tmp_path):
    layers = [keras.layers.Flatten(), keras.layers.Dense(4)]
    network, base = embedding() if built else keras.Sequential(layers), base_classes()
    learner, (support, x) = SimpleShot(network), task()
    learner.compile(loss=tasks.CROSSENTROPY)
    network(base.x)  # as pretraining does it
    if center:
        learner.center_on(base)
    else:
        learner.evaluate(tasks.dataset(tasks.images(), 1), verbose=0)
    learner.save(tmp_path / "learner.keras")
    loaded = keras.models.load_model(tmp_path / "learner.keras")
    np.testing.assert_array_equal(loaded.base_mean, learner.base_mean)
    np.testing.assert_allclose(
        loaded.predict_query(loaded.adapt(support), x),
        learner.predict_query(learner.adapt(support), x),
        atol=1e-5,
    )


@pytest.mark.parametrize("cls", ALL)
def test_outer_gradient_against_central_differences(cls):
    learner = cls(tasks.convolutional(4, dtype="float64"))
    learner.compile(optimizer="sgd", loss=tasks.CROSSENTROPY)
    if cls is not SimpleShot:
        learner.head_steps, learner.head_learning_rate = 3, 0.5
    assert relative_error_along(learner, tasks.images(shots=2, dtype="float64")) < 1e-6


@pytest.mark.parametrize("cls", ALL)
def test_a_class_without_examples_is_never_predicted(cls):
    support, x = task()
    learner = cls(embedding())
    expected = learner.predict_query(learner.adapt(support), x)
    gap = support._replace(y=np.array([0, 1, 3], "int32")[support.y])
    outputs = learner.predict_query(learner.adapt(gap), x).numpy()
    assert (outputs[:, 2] < -1e30).all()
    np.testing.assert_allclose(outputs[:, [0, 1, 3]], expected, atol=1e-5)


@pytest.mark.parametrize("cls", ALL)
def test_pretraining_changes_the_learners_own_network(cls):
    base = base_classes()
    learner = cls(embedding())
    classifier = learner.classifier(base.num_classes)
    classifier.compile(keras.optimizers.Adam(0.02), tasks.CROSSENTROPY, metrics=["accuracy"])
    batches, before = tfmeta.datasets.labelled(base, 16), learner.network.get_weights()
    classifier.fit(batches, epochs=12, verbose=0)
    assert classifier.evaluate(batches, verbose=0)[1] > 0.8
    pretrained = learner.network.get_weights()
    assert not any(map(np.array_equal, before, pretrained))
    # The next learner takes the network over, under an output for each way.
    maml = MAML(keras.Sequential([learner.network, keras.layers.Dense(3)]))
    maml.compile("sgd", tasks.CROSSENTROPY)
    maml.evaluate(tasks.dataset(tasks.images(), 1), verbose=0)
    for a, b in zip(maml.network.get_weights()[: len(pretrained)], pretrained, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_cosine_classifier_against_numpy():
    learner = BaselinePlusPlus(embedding(), scale=4.0)
    classifier = learner.classifier(6)
    classifier.compile("adam", tasks.CROSSENTROPY)
    base = base_classes()
    classifier.fit(base.x, base.class_ids, verbose=0)
    vectors = classifier.get_layer("head").kernel.numpy()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=0), 1, rtol=1e-5)
    expected = 4 * unit(learner.embed(base.x).numpy(), 1) @ vectors
    np.testing.assert_allclose(classifier.predict(base.x, verbose=0), expected, atol=1e-4)


class OwnLayers(SimpleShot):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.flatten, self.dense = keras.layers.Flatten(), keras.layers.Dense(4)

    def call(self, x):
        return self.dense(self.flatten(x))


def test_layers_of_its_own():
    learner, base = OwnLayers(), base_classes()
    classifier = learner.classifier(base.num_classes)
    classifier.compile("adam", tasks.CROSSENTROPY)
    classifier.fit(tfmeta.datasets.labelled(base), verbose=0)
    learner.center_on(base)
    mean = classifier.layers[0](base.x).numpy().mean(axis=0)
    np.testing.assert_allclose(learner.base_mean, mean, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda n: Baseline(n, head_learning_rate=0), r"Expected head_learning_rate > 0.*: 0"),
        (lambda n: Baseline(n, head_steps=0), r"Expected head_steps .* at least 1.*=0"),
        (lambda n: Baseline(n, head_steps=1.5), r"Expected head_steps .*=1.5"),
        (lambda n: Baseline(n, weight_decay=-1), r"Expected weight_decay >= 0.*: -1"),
        (lambda n: BaselinePlusPlus(n, scale=0), r"Expected scale > 0, a finite.*: 0"),
        (lambda n: SimpleShot(n, transform="cl2n"), r"Expected transform in .*: 'cl2n'"),
        (lambda n: SimpleShot(n).center_on(np.zeros(3)), r"Expected a ClassDataset.*: ndarray"),
        (lambda n: Baseline(n).classifier(0), r"Expected classes .*=0"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make(embedding())
