"""Examples grouped by class: loading them, splitting them by class, and one set that ships."""

from tfmeta.datasets.arrays import from_arrays
from tfmeta.datasets.class_splits import check_disjoint, class_split, rotated_classes
from tfmeta.datasets.described import described
from tfmeta.datasets.folder import from_folder
from tfmeta.datasets.glyphs import glyphs
from tfmeta.datasets.labelled import labelled
from tfmeta.datasets.log_mel import log_mel
from tfmeta.datasets.omniglot import omniglot
from tfmeta.datasets.tfds import from_tfds
from tfmeta.datasets.tokens import tokens

__all__ = [
    "check_disjoint",
    "class_split",
    "described",
    "from_arrays",
    "from_folder",
    "from_tfds",
    "glyphs",
    "labelled",
    "log_mel",
    "omniglot",
    "rotated_classes",
    "tokens",
]
