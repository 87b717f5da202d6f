"""Run by `test_processes.py`: a search that kills itself, or one of several processes.

Arguments: a folder, the number of the trial in whose fit to be killed (-1: none).
"""

import os
import signal
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import pathlib

import keras_tuner
from tuning import searches

import tfmeta

folder, kill_at = pathlib.Path(sys.argv[1]), int(sys.argv[2])
me = os.environ.get("KERASTUNER_TUNER_ID", "tuner0")


class Logged(tfmeta.tuning.MetaHyperModel):
    """Writes down which process trains which trial, and with which rate."""

    def fit(self, hp, model, *args, callbacks, **kwargs):
        trial = next(c.trial for c in callbacks if hasattr(c, "trial"))
        with (folder / "fits.txt").open("a") as file:
            file.write(f"{me} {int(trial.trial_id)} {hp['inner_learning_rate']}\n")
        if int(trial.trial_id) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().fit(hp, model, *args, callbacks=callbacks, **kwargs)


hypermodel = Logged(
    tfmeta.learners.MAML,
    searches.network,
    compile=searches.COMPILE,
    fixed={"inner_steps": 1, "first_order": True},
)
tuner = keras_tuner.RandomSearch(
    hypermodel, objective="val_loss", max_trials=4, seed=3, directory=folder, project_name="search"
)
tuner.search(searches.TRAIN, **searches.OPTIONS)
