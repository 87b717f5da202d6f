"""Sets of classes: splitting them, checking that they are disjoint, adding rotated ones."""

import itertools
from collections.abc import Sequence

import numpy as np

from tfmeta.rows import Rows
from tfmeta.types import ClassDataset, check_class_dataset


def class_split(
    dataset: ClassDataset, fractions: Sequence[float], seed: int = 0
) -> tuple[ClassDataset, ...]:
    """Splits a data set by class: no class is in two parts.

    Args:
        dataset: `ClassDataset`.
        fractions: share of the classes that each part gets, such as `(0.7, 0.15, 0.15)`;
            each above 0, the sum at most 1. Classes beyond the sum are left out.
        seed: which class goes where; the same seed gives the same parts.

    Returns:
        tuple of `ClassDataset`, one for each fraction. The classes of a part keep the order
        they have in `dataset`.

    Raises:
        ValueError: the fractions are out of range, or a part would have no class.
    """
    check_class_dataset(dataset)
    fractions = np.asarray(fractions, np.float64)
    in_range = fractions.ndim == 1 and len(fractions) and (fractions > 0).all()
    if not in_range or fractions.sum() > 1 + 1e-6:
        raise ValueError(
            "Expected fractions above 0 with a sum of at most 1, such as (0.7, 0.15, 0.15). "
            f"Received: {fractions.tolist()}."
        )
    # Rounding the running sum, not each share, uses every class when the sum is 1.
    ends = np.rint(np.cumsum(fractions) * dataset.num_classes).astype(int)
    sizes = np.diff(ends, prepend=0)
    if (sizes == 0).any():
        raise ValueError(
            f"Expected at least one class in each part. Received: {dataset.num_classes} classes "
            f"and fractions {fractions.tolist()}, which give parts of {sizes.tolist()} classes."
        )
    shuffled = np.random.default_rng(seed).permutation(dataset.num_classes)
    parts = np.split(shuffled[: ends[-1]], ends[:-1])
    return tuple(dataset.subset(np.sort(part)) for part in parts)


def check_disjoint(*datasets: ClassDataset) -> None:
    """Checks that no two data sets share a class, by name: no leak from training to test.

    Args:
        *datasets: `ClassDataset`s. Data sets without class names of their own ("0", "1",
            ...) look alike to this check.

    Raises:
        ValueError: two of them share a class; the message names the shared classes.
    """
    for dataset in datasets:
        if isinstance(dataset, tuple | list):
            raise ValueError(
                "Expected data sets one by one. Received: a "
                f"{type(dataset).__name__} of them. Call check_disjoint(*parts)."
            )
        check_class_dataset(dataset)
    for (i, first), (j, second) in itertools.combinations(enumerate(datasets), 2):
        shared = sorted(set(first.class_names) & set(second.class_names))
        if shared:
            more = "" if len(shared) <= 10 else f" and {len(shared) - 10} more"
            raise ValueError(
                f"Expected data sets without a class in common. Received: {len(shared)} shared by "
                f"number {i} and number {j} of them: {', '.join(shared[:10])}{more}."
            )


def rotated_classes(dataset: ClassDataset) -> ClassDataset:
    """Adds the classes that turning every image by 90, 180 and 270 degrees makes.

    The usual augmentation for Omniglot (Santoro et al., 2016): a turned character is
    another character, not another picture of the same one.

    Args:
        dataset: `ClassDataset` of square images, x `[examples, H, H, channels]` or
            `[examples, H, H]`.

    Returns:
        `ClassDataset` with four times the classes: first those of `dataset` under their own
        names, then all of them turned counter-clockwise, named "name@90", "name@180" and
        "name@270".

    Raises:
        ValueError: the examples are not square images, or a nest, of which nobody can say which
            part turns.
    """
    check_class_dataset(dataset)
    shape = dataset.example_shape
    if not isinstance(dataset.rows, Rows) or not isinstance(dataset.rows.example, np.ndarray):
        raise ValueError(
            "Expected square images, one array of shape (examples, H, H, channels). Received: a "
            f"nest, examples of shape {shape}. Turn the pictures before from_arrays."
        )
    if len(shape) not in (2, 3) or shape[0] != shape[1]:
        raise ValueError(
            f"Expected square images, examples of shape (H, H, channels). Received: {shape}. "
            "Pass image_size=(H, H) when the images are loaded."
        )
    turns, classes, x = range(4), dataset.num_classes, np.asarray(dataset.x)
    return ClassDataset(
        np.concatenate([np.rot90(x, turn, axes=(1, 2)) for turn in turns]),
        np.concatenate([dataset.class_ids + turn * classes for turn in turns]),
        [f"{name}@{90 * turn}" if turn else name for turn in turns for name in dataset.class_names],
    )
