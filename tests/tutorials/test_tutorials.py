"""Every tutorial runs from its first line to its last, with few steps."""

import ast
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
TUTORIALS = sorted((ROOT / "tutorials").glob("[0-9]*.py"))
FEW_STEPS = ["--epochs", "1", "--steps", "2", "--test-episodes", "3"]
FIGURE_WITH_INTERVAL = re.compile(r"\d ± \d.*\(95 % interval, 3 episodes\)")
# A search compiles its steps anew in each trial; samples, unrolls and walks compile for long; the
# learner of keras.io's example is another one's, Reptile, on the steps of tutorial 1; speech takes
# the way of text.
SLOW = (
    *("tune", "speech", "uncertainty", "optimizer", "bandits"),
    *("navigation", "cheetah", "keras_io"),
)
PROMISED_PICTURES = re.compile(r"^pictures?: (.+)$", re.MULTILINE)

by_name = pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)


def run(tutorial, *arguments, timeout=900):
    """Output of a tutorial, run as a user would: by the interpreter, from another folder."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "PYTHONIOENCODING": "utf-8",
        "MPLBACKEND": "Agg",
    }
    done = subprocess.run(
        [sys.executable, tutorial, *arguments],
        cwd=arguments[arguments.index("--output") + 1],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=timeout,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def options_for(tutorial):
    if tutorial.stem == "06_tune_inner_learning_rate":
        pytest.importorskip("keras_tuner")
        pytest.importorskip("tensorboard", reason="keras-tuner imports it in every trial")
        return ["--trials", "1", "--grid", "1"]
    if tutorial.stem == "13_half_cheetah":
        pytest.importorskip("mujoco")
        return ["--horizon", "5", "--tasks", "2", "--trajectories", "2"]
    if tutorial.stem == "14_serve":
        pytest.importorskip("flask")
        pytest.importorskip("waitress")
    if tutorial.stem == "15_reptile_keras_io":
        return ["--data", "glyphs"]
    if tutorial.stem in ("07_text", "08_speech"):
        return ["--shots", "1"]
    if tutorial.stem != "03_omniglot":
        return []
    data_dir = os.environ.get("TFMETA_TFDS_DIR")
    if not data_dir:
        pytest.skip("TFMETA_TFDS_DIR names no tfds data folder with Omniglot")
    pytest.importorskip("tensorflow_datasets")
    return ["--data-dir", data_dir]


def is_slow(tutorial):
    return any(name in tutorial.stem for name in SLOW)


@pytest.mark.parametrize(
    "tutorial",
    [
        pytest.param(path, id=path.stem, marks=[pytest.mark.slow] * is_slow(path))
        for path in TUTORIALS
    ],
)
def test_runs_with_few_steps(tutorial, tmp_path):
    output = run(tutorial, *FEW_STEPS, *options_for(tutorial), "--output", str(tmp_path))
    assert FIGURE_WITH_INTERVAL.search(output), output[-2000:]
    promised = PROMISED_PICTURES.findall(output)
    assert promised, f"no line 'picture: PATH' in:\n{output[-2000:]}"
    for path in ", ".join(promised).split(", "):
        assert tmp_path in pathlib.Path(path).parents
        assert pathlib.Path(path).read_bytes().startswith(b"\x89PNG")
        assert pathlib.Path(path).stat().st_size > 5000


@pytest.mark.slow
def test_omniglot_with_maml(tmp_path):
    tutorial = ROOT / "tutorials" / "03_omniglot.py"
    options = [*options_for(tutorial), "--learner", "maml", "--output", str(tmp_path)]
    assert FIGURE_WITH_INTERVAL.search(run(tutorial, *FEW_STEPS, *options))


@pytest.mark.slow
def test_images_of_a_folder_of_ones_own(tmp_path):
    """Colour pictures of several sizes and kinds, fewer classes than the example has."""
    numpy, image = pytest.importorskip("numpy"), pytest.importorskip("PIL.Image")
    random = numpy.random.default_rng(0)
    for label in range(15):
        folder = tmp_path / "pictures" / f"class {label}"
        folder.mkdir(parents=True)
        for i in range(8):
            pixels = random.integers(0, 256, (20 + i, 30, 3), numpy.uint8)
            image.fromarray(pixels).save(folder / f"{i}.{'png' if i % 2 else 'jpg'}")
    tutorial = ROOT / "tutorials" / "05_your_own_images.py"
    options = ["--folder", str(tmp_path / "pictures"), "--output", str(tmp_path)]
    assert FIGURE_WITH_INTERVAL.search(run(tutorial, *FEW_STEPS, *options))
    assert not (tmp_path / "letters").exists()


def test_every_tutorial_has_a_number_of_its_own():
    numbers = [int(path.stem[:2]) for path in TUTORIALS]
    assert len(set(numbers)) == len(numbers)
    assert numbers[0] == 1


@by_name
def test_is_a_script_of_cells(tutorial):
    text = tutorial.read_text(encoding="utf-8")
    ast.parse(text)
    lines = text.splitlines()
    assert lines[0] == "# %% [markdown]"
    assert lines[1].startswith("# # "), "the first cell begins with a title"
    assert f"python tutorials/{tutorial.name}" in text, "the first cell says the command"
    markers = [line for line in lines if line.startswith("# %%")]
    assert set(markers) == {"# %%", "# %% [markdown]"}
    for cell in re.split(r"^# %%", text, flags=re.MULTILINE)[1:]:
        kind, _, body = cell.partition("\n")
        assert body.strip(), "no cell is empty"
        if kind.strip() == "[markdown]":
            assert all(line.startswith("#") for line in body.strip().splitlines()), body
