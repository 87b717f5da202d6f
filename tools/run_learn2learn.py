"""Run learn2learn's side of `docs/from_learn2learn.md`, on the glyphs, as the page shows it.

    ~/peers/bin/pip install cython learn2learn==0.2.0 --no-build-isolation
    ~/peers/bin/python tools/run_learn2learn.py [--iterations 60]

The other side runs in `tests/test_pages.py`. This one needs PyTorch and learn2learn, and no
TensorFlow: the environment of `benchmarks/requirements.txt` will do. On Python 3.11 the C files in
learn2learn's sdist are too old, and have to be made anew with Cython before it builds. It prints
the query loss of the first and the last 80 tasks, and fails if that has not fallen.
"""

import argparse
import importlib.abc
import importlib.machinery
import pathlib
import re
import sys
import types

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
WAYS, SHOTS, META_BATCH_SIZE, TASKS = 5, 1, 8, 80


def _a_class(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return type(name, (), {})


class NoTorchvision(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Empty modules: learn2learn imports torchvision for data sets that are not used here."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torchvision":
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        module.__getattr__ = _a_class
        return module

    def exec_module(self, module):
        pass


class Glyphs:
    """What learn2learn calls a task set: `sample` draws a task of Latin letters and digits."""

    def __init__(self):
        with np.load(ROOT / "tfmeta" / "datasets" / "glyphs.npz") as file:
            latin = [n.startswith(("LATIN", "DIGIT")) for n in file["class_names"]]
            self.pictures, self.labels = file["images"] / np.float32(255), file["class_ids"]
        self.classes = np.flatnonzero(latin)
        self.random = np.random.default_rng(0)

    def sample(self):
        import torch

        rows = [
            self.random.choice(np.flatnonzero(self.labels == c), 2 * SHOTS, replace=False)
            for c in self.random.choice(self.classes, WAYS, replace=False)
        ]
        pictures = self.pictures[np.concatenate(rows), None]
        return torch.tensor(pictures), torch.arange(WAYS).repeat_interleave(2 * SHOTS)


def split(data, labels, shots, ways):
    """Every second picture to adapt on, the others to score on."""
    return data[::2], labels[::2], data[1::2], labels[1::2]


def network():
    from torch import nn

    layers, channels = [], 1
    for _ in range(4):
        layers += [nn.Conv2d(channels, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU()]
        channels = 32
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128, WAYS))


def main():
    parser = argparse.ArgumentParser(description="learn2learn's side of the page")
    parser.add_argument("--iterations", type=int, default=60)
    options = parser.parse_args()
    sys.meta_path.insert(0, NoTorchvision())
    import learn2learn
    import torch

    torch.manual_seed(0)
    model, losses, entropy = network(), [], torch.nn.CrossEntropyLoss()

    def loss(outputs, labels):
        value = entropy(outputs, labels)
        losses.append(float(value.detach()))
        return value

    page = (ROOT / "docs" / "from_learn2learn.md").read_text()
    program = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]
    names = {
        "l2l": learn2learn, "model": model, "loss": loss, "split": split, "taskset": Glyphs(),
        "opt": torch.optim.Adam(model.parameters(), 1e-3), "iterations": options.iterations,
        "meta_batch_size": META_BATCH_SIZE, "ways": WAYS, "shots": SHOTS, "adaptation_steps": 1,
    }  # fmt: skip
    exec(compile(program, "docs/from_learn2learn.md", "exec"), names)
    query = losses[1::2]  # one inner step: a support loss before each
    first, last = np.mean(query[:TASKS]), np.mean(query[-TASKS:])
    print(f"learn2learn {learn2learn.__version__}, PyTorch {torch.__version__}:")
    print(f"query loss of the first and the last {TASKS} tasks: {first:.2f} and {last:.2f}")
    if not last < first:
        sys.exit("Expected a query loss that falls.")


main()
