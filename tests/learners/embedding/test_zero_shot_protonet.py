"""Zero-shot ProtoNet: descriptions by hand, outer gradient, training, files, bad input."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf
from meta_gradients import compiled, relative_error_along

import tfmeta
from tfmeta.datasets import described, from_arrays
from tfmeta.learners import ZeroShotProtoNet


def made(dtype="float64", **kwargs):
    networks = tasks.convolutional(4, dtype=dtype, norm=False), tasks.dense(4, 3, dtype=dtype)
    return compiled(ZeroShotProtoNet(*networks, dtype=dtype, **kwargs), tasks.CROSSENTROPY)


def episodes(dtype="float64", **kwargs):
    """A meta-batch whose examples carry descriptions of their classes."""
    random, plain = np.random.default_rng(0), tasks.images(dtype=dtype, **kwargs)
    of_class = random.normal(size=(2, 3, 3))

    def carry(part):
        descriptions = np.take_along_axis(of_class, np.array(part.y)[..., None], axis=1)
        return part._replace(x={"x": part.x, "description": tf.constant(descriptions, dtype)})

    return tfmeta.Episode(*map(carry, plain))


@pytest.fixture(scope="module")
def learner():
    return made()


def one(examples):
    return tf.nest.map_structure(lambda t: t[0].numpy(), examples)


def test_outputs_are_those_of_numpy_and_no_support_example_counts(learner):
    batch = episodes()
    support, query = one(batch.support), one(batch.query)
    z = np.array(learner.network(query.x["x"]))
    c = np.array(learner.description_network(support.x["description"]))
    c = c / np.linalg.norm(c, axis=1, keepdims=True)
    adapted = learner.adapt(support)
    outputs = learner.predict_query(adapted, query.x)
    expected = -np.sum((z[:, None] - c[None]) ** 2, axis=-1)
    np.testing.assert_allclose(outputs, expected, rtol=1e-6)
    alone = learner.adapt(support._replace(x=support.x["description"]))
    np.testing.assert_array_equal(alone.means, adapted.means)
    plain = learner.predict_query(alone, query.x["x"])
    np.testing.assert_allclose(plain, outputs, rtol=1e-12)
    model = learner.adapted_model(support)
    np.testing.assert_allclose(model(query.x), outputs, rtol=1e-6)


def test_outer_gradient_against_central_differences(learner):
    assert relative_error_along(learner, episodes(), eager=True) < 1e-6


def test_it_trains_on_a_described_data_set_and_is_saved(tmp_path):
    """Pictures whose classes differ as their descriptions do; new classes at the end."""
    random = np.random.default_rng(0)
    attributes = random.normal(size=(30, 3)).astype("float32")
    drawn = random.normal(size=(3, 64)).astype("float32")
    x = np.repeat(attributes @ drawn, 8, axis=0).reshape(-1, 8, 8, 1)
    x = x + 0.3 * random.normal(size=x.shape).astype("float32")
    data = described(from_arrays(x, np.repeat(np.arange(30), 8)), attributes)
    train, test = data.subset(range(20)), data.subset(range(20, 30))
    keras.utils.set_random_seed(0)
    networks = (tfmeta.networks.mlp(s, 4, hidden=()) for s in ((8, 8, 1), (3,)))
    learner = ZeroShotProtoNet(*networks, temperature=0.1)
    learner.compile(keras.optimizers.Adam(0.03), tasks.CROSSENTROPY, metrics=["accuracy"])
    learner.fit(
        tfmeta.episodes.classification(train, ways=5, shots=1, queries=3), steps_per_epoch=50,
        verbose=0,
    )  # fmt: skip
    new = tfmeta.episodes.classification(test, ways=5, shots=1, queries=3, count=20)
    found = learner.evaluate(new, verbose=0, return_dict=True)
    assert found["accuracy"] > 0.7
    learner.save(tmp_path / "learner.keras")
    loaded = keras.models.load_model(tmp_path / "learner.keras")
    again = loaded.evaluate(new, verbose=0, return_dict=True)
    np.testing.assert_allclose(again["loss"], found["loss"], rtol=1e-5)


def test_descriptions_by_name_and_bad_ones():
    plain = from_arrays(np.zeros((4, 2)), [0, 0, 1, 1], ["cat", "dog"])
    data = described(plain, {"dog": [1.0], "cat": [2.0]})
    np.testing.assert_array_equal(data.x["description"][:, 0], [2, 2, 1, 1])
    with pytest.raises(ValueError, match=r"a description for each class.*none for \['dog'\]"):
        described(plain, {"cat": [2.0]})
    with pytest.raises(ValueError, match=r"classes that the data set has\. Received: \['cow'\]"):
        described(plain, {"dog": [1.0], "cat": [2.0], "cow": [3.0]})
    with pytest.raises(ValueError, match=r"Expected 2 descriptions, one a class\. Received: 3"):
        described(plain, np.zeros((3, 1)))
    with pytest.raises(ValueError, match=r"Expected 2 descriptions.*Received: 1, of \['cow'\]"):
        described(plain, {"cow": [3.0]})
    with pytest.raises(ValueError, match=r"as numbers\. Received: text, 'a small tiger'.*tokens"):
        described(plain, {"cat": "a small tiger", "dog": "a tame wolf"})
    with pytest.raises(ValueError, match=r"of one shape\. Received: shapes \[\(1,\), \(2,\)\]"):
        described(plain, {"cat": [1.0], "dog": [1.0, 2.0]})
    data = described(plain, {"ids": np.array([[4], [5]]), "mask": np.ones((2, 1))})
    np.testing.assert_array_equal(data.x["description"]["ids"][:, 0], [4, 4, 5, 5])


def test_bad_networks():
    with pytest.raises(ValueError, match=r"outputs of one width\. Received: 4 and 5"):
        ZeroShotProtoNet(tasks.convolutional(4), tasks.dense(5, 3))
    with pytest.raises(
        ValueError, match=r"Expected description_network to be a built keras\.Model"
    ):
        ZeroShotProtoNet(tasks.convolutional(4), "names")
