"""Omniglot: 1,623 handwritten characters of 50 alphabets, 20 drawings each."""

import os

import numpy as np

from tfmeta.datasets.class_splits import rotated_classes
from tfmeta.datasets.tfds import from_tfds
from tfmeta.hints import Path
from tfmeta.types import ClassDataset

PROTOCOLS = ("alphabets", "characters", "vinyals")
_TRAIN_CHARACTERS = 1200  # of 1,623
_PARTS = {"t": "train", "v": "validation", "e": "test"}
_FILE = os.path.join(os.path.dirname(__file__), "omniglot_vinyals.txt")


def omniglot(
    data_dir: Path | None = None,
    protocol: str = "alphabets",
    image_size: int | tuple[int, int] = 28,
    seed: int = 0,
    download: bool = True,
) -> tuple[ClassDataset, ...]:
    """Loads Omniglot by `tfds.load`, split into training and test classes, or as papers did.

    Protocols:

    - "alphabets" (Lake et al., 2015): trains on the 964 characters of the 30 background
      alphabets, tests on the 659 of the 20 evaluation alphabets. No alphabet is in both.
    - "characters" (MAML and others): pools all 1,623 characters, shuffles them, trains on 1,200
      and tests on 423; each is turned by 90, 180 and 270 degrees to make new classes (Santoro et
      al., 2016): 4,800 and 1,692. Alphabets are in both parts, so it is the easier protocol. Those
      papers did not publish which characters they drew.
    - "vinyals" (Vinyals et al., 2016; Snell et al., 2017): the published split, 1,028 characters to
      train on, 172 of five other alphabets for validation and 423 for the test, each turned as
      above: 4,112, 688 and 1,692 classes. One test alphabet of 13, Gurmukhi, has characters in
      training, too.

    Args:
        data_dir: where tfds keeps its data; None for its own default.
        protocol: "alphabets", "characters" or "vinyals".
        image_size: (height, width), or one integer for both.
        seed: of the shuffle of "characters"; without effect on the others.
        download: whether tfds may download and prepare the data set.

    Returns:
        `(train, test)`, and with "vinyals" `(train, validation, test)`: `ClassDataset`s with x
        uint8 `[rows, height, width, 1]`, ink 255 on paper 0 (inverted), 20 rows a class.

    Raises:
        ValueError: an unknown protocol, or Omniglot cannot be loaded.
        ImportError: tensorflow-datasets is missing: `pip install tfmeta[tfds]`.

    Reference:
        Lake, Salakhutdinov, Tenenbaum, "Human-level concept learning through probabilistic
        program induction", Science 2015. Vinyals et al., "Matching Networks for One Shot
        Learning", NeurIPS 2016. Santoro et al., "Meta-Learning with Memory-Augmented Neural
        Networks", ICML 2016. Snell, Swersky and Zemel, "Prototypical Networks for Few-shot
        Learning", NeurIPS 2017, whose code has the lists of "vinyals" (MIT License; the notice is
        in `tfmeta/datasets/omniglot_vinyals.txt`).
    """
    if protocol not in PROTOCOLS:
        raise ValueError(
            f"Expected protocol to be {' or '.join(map(repr, PROTOCOLS))}. Received: {protocol!r}."
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
    pool = _pooled(train, test)
    return _by_characters(pool, seed) if protocol == "characters" else _published(pool)


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


def _published(pool):
    """The three parts of the published split, each with its rotations."""
    names = published_names()
    return tuple(rotated_classes(pool.subset(names[part])) for part in _PARTS.values())


def published_names():
    """Part -> names of its characters, as tfds has them: "Alphabet_0" is character01."""
    names = {part: [] for part in _PARTS.values()}
    with open(_FILE) as file:
        lines = [line.split() for line in file if not line.startswith("#")]
    for alphabet, letters in lines:
        for number, letter in enumerate(letters):
            names[_PARTS[letter]].append(f"{alphabet}_{number}")
    return names
