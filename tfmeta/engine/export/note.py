"""The note in an exported SavedModel: what goes in and comes out, and how it was made."""

import json

import keras
import tensorflow as tf

from tfmeta.engine import losses
from tfmeta.version import __version__

#: Where the note lies in the folder of a SavedModel.
NOTE = "assets/tfmeta.json"


def write_note(learner, made, folder):
    """Write the note into the folder of a SavedModel that is all written.

    Args:
        learner: the learner.
        made: name -> `Signature`.
        folder: `pathlib.Path`.
    """
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    sizes = {p.relative_to(folder).as_posix(): p.stat().st_size for p in files}
    (folder / NOTE).parent.mkdir(exist_ok=True)
    (folder / NOTE).write_text(json.dumps(_note(learner, made) | {"bytes": sizes}, indent=1) + "\n")


def _note(learner, made):
    inputs = made["adapt"].inputs
    return {
        "learner": type(learner).__name__,
        "versions": {
            "tfmeta": __version__, "tensorflow": tf.__version__, "keras": keras.__version__
        },
        "signatures": {
            name: {"inputs": _shown(s.inputs), "outputs": _shown(s.outputs)}
            for name, s in made.items()
        },
        "preprocessing": {name: _told(s) for name, s in inputs.items() if _is_input(name)},
        "targets": _targets(learner, made),
        "outputs": _outputs(learner),
        "transductive": bool(learner.is_transductive()),
        "order_matters": bool(learner.order_matters),
    }  # fmt: skip


def _shown(specs):
    return {name: {"shape": s.shape.as_list(), "dtype": s.dtype.name} for name, s in specs.items()}


def _is_input(name):
    return name == "x" or name.startswith("x_")


def _told(spec):
    if spec.dtype == tf.uint8:
        return "bytes 0..255, which are scaled to 0..1"
    if spec.dtype.is_integer:
        return "integers, as the network takes them"
    return "as the network takes it; of pictures, values 0..1: bytes are divided by 255 first"


def _targets(learner, made):
    """What y is: numbers, or labels of so many classes, null for as many as support rows."""
    if not (learner.integer_labels and made["adapt"].inputs["y"].dtype.is_integer):
        return {"kind": "numbers"}
    columns = made["predict_query"].outputs["outputs"].shape[-1]
    return {"kind": "class labels, from 0", "ways": columns}


def _outputs(learner):
    """What predictions are."""
    if not learner.integer_labels:
        return "numbers"
    if learner.predicts_logits() or not losses.expects_probabilities(learner.query_loss):
        return "one logit a class"
    return "one probability a class"
