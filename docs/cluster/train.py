"""What every worker runs: MAML on the glyphs. Without TF_CONFIG it runs alone.

    python docs/cluster/train.py --folder FOLDER [--tasks 16] [--epochs 5] [--steps 200]

FOLDER is on a file system that all workers see.
"""

import argparse
import pathlib

import keras

import tfmeta

parser = argparse.ArgumentParser()
parser.add_argument("--folder", type=pathlib.Path, required=True)
parser.add_argument("--tasks", type=int, default=16, help="of all workers, in one outer step")
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--steps", type=int, default=200, help="in one epoch")
parser.add_argument("--timeout", type=float, default=600, help="seconds to wait for the others")
options = parser.parse_args()

# Before anything else of TensorFlow: wait for all workers.
strategy = tfmeta.distribution.join(options.timeout)
with strategy.scope():
    network = tfmeta.networks.conv4((28, 28, 1), 5, filters=16, downsample="stride")
    learner = tfmeta.learners.MAML(network, inner_learning_rate=0.4)
    learner.compile(
        optimizer="adam",
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )


def episodes(split, count=None, **arguments):
    """This worker's share of the stream that one process would read."""
    share = tfmeta.distribution.share(options.tasks, count)
    data = tfmeta.datasets.glyphs(split)
    return tfmeta.episodes.classification(data, ways=5, shots=1, **share, **arguments)


learner.fit(
    episodes("train", queries=3),
    epochs=options.epochs,
    steps_per_epoch=options.steps,
    validation_data=episodes("validation", count=10 * options.tasks),
    callbacks=[tfmeta.callbacks.BackupAndRestore(options.folder / "backup", save_freq=100)],
    verbose=2 if tfmeta.distribution.is_chief() else 0,
)
if tfmeta.distribution.is_chief():
    learner.save(options.folder / "learner.keras")
