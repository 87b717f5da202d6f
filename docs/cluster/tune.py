"""What keras-tuner's chief and each of its workers run: a search for MAML's rates on sinusoids.

    python docs/cluster/tune.py --folder FOLDER [--trials 16] [--steps 500]

FOLDER is on a file system that all processes see. KERASTUNER_TUNER_ID says which process this is:
"chief", or any other name.
"""

import argparse

import keras_tuner

import tfmeta

parser = argparse.ArgumentParser()
parser.add_argument("--folder", required=True)
parser.add_argument("--trials", type=int, default=16)
parser.add_argument("--steps", type=int, default=500, help="in one epoch")
options = parser.parse_args()

tuner = keras_tuner.RandomSearch(
    tfmeta.tuning.MetaHyperModel(
        tfmeta.learners.MAML,
        network=lambda: tfmeta.networks.mlp((1,), 1),
        compile={"optimizer": "adam", "loss": "mse"},
        fixed={"inner_steps": 1, "first_order": True},
    ),
    objective="val_loss",
    max_trials=options.trials,
    seed=0,
    directory=options.folder,
    project_name="search",
)
tuner.search(
    tfmeta.episodes.sinusoid(),
    steps_per_epoch=options.steps,
    validation_data=tfmeta.episodes.sinusoid(seed=1, count=200),
    verbose=0,
)
