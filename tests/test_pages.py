"""The code of the pages runs, block after block, as somebody does who copies it."""

import importlib.util
import itertools
import pathlib
import types

import examples
import keras
import numpy as np
import pytest
import tensorflow as tf
from test_docstrings import GROUND, learner, loss, train

import tfmeta

ROOT = pathlib.Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): examples.blocks(path.read_text())
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md")))
}
PROGRAMS = {name: programs for name, programs in PAGES.items() if programs}
# Blocks of a page that begin anew: they mean something else by a name than those before.
BEGINS = {
    "docs/data.md": [1, 2],
    "docs/distributed.md": [1],
    "docs/from_learn2learn.md": [1],
    "docs/guide.md": [2, 3],
    "docs/questions.md": [1, 2, 3, 4, 5],
}
# Packages that a page is about, beside the extras of `dev`; without them it is skipped.
NEEDS = {("docs/from_learn2learn.md", 0): "learn2learn"}
# Exported functions cannot run eagerly.
IN_GRAPHS = {("docs/serving.md", 0), ("docs/questions.md", 4)}


def protonet():
    return learner(tfmeta.learners.ProtoNet)


def photos():
    """Ten classes of colour pictures, 84 by 84."""
    x = np.random.default_rng(0).integers(0, 256, (200, 84, 84, 3), np.uint8)
    return tfmeta.datasets.from_arrays(x, np.repeat(np.arange(10), 20))


def rows(name, split):
    """Rows as a data source of tensorflow-datasets gives them."""
    return [{"image": np.full((4, 4, 3), i, np.uint8), "label": i % 3} for i in range(12)]


def write_pictures(folder):
    """Fifty classes of seventeen small pictures."""
    image = pytest.importorskip("PIL.Image")
    random = np.random.default_rng(0)
    for label in range(50):
        (folder / f"class {label}").mkdir(parents=True)
        for i in range(17):
            pixels = random.integers(0, 256, (12, 12, 3), np.uint8)
            image.fromarray(pixels).save(folder / f"class {label}" / f"{i}.png")


SLOW = {("docs/guide.md", 0), ("docs/meta_rl.md", 0)}
WITH_FOLDER = {("docs/questions.md", 0)}
OF_A_PAGE = {
    "docs/choose.md": {"learners": lambda: [learner(), protonet()]},
    "docs/data.md": {
        "tfds": lambda: types.SimpleNamespace(data_source=rows),
    },
    "docs/questions.md": {
        "learner": learner,
        "pictures": lambda: np.zeros((5, 28, 28, 1), "float32"),
        "train": train,
        "validation": train,
    },
    "docs/serving.md": {
        "learner": protonet,
        "np": lambda: np,
        "pictures": lambda: np.zeros((5, 28, 28, 1), "float32"),
        "queries": lambda: np.zeros((3, 28, 28, 1), "float32"),
    },
}
OF_A_BLOCK = {("docs/data.md", 1): {"train": photos}}


def chapters():
    for name, programs in PROGRAMS.items():
        starts = [0, *BEGINS.get(name, []), len(programs)]
        for start, end in itertools.pairwise(starts):
            # Policies take long; README has the guide's pretraining, too.
            slow = [pytest.mark.slow] * ((name, start) in SLOW)
            programs_of = programs[start:end]
            yield pytest.param(name, start, programs_of, id=f"{name}:{start}", marks=slow)


@pytest.mark.parametrize(("name", "start", "programs"), chapters())
def test_runs(name, start, programs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if (name, start) in WITH_FOLDER:
        write_pictures(tmp_path / "pictures")
    if (name, start) in NEEDS:
        pytest.importorskip(NEEDS[name, start])
    ground = GROUND | {
        "keras_tuner": lambda: pytest.importorskip("keras_tuner"),
        "loss_fn": loss,
    }
    ground |= OF_A_PAGE.get(name, {}) | OF_A_BLOCK.get((name, start), {})
    if importlib.util.find_spec("ai_edge_litert") is None:  # its program is the page's last
        programs = [program for program in programs if "ai_edge_litert" not in program]
    examples.run(programs, ground, eagerly=(name, start) not in IN_GRAPHS)


def test_the_plain_loop_that_a_page_shows_is_maml():
    """The page's outer step, and ours, of the same network on the same tasks."""
    network = tfmeta.networks.mlp((2,), 1, hidden=(3,))
    learner = tfmeta.learners.MAML(keras.models.clone_model(network), inner_learning_rate=0.1)
    learner.network.set_weights(network.get_weights())
    learner.compile(keras.optimizers.SGD(0.5), "mse", run_eagerly=True)
    random = np.random.default_rng(0)
    x, y = random.normal(size=(3, 4, 2)).astype("float32"), random.normal(size=(3, 4, 1))
    part = tfmeta.Examples(x, y.astype("float32"), np.ones((3, 4), "float32"))
    learner.fit(tf.data.Dataset.from_tensors(tfmeta.Episode(part, part)), verbose=0)
    ground = {
        "call_on": lambda: lambda network, weights, x: network.stateless_call(weights, [], x)[0],
        "loss_fn": keras.losses.MeanSquaredError,
        "tf": lambda: tf,
    }
    names = examples.run(PROGRAMS["docs/from_keras.md"][:1], ground)
    tasks = [(a, b, a, b) for a, b in zip(part.x, part.y, strict=True)]
    names["outer_step"](network, keras.optimizers.SGD(0.5), tasks, 0.1)
    for ours, theirs in zip(learner.network.weights, network.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
