"""Every example of a docstring runs."""

import ast
import math
import pathlib
import re

import examples
import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmeta

PACKAGE = pathlib.Path(tfmeta.__file__).parent
INDENTED = re.compile(r"(?<=\n\n)(?: {4}.*\n|\n)+", re.MULTILINE)


def docstrings():
    """Pairs of a name, `file:object`, and its docstring."""
    for path in sorted(PACKAGE.rglob("*.py")):
        file = str(path.relative_to(PACKAGE))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = ast.get_docstring(node)
                if text:
                    yield f"{file}:{getattr(node, 'name', '')}", text


DOCSTRINGS = dict(docstrings())
WITH_EXAMPLE = [name for name, text in DOCSTRINGS.items() if "```" in text]


def train():
    """A few classes of glyphs."""
    return tfmeta.datasets.glyphs("train").subset(range(30))


def episodes():
    return tfmeta.episodes.classification(train(), ways=5, shots=1, queries=1, meta_batch_size=2)


def network():
    return tfmeta.networks.mlp((28, 28, 1), 5, hidden=(4,))


def loss():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def learner(kind=tfmeta.learners.MAML):
    made = kind(network())
    made.compile("adam", loss(), metrics=["accuracy"])
    return made


def function_learner():
    made = tfmeta.learners.CNP()
    made.compile("adam")
    return made


# What examples take for granted, and what single ones mean by a name.
GROUND = {
    "augment": lambda: lambda examples: examples,
    "dataset": train,
    "episodes": episodes,
    "keras": lambda: keras,
    "learner": learner,
    "loss": loss,
    "math": lambda: math,
    "network": network,
    "support": lambda: tfmeta.Examples(np.zeros((5, 28, 28, 1), "float32"), np.arange(5)),
    "test": train,
    "tf": lambda: tf,
    "tfmeta": lambda: tfmeta,
    "train": train,
    "train_intents": lambda: ["music", "weather"],
    "train_texts": lambda: ["play some jazz", "will it rain"],
    "validation_episodes": episodes,
    "x": lambda: np.zeros((3, 28, 28, 1), "float32"),
}
OF_ITS_OWN = {
    "backend/task_layers.py:in_task": {
        "MyNormalization": lambda: type("MyNormalization", (keras.layers.BatchNormalization,), {})
    },
    "datasets/described.py:described": {
        "train": lambda: tfmeta.datasets.from_arrays(
            np.zeros((40, 2), "float32"), np.repeat(["cat", "dog"], 20)
        )
    },
    "evaluation/exact_gp.py:ExactGP": {"learner": function_learner},
    "learners/embedding/base.py:classifier": {"learner": lambda: learner(tfmeta.learners.ProtoNet)},
}
OF_ITS_OWN["datasets/labelled.py:labelled"] = OF_ITS_OWN["learners/embedding/base.py:classifier"]


@pytest.mark.parametrize("name", WITH_EXAMPLE)
def test_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    programs = examples.blocks(DOCSTRINGS[name])
    assert programs, "Begin the fence of an example with ```python"
    examples.run(programs, GROUND | OF_ITS_OWN.get(name, {}))


def test_no_example_hides_from_these_tests():
    """Formulas are indented; what calls something of the library stands in a fence."""
    for name, text in DOCSTRINGS.items():
        assert ">>>" not in text, name
        for block in INDENTED.findall(examples.FENCE.sub("", text) + "\n"):
            assert not re.search(r"\b(tfmeta|learner|keras|tf)\.\w", block), name
