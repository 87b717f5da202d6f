"""Classes with a description each: what zero-shot episodes are drawn from."""

from collections.abc import Mapping

import numpy as np

from tfmeta.rows import map_parts
from tfmeta.types import ClassDataset, check_class_dataset, count_rows


def described(dataset, descriptions):
    """A data set whose examples carry the description of their class.

    Episodes of it are zero-shot episodes to `tfmeta.learners.ZeroShotProtoNet`: it reads the
    descriptions of the support set, and nothing else of it, and the examples of the query set.

    Args:
        dataset: `ClassDataset`, from `tfmeta.datasets`.
        descriptions: a dict of class name -> description, or an array `[classes, ...]` in the order
            of the classes: attributes, embeddings of the name, token ids.

    Returns:
        `ClassDataset` with the same classes, of x = `{"x": examples, "description": ...}`.

    Raises:
        ValueError: a class has no description, or a description no class.

    Example:

    ```python
    train = tfmeta.datasets.described(train, {"cat": [1.0, 0.0], "dog": [0.0, 1.0]})
    episodes = tfmeta.episodes.classification(train, ways=2, shots=1)
    ```
    """
    check_class_dataset(dataset)
    names = dataset.class_names
    if isinstance(descriptions, Mapping) and not all(name in descriptions for name in names):
        missing = [name for name in names if name not in descriptions][:5]
        raise ValueError(f"Expected a description for each class. Received: none for {missing}.")
    if isinstance(descriptions, Mapping):
        unknown = [name for name in descriptions if name not in names][:5]
        if unknown:
            raise ValueError(
                f"Expected descriptions of classes that the data set has. Received: {unknown}, "
                f"which are not among its {len(names)} classes."
            )
        descriptions = np.stack([np.asarray(descriptions[name]) for name in names])
    descriptions = map_parts(np.asarray, descriptions)
    if count_rows(descriptions) != len(names):
        raise ValueError(
            f"Expected {len(names)} descriptions, one a class. Received: "
            f"{count_rows(descriptions)}."
        )
    rows = map_parts(lambda part: part[dataset.class_ids], descriptions)
    return ClassDataset({"x": dataset.rows, "description": rows}, dataset.class_ids, names)
