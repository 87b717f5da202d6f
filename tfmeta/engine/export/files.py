"""A learner as a file that programs without tfmeta learn new tasks with."""

import pathlib
import re
import tempfile

import keras
import tensorflow as tf

from tfmeta.backend.solve import elementary_operations
from tfmeta.backend.whole_files import whole_file, whole_folder
from tfmeta.engine.export.note import write_note
from tfmeta.engine.export.signatures import signatures

FORMATS = ("tf_saved_model", "litert")
_OF_A_SAVED_MODEL = {
    *("saved_model.pb", "fingerprint.pb", "variables", "assets", "assets.extra"),
    *("keras_metadata.pb", "debug"),
}


def export(learner, path, format, like):
    """`MetaModel.export`."""
    path = pathlib.Path(path)
    if format not in FORMATS:
        raise ValueError(f"Expected format in {FORMATS}. Received: {format!r}.")
    if format == "tf_saved_model":
        _check_folder(path)
        made = signatures(learner, like)
        with whole_folder(path) as folder:
            _write_saved_model(learner, made, folder)
            write_note(learner, made, folder)
    else:
        _check_file(path)
        content = _converted(learner, like)
        with whole_file(path) as file:
            file.write(content)


def _write_saved_model(learner, made, folder):
    archive = keras.export.ExportArchive()
    archive.track(learner)  # the tables of layers that look words up
    for name, signature in made.items():
        archive.add_endpoint(name, signature.function)
    # No gradient is taken through the graphs.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    archive.write_out(str(folder), options=options, verbose=False)


def _check_folder(path):
    """A ValueError unless a SavedModel can be put there: nothing else is to be lost by it."""
    if not path.exists():
        return
    other = sorted({p.name for p in path.iterdir()} - _OF_A_SAVED_MODEL) if path.is_dir() else []
    if other or not path.is_dir():
        held = f"a folder with {other[0]!r} in it" if other else "a file"
        raise ValueError(
            "Expected the path of a new folder, or of a SavedModel that was there before. "
            f"Received: {path}, {held}."
        )


def _check_file(path):
    if path.suffix != ".tflite" or path.is_dir():
        raise ValueError(f"Expected the path of a .tflite file. Received: {path}.")


def _converted(learner, like):
    """The bytes of a LiteRT file, of LiteRT's own operations alone."""
    if learner.takes_inner_steps:
        raise _no_litert(learner, "a learner whose `adapt` takes gradient steps")
    with elementary_operations():
        made = signatures(learner, like)
    with tempfile.TemporaryDirectory() as folder:
        _write_saved_model(learner, made, folder)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(made))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        try:
            return converter.convert()
        except Exception as error:  # of a class that TensorFlow does not name in public
            what = missing_operations(error) or str(error).splitlines()[0]
            raise _no_litert(learner, f"one that takes {what}") from error


def missing_operations(error):
    """What LiteRT lacks, by the error of its converter; "" if the error is about something else."""
    return ", ".join(re.findall(r"(?:Select|Custom) ops: ([\w, ]+)", str(error)))


def _no_litert(learner, what):
    return ValueError(
        f"Expected a learner of LiteRT's own operations. Received: {type(learner).__name__}, "
        f"{what}. Call export(path), which writes a SavedModel, or learner.adapted_model(support)"
        '.export(path, format="litert") for one task that was learned here, unless it predicts in '
        "float64."
    )
