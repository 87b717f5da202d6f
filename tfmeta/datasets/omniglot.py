"""Omniglot: 1,623 handwritten characters of 50 alphabets, 20 drawings each."""

import numpy as np

from tfmeta.datasets.class_splits import rotated_classes
from tfmeta.datasets.tfds import from_tfds
from tfmeta.types import ClassDataset

_TRAIN_CHARACTERS = 1200  # of 1,623; Vinyals et al. fixed the number, not which ones


def omniglot(data_dir=None, protocol="alphabets", image_size=28, seed=0, download=True):
    """Loads Omniglot by `tfds.load`, split into training and test classes.

    Protocols:

    - "alphabets" (Lake et al., 2015): trains on the 964 characters of the 30 background
      alphabets, tests on the 659 of the 20 evaluation alphabets. No alphabet is in both.
    - "characters" (Vinyals et al., 2016, and most papers since): pools all 1,623 characters,
      shuffles them, trains on 1,200 and tests on 423; each is turned by 90, 180 and 270
      degrees to make new classes (Santoro et al., 2016): 4,800 and 1,692. Alphabets are
      in both parts, so it is the easier protocol. The papers did not publish which
      characters they drew.

    Args:
        data_dir: where tfds keeps its data; None for its own default.
        protocol: "alphabets" or "characters".
        image_size: (height, width), or one integer for both.
        seed: of the shuffle of "characters"; without effect on "alphabets".
        download: whether tfds may download and prepare the data set.

    Returns:
        `(train, test)`, two `ClassDataset`s with x uint8 `[rows, height, width, 1]`, ink 255
        on paper 0 (inverted), 20 rows a class.

    Raises:
        ValueError: an unknown protocol, or Omniglot cannot be loaded.
        ImportError: tensorflow-datasets is missing: `pip install tfmeta[tfds]`.

    Reference:
        Lake, Salakhutdinov, Tenenbaum, "Human-level concept learning through probabilistic
        program induction", Science 2015. Vinyals et al., "Matching Networks for One Shot
        Learning", NeurIPS 2016. Santoro et al., "Meta-Learning with Memory-Augmented Neural
        Networks", ICML 2016.
    """
    if protocol not in ("alphabets", "characters"):
        raise ValueError(
            f"Expected protocol to be 'alphabets' or 'characters'. Received: {protocol!r}."
        )
    train, test = (
        _inverted(
            from_tfds(
                "omniglot",
                split=split,
                data_dir=data_dir,
                image_size=image_size,
                channels=1,
                download=download,
            )
        )
        for split in ("train", "test")
    )
    if protocol == "alphabets":
        return train, test
    return _by_characters(_pooled(train, test), seed)


def _inverted(dataset):
    """The same classes, dark and light exchanged: ink 255 on paper 0."""
    return ClassDataset(255 - dataset.x, dataset.class_ids, dataset.class_names)


def _pooled(first, second):
    """One data set of the classes of both, which share none."""
    return ClassDataset(
        np.concatenate([first.x, second.x]),
        np.concatenate([first.class_ids, second.class_ids + first.num_classes]),
        first.class_names + second.class_names,
    )


def _by_characters(pool, seed):
    """1,200 shuffled characters and the others, each with its rotations."""
    shuffled = np.random.default_rng(seed).permutation(pool.num_classes)
    parts = shuffled[:_TRAIN_CHARACTERS], shuffled[_TRAIN_CHARACTERS:]
    return tuple(rotated_classes(pool.subset(np.sort(part))) for part in parts)
