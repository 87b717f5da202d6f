"""The first losses at a fixed seed: a change that nobody meant shows here."""

import json
import pathlib

import keras
import numpy as np
import pytest

import tfmeta

GOLDEN = pathlib.Path(__file__).with_name("first_losses.json")


def losses(name):
    keras.utils.set_random_seed(7)
    if name == "MAML":
        learner = tfmeta.learners.MAML(tfmeta.networks.mlp((1,), 1), inner_learning_rate=0.01)
        data, loss = tfmeta.episodes.sinusoid(seed=7), "mse"
    else:
        network = tfmeta.networks.conv4((16, 16, 1), 8, filters=4)
        learner = tfmeta.learners.ProtoNet(network, distance="squared_euclidean")
        x = np.random.default_rng(7).normal(size=(60, 16, 16, 1)).astype("float32")
        dataset = tfmeta.datasets.from_arrays(x, np.arange(60) // 6)
        data = tfmeta.episodes.classification(dataset, ways=3, shots=2, queries=2, seed=7)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    learner.compile(keras.optimizers.Adam(1e-3), loss)
    history = learner.fit(data, steps_per_epoch=1, epochs=5, verbose=0).history
    return [float(v) for v in history["loss"]]


@pytest.mark.parametrize("name", ["MAML", "ProtoNet"])
def test_first_losses(name):
    """After a change on purpose: `python tests/golden/test_first_losses.py` writes them anew."""
    np.testing.assert_allclose(losses(name), json.loads(GOLDEN.read_text())[name], rtol=1e-3)


if __name__ == "__main__":
    values = {name: losses(name) for name in ("MAML", "ProtoNet")}
    GOLDEN.write_text(json.dumps(values, indent=1) + "\n")
