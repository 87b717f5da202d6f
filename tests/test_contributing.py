"""What CONTRIBUTING says of the house: the map of a step, one test file a method."""

import pathlib
import re
import sys
import threading

import pytest
import tasks
from conformance.catalogue import small_convolutional

import tfmeta
from tfmeta.learners import MAML

PACKAGE = pathlib.Path(tfmeta.__file__).parent
CONTRIBUTING = PACKAGE.parent / "CONTRIBUTING.md"


def files_on_the_map():
    """Of the section "Where a step goes": those that are read in order, and all."""
    text = CONTRIBUTING.read_text().split("### Where a step goes")[1].split("\n### ")[0]
    in_order = re.findall(r"^\d+\. `([\w/]+\.py)`", text, re.MULTILINE)
    return in_order, {name for name in re.findall(r"`([\w/]+\.py)`", text) if "test" not in name}


def files_that_run(function):
    """The files of the package with a function that is called meanwhile, in any thread."""
    found = set()

    def note(frame, event, _):
        path = pathlib.Path(frame.f_code.co_filename)
        if event == "call" and PACKAGE in path.parents:
            found.add(path.relative_to(PACKAGE).as_posix())

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return found


@pytest.mark.parametrize("convolutional", [False, True])
def test_the_map_of_a_step_names_every_file_that_runs(convolutional):
    network, episodes, loss = tasks.dense(), tasks.regression(), "mse"
    if convolutional:
        network, episodes = small_convolutional(), tasks.images(size=4)
        loss = tasks.CROSSENTROPY
    learner = MAML(network)
    learner.compile("sgd", loss, run_eagerly=True)
    ran = files_that_run(lambda: learner.fit(tasks.dataset(episodes, 1), verbose=0))
    in_order, named = files_on_the_map()
    assert len(in_order) <= 12
    assert set(in_order) <= ran  # nothing is to be read that does not run
    missing = sorted(ran - named)
    assert not missing, f"Expected CONTRIBUTING, Where a step goes, to name {missing}."
    assert all((PACKAGE / name).exists() for name in named)


def test_each_learner_has_a_test_file_of_its_own():
    """`tests/learners/FAMILY/test_FILE.py`; a base is tested by what derives from it."""
    missing = []
    for name in tfmeta.learners.__all__:
        _, room, *path = getattr(tfmeta.learners, name).__module__.split(".")
        if room == "learners" and path[-1] != "base":
            tests = CONTRIBUTING.parent.joinpath("tests", "learners", *path[:-1])
            if not (tests / f"test_{path[-1]}.py").exists():
                missing.append(f"{tests.name}/test_{path[-1]}.py, of {name}")
    assert not missing
