"""Check what would be published: the files of `dist/`, and the wheel alone in a new environment.

    python tools/check_package.py dist

`make package` builds `dist/` first. The wheel must hold the code and the data of `tfmeta/`, all of
it and nothing else; the sdist what the tests and the site need, too. Then the wheel is installed
into a new virtual environment without any extra, and a program that knows no checkout trains with
it.
"""

import os
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
TRIAL = """
import importlib.util, os, sys
import keras
import numpy as np
import tfmeta
assert tfmeta.__file__.startswith(sys.prefix), tfmeta.__file__
assert os.path.exists(os.path.join(os.path.dirname(tfmeta.__file__), "py.typed"))
for extra in ("matplotlib", "PIL", "tensorflow_datasets", "keras_tuner", "flask", "pytest"):
    assert importlib.util.find_spec(extra) is None, f"{extra} came along"
train = tfmeta.datasets.glyphs("train")
network = tfmeta.networks.conv4((28, 28, 1), 5, filters=8, downsample="stride")
learner = tfmeta.learners.MAML(network, inner_learning_rate=0.4)
learner.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), ["accuracy"])
episodes = tfmeta.episodes.classification(train, ways=5, shots=1, queries=3)
history = learner.fit(episodes, steps_per_epoch=5, verbose=0).history
assert np.isfinite(history["loss"]).all()
test = tfmeta.episodes.classification(tfmeta.datasets.glyphs("test"), seed=1, count=8)
print(tfmeta.__version__, tfmeta.evaluation.evaluate_episodes(learner, test, count=8, verbose=0))
"""


def main(folder):
    version = read_version()
    name = f"tfmeta-{version}"
    wheel = pathlib.Path(folder).resolve() / f"{name}-py3-none-any.whl"
    check_wheel(wheel)
    check_sdist(wheel.with_name(f"{name}.tar.gz"), name)
    try_wheel(wheel)


def read_version():
    """The version, which CHANGELOG.md and CITATION.cff must name as well."""
    version = re.search(r'"(.+)"', (ROOT / "tfmeta" / "version.py").read_text())[1]
    newest = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
    cited = re.search(r"^version: (\S+)", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)[1]
    if not version == newest == cited:
        raise SystemExit(
            "Expected one version in tfmeta/version.py, CHANGELOG.md and CITATION.cff. "
            f"Received: {version}, {newest}, {cited}."
        )
    return version


def package_files():
    """Paths of `tfmeta/` that belong into a wheel: all but caches."""
    paths = (path for path in (ROOT / "tfmeta").rglob("*") if path.is_file())
    return {str(p.relative_to(ROOT)) for p in paths if "__pycache__" not in p.parts}


def check_wheel(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    inside = {name for name in names if not name.split("/")[0].endswith(".dist-info")}
    same("the wheel", inside, package_files())
    print(f"{wheel.name}: {len(inside)} files, {wheel.stat().st_size / 1e6:.1f} MB")


def check_sdist(sdist, name):
    with tarfile.open(sdist) as archive:
        members = {m.name.removeprefix(f"{name}/") for m in archive.getmembers() if m.isfile()}
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    # Of the repository only what steers its hosting stays behind.
    expected = {path for path in tracked if path and not path.startswith(".")}
    generated = {m for m in members if m == "PKG-INFO" or m.startswith("tfmeta.egg-info/")}
    same("the sdist", members - generated, expected)
    print(f"{sdist.name}: {len(members)} files, {sdist.stat().st_size / 1e6:.1f} MB")


def same(what, found, expected):
    if found != expected:
        raise SystemExit(
            f"Expected {what} to hold the files of the checkout. Missing: "
            f"{sorted(expected - found)}. Not of it: {sorted(found - expected)}. "
            "MANIFEST.in and setup.cfg say what is packed; new files must be known to git."
        )


def try_wheel(wheel):
    """Install the wheel alone, and train from a folder that is no checkout."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = os.path.join(folder, "bin", "python")
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, wheel], cwd=folder, check=True)
        # -I: neither PYTHONPATH nor the current folder may lend it a checkout.
        subprocess.run([python, "-I", "-c", TRIAL], cwd=folder, check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
