"""The folder of a tuner: of this run, or of another one."""

import contextlib
import json
import os
import pathlib

import keras
import numpy as np

from tfmeta.backend.private_keras import loss_arguments

FILE = "tfmeta.json"
ADVICE = (
    "Nothing was changed. Give the tuner another directory or project_name, or overwrite=True to "
    "delete the trials that are there."
)


class Folder:
    """What a tuner's folder says about the run that its trials are of.

    Args:
        tuner: a `keras_tuner.Tuner`.
    """

    def __init__(self, tuner):
        self._path = pathlib.Path(tuner.project_dir)
        self._run = {
            "tuner": type(tuner).__name__,
            "objective": str(tuner.oracle.objective),
        }

    def check(self, description):
        """Raise a ValueError if the folder is another run's.

        Args:
            description: what this run is, a dict.
        """
        if not (self._path / FILE).exists():
            if self._finished():
                raise ValueError(
                    "Expected a folder of searches with MetaHyperModel. Received: "
                    f"{self._path}, with trials of another kind. {ADVICE}"
                )
            return
        there = json.loads((self._path / FILE).read_text(encoding="utf-8"))
        here = _as_json(self._run | description)
        differing = [key for key in here if there.get(key) != here[key]]
        if differing:
            raise ValueError(
                f"Expected a folder of this run. Received: {self._path}, which holds trials of "
                f"another one: {'; '.join(_difference(k, there, here) for k in differing)}. "
                f"{ADVICE}"
            )

    def claim(self, description):
        """Write down what this run is, or raise a ValueError if the folder is another run's."""
        if (self._path / FILE).exists():
            return self.check(description)
        # Several workers write the same; none reads half of it.
        draft = self._path / f"{FILE}.{os.getpid()}"
        draft.write_text(json.dumps(_as_json(self._run | description), indent=1), encoding="utf-8")
        draft.replace(self._path / FILE)

    def check_loaded(self, oracle, given):
        """Raise a ValueError if a tuner has not loaded what is there, or not what was asked for.

        Args:
            oracle: the tuner's.
            given: `HyperParameters` that the oracle was made with.
        """
        if self._finished() and not oracle.trials:
            raise ValueError(
                f"Expected a tuner that goes on with the trials in {self._path}. Received: one of "
                "another KERASTUNER_TUNER_ID, which would begin anew in their place. Set that of "
                f'the run before ("tuner0" if there was none). {ADVICE}'
            )
        found = {parameter.name: parameter.get_config() for parameter in oracle.get_space().space}
        for parameter in given.space:
            here, there = parameter.get_config(), found.get(parameter.name)
            if here != there:
                raise ValueError(
                    f"Expected a folder of this run. Received: {self._path}, where "
                    f"{parameter.name!r} is {there}, and here it is {here}. {ADVICE}"
                )

    def _finished(self):
        """True if there are finished trials."""
        # Not parsed: another worker may be writing one.
        files = self._path.glob("trial_*/trial.json")
        return any('"status": "COMPLETED"' in f.read_text(encoding="utf-8") for f in files)


def _as_json(value):
    """What `value` becomes in a file, the same in each process."""
    return json.loads(json.dumps(value, default=_described))


def _described(thing):
    """What is no JSON: a number as a number, others by class and arguments, never an address."""
    thing = thing.numpy() if hasattr(thing, "numpy") else thing  # a tensor or variable
    if isinstance(thing, (np.generic, np.ndarray)):
        return thing.tolist()
    # A layer's arguments hold automatic names, of which each process has others.
    if hasattr(thing, "get_config") and not isinstance(thing, (type, keras.Layer)):
        with contextlib.suppress(NotImplementedError, OSError):  # of a function without source
            config = thing.get_config() | loss_arguments(thing)
            return {"class": type(thing).__name__} | _without_names(config)
    return getattr(thing, "__name__", type(thing).__name__)


def _without_names(config):
    """A Keras config without automatic names and the code of functions."""
    if isinstance(config, dict):
        if config.get("class_name") == "__lambda__":
            return "<lambda>"
        return {key: _without_names(part) for key, part in config.items() if key != "name"}
    if isinstance(config, (list, tuple)):
        return [_without_names(part) for part in config]
    return config


def _difference(key, there, here):
    there, here = there.get(key, "not noted"), here[key]
    if isinstance(there, dict) and isinstance(here, dict):
        keys = sorted(k for k in there.keys() | here.keys() if there.get(k) != here.get(k))
        keys = ["class"] if "class" in keys else keys  # of two classes, no more
        there, here = ({k: part[k] for k in keys if k in part} for part in (there, here))
    return f"{key} {there} there, {here} here"
