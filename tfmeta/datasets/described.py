"""Classes with a description each: what zero-shot episodes are drawn from."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfmeta.rows import map_parts
from tfmeta.types import ClassDataset, check_class_dataset, count_rows


def described(dataset: ClassDataset, descriptions: Any) -> ClassDataset:
    """A data set whose examples carry the description of their class.

    Episodes of it are zero-shot episodes to `tfmeta.learners.ZeroShotProtoNet`: it reads the
    descriptions of the support set, and nothing else of it, and the examples of the query set.

    Args:
        dataset: `ClassDataset`, from `tfmeta.datasets`.
        descriptions: a dict of class name -> description, or an array `[classes, ...]`, or a nest
            of them, in the order of the classes: attributes, embeddings of the name, what
            `tfmeta.datasets.tokens` makes of the names.

    Returns:
        `ClassDataset` with the same classes, of x = `{"x": examples, "description": ...}`.

    Raises:
        ValueError: a class has no description, or a description no class; they are texts, or of
            several shapes.

    Example:

    ```python
    train = tfmeta.datasets.described(train, {"cat": [1.0, 0.0], "dog": [0.0, 1.0]})
    episodes = tfmeta.episodes.classification(train, ways=2, shots=1)
    ```
    """
    check_class_dataset(dataset)
    names = dataset.class_names
    if isinstance(descriptions, Mapping) and any(name in descriptions for name in names):
        descriptions = _by_name(descriptions, names)
    descriptions = map_parts(_as_numbers, descriptions)
    if count_rows(descriptions) != len(names):
        keys = f", of {list(descriptions)[:5]}" if isinstance(descriptions, Mapping) else ""
        raise ValueError(
            f"Expected {len(names)} descriptions, one a class. Received: "
            f"{count_rows(descriptions)}{keys}."
        )
    rows = map_parts(lambda part: part[dataset.class_ids], descriptions)
    return ClassDataset({"x": dataset.rows, "description": rows}, dataset.class_ids, names)


def _by_name(descriptions, names):
    """The values of a dict of class name -> description, in the order of the classes."""
    missing = [name for name in names if name not in descriptions][:5]
    if missing:
        raise ValueError(f"Expected a description for each class. Received: none for {missing}.")
    unknown = [name for name in descriptions if name not in names][:5]
    if unknown:
        raise ValueError(
            f"Expected descriptions of classes that the data set has. Received: {unknown}, "
            f"which are not among its {len(names)} classes."
        )
    values = [_as_numbers(descriptions[name]) for name in names]
    if len({value.shape for value in values}) > 1:
        raise ValueError(
            "Expected descriptions of one shape. Received: shapes "
            f"{sorted({value.shape for value in values})[:5]}."
        )
    return np.stack(values)


def _as_numbers(description):
    array = np.asarray(description)
    if array.dtype.kind in "USO":
        raise ValueError(
            f"Expected descriptions as numbers. Received: text, {str(array.ravel()[0])!r:.60}. "
            "Make token ids of all of them, in the order of dataset.class_names, by "
            "tfmeta.datasets.tokens(texts, tokenizer)."
        )
    return array
