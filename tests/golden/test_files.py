"""Version 0.1.0 (commit 4709efe) wrote files and losses: the same numbers come out today."""

import json
import pathlib

import keras
import numpy as np
import pytest
from golden.learners_of_files import LEARNERS, WEIGHTS_ONLY, dataset, fit, outputs

import tfmeta

FOLDER = pathlib.Path(__file__).parent
LOSSES = json.loads((FOLDER / "losses_4709efe.json").read_text())
TASK = ("support_x", "support_y", "query_x")


def golden(name, *keys):
    """Arrays that were written with a learner's file, a list."""
    with np.load(FOLDER / "files" / "predictions.npz") as arrays:
        return [arrays[f"{name}_{key}"] for key in keys]


def load(name):
    """The learner of a file."""
    if tuple(map(int, keras.__version__.split(".")[:2])) < (3, 15):
        pytest.skip("Keras 3.15 wrote the files, and layers of before do not know all of theirs.")
    return keras.models.load_model(FOLDER / "files" / f"{name}.keras")


def assert_same_learner(name, learner):
    """It predicts and scores what it did before it was saved, and can go on with training."""
    expected, expected_loss = golden(name, "outputs", "evaluate_loss")
    assert type(learner) is getattr(tfmeta.learners, name)
    np.testing.assert_allclose(
        outputs(learner, *golden(name, *TASK)), expected, rtol=1e-5, atol=1e-6
    )
    _, episode = LEARNERS[name]()
    score = learner.evaluate(dataset(episode, 1), verbose=0, return_dict=True)
    np.testing.assert_allclose(score["loss"], expected_loss, rtol=1e-5, atol=1e-6)
    assert int(learner.optimizer.iterations) == len(LOSSES[name])


def test_every_learner_has_files():
    """No file is left out of the tests, and every learner of 0.1.0 still has its name."""
    files = {path.stem for path in (FOLDER / "files").glob("*.keras")}
    assert files == set(LOSSES) == set(LEARNERS)
    assert files <= set(tfmeta.learners.__all__)


@pytest.mark.parametrize("name", WEIGHTS_ONLY)
def test_a_file_of_a_networks_weights_loads(name):
    """A file of a learner that has nothing besides its network's weights is good for ever."""
    assert_same_learner(name, load(name))


@pytest.mark.parametrize("name", sorted(set(LEARNERS) - set(WEIGHTS_ONLY)))
def test_another_file_loads_or_says_which_version_wrote_it(name):
    """A file with more in it is read as before, or refused by a message with the version."""
    try:
        learner = load(name)
    except ValueError as error:
        assert "0.1.0" in str(error)  # noqa: PT017
        return
    assert_same_learner(name, learner)


@pytest.mark.parametrize("name", LEARNERS)
def test_training_losses(name):
    """Five outer steps from the same weights on the same meta-batch.

    Without XLA, which takes twice as long and changes the losses by 7e-7 of their size.
    """
    losses = fit(*LEARNERS[name](jit_compile=False))
    np.testing.assert_allclose(losses, LOSSES[name], rtol=1e-5)
