"""An exported learner, loaded: checked first, and what goes in checked at each call."""

import json
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from tfmeta.engine.export.note import NOTE
from tfmeta.hints import Path
from tfmeta.serving.graph_check import check_graphs


class Exported:
    """A learner that `learner.export(path)` wrote. It is made by `load`.

    Attributes:
        note: what the export says of itself, a dict.
    """

    def __init__(self, model: Any, note: dict):
        self.note = note
        self._model = model  # its functions do not keep its variables
        self._functions = dict(model.signatures)

    def inputs(self, signature):
        """Name -> `{"shape": [None, ...], "dtype": ...}`, without what `adapt` gives."""
        found = self.note["signatures"][signature]["inputs"]
        return {name: spec for name, spec in found.items() if not _is_adapted(name)}

    def adapt(self, values, most_rows=None):
        """Learn a task.

        Args:
            values: name -> anything that makes an array: x, y and, as far as it is known, the
                mask, ones by default.
            most_rows: the largest number of rows, None for any.

        Returns:
            Name -> tensor, for `predict_query`.

        Raises:
            ValueError: an input is missing, unknown, or not what the learner takes.
        """
        arrays = self._arrays("adapt", values, most_rows)
        self._check_labels(arrays["y"])
        return self._call("adapt", arrays)

    def predict_query(self, adapted, values, most_rows=None):
        """Outputs `[M, ...]`, an array, for the task of what `adapt` returned.

        Args, Raises: as `adapt`.
        """
        arrays = self._arrays("predict_query", values, most_rows)
        outputs = self._call("predict_query", adapted | arrays)["outputs"].numpy()
        if not np.isfinite(outputs).all():
            raise ValueError(
                "Expected a support set that the learner can learn from. Received: one after "
                "which its outputs are not finite."
            )
        return outputs

    def _call(self, signature, arrays):
        tensors = {name: tf.convert_to_tensor(value) for name, value in arrays.items()}
        try:
            return self._functions[signature](**tensors)
        except tf.errors.OpError as error:
            raise ValueError(
                "Expected inputs that the learner can compute with. Received: others, for which "
                f"{signature} fails with {type(error).__name__}."
            ) from error

    def _arrays(self, signature, values, most_rows):
        specs = self.inputs(signature)
        given, wanted = set(values), set(specs)
        if given - wanted or wanted - {"mask"} - given:
            raise ValueError(
                f"Expected the inputs {', '.join(sorted(wanted))}. "
                f"Received: {', '.join(sorted(map(str, given))) or 'none'}."
            )
        arrays = {name: as_array(name, value, specs[name]) for name, value in values.items()}
        rows = {name: len(array) for name, array in arrays.items()}
        if len(set(rows.values())) != 1 or 0 in rows.values():
            raise ValueError(f"Expected inputs with as many rows, at least one. Received: {rows}.")
        count = next(iter(rows.values()))
        if most_rows is not None and count > most_rows:
            raise ValueError(f"Expected at most {most_rows} rows. Received: {count}.")
        if "mask" in wanted:
            arrays.setdefault("mask", np.ones(count, "float32"))
            if not np.isin(arrays["mask"], (0, 1)).all() or not arrays["mask"].any():
                raise ValueError("Expected a mask of 0 and 1, a 1 in it. Received: another one.")
        return arrays

    def _check_labels(self, y):
        targets = self.note["targets"]
        if targets["kind"] == "numbers":
            return
        # A class without a row is no class: a label of a billion would ask for so many columns.
        ways = targets["ways"] or len(y)
        if y.min() < 0 or y.max() >= ways:
            wrong = y.min() if y.min() < 0 else y.max()
            raise ValueError(f"Expected class labels 0..{ways - 1} in y. Received: {wrong}.")


def as_array(name, value, spec):
    """An array of the shape and dtype of a spec, or a ValueError in words."""
    shown = "[" + ", ".join("rows" if n is None else str(n) for n in spec["shape"]) + "]"
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError):
        raise ValueError(
            f"Expected {name} of shape {shown}. Received: rows that differ in length."
        ) from None
    dtype = np.dtype(spec["dtype"])
    whole = dtype.kind in "iu"
    if array.size and array.dtype.kind not in ("iu" if whole else "iuf"):
        kind = "integers" if whole else "numbers"
        raise ValueError(f"Expected {kind} in {name}. Received: {array.dtype.name}.")
    fits = array.ndim == len(spec["shape"]) and all(
        n in (None, m) for n, m in zip(spec["shape"], array.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"Expected {name} of shape {shown}. Received: {list(array.shape)}.")
    if whole and array.size:
        info = np.iinfo(dtype)
        if array.min() < info.min or array.max() > info.max:
            raise ValueError(f"Expected {name} in {info.min}..{info.max}. Received: other numbers.")
    with np.errstate(over="ignore"):
        array = array.astype(dtype)
    if not np.isfinite(array).all():
        raise ValueError(f"Expected finite numbers in {name}. Received: NaN, or one too large.")
    return array


def load(path: Path) -> Exported:
    """Load what `learner.export(path)` wrote, if it is whole and does nothing but compute.

    Args:
        path: the folder.

    Returns:
        `Exported`.

    Raises:
        ValueError: something of it is missing, truncated, or does more than compute.
    """
    path = pathlib.Path(path)
    note = _read_note(path)
    for name, size in note["bytes"].items():
        found = (path / name).stat().st_size if (path / name).is_file() else None
        if found != size:
            received = "which is missing" if found is None else f"of {found} bytes"
            raise ValueError(
                f"Expected a whole SavedModel, {name} of {size} bytes in it. Received: "
                f"{path / name}, {received}. Export it anew, or copy it once more."
            )
    check_graphs(path / "saved_model.pb")
    return Exported(tf.saved_model.load(str(path)), note)


def _read_note(path):
    if not (path / NOTE).is_file():
        raise ValueError(
            f"Expected the folder of a learner's export, {NOTE} in it. Received: {path}. Call "
            "learner.export(path)."
        )
    try:
        note = json.loads((path / NOTE).read_text())
        specs = [note["signatures"][name]["inputs"] for name in ("adapt", "predict_query")]
        whole = specs and note["targets"]["kind"] and "saved_model.pb" in note["bytes"]
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise ValueError(
            f"Expected the note of an export. Received: {path / NOTE}, truncated or of another "
            "kind. Export it anew."
        )
    return note


def _is_adapted(name):
    return name == "adapted" or name.startswith("adapted_")
