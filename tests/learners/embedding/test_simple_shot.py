"""SimpleShot: nearest means against NumPy, and the mean that it keeps."""

import keras
import numpy as np
import pytest
import tasks
from learners.embedding.pictures import base_classes, embedding, task, unit

import tfmeta
from tfmeta.learners import ProtoNet, SimpleShot


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
        (lambda n: SimpleShot(n, transform="cl2n"), r"Expected transform in .*: 'cl2n'"),
        (lambda n: SimpleShot(n).center_on(np.zeros(3)), r"Expected a ClassDataset.*: ndarray"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make(embedding())
