"""Printed characters that ship with the package: a data set that needs no download."""

import os

import numpy as np

from tfmeta.types import ClassDataset

SPLITS = {
    "train": ("LATIN", "DIGIT"),
    "validation": ("CYRILLIC",),
    "test": ("GREEK", "ARMENIAN", "GEORGIAN"),
}
_FILE = os.path.join(os.path.dirname(__file__), "glyphs.npz")
_ROTATION, _SCALE, _SHEAR = np.deg2rad(15.0), 0.15, 0.25
_CHUNK_ROWS = 1024  # keeps the index arrays of the warp inside the cache


def glyphs(split: str = "train", variations: int = 3, seed: int = 0) -> ClassDataset:
    """Letters and digits printed in the fonts of matplotlib, randomly distorted.

    This is **not** handwriting: each class is one character, its rows are that character in
    10 to 16 cuts (regular, bold, italic, mono ...) of the DejaVu and STIX fonts, each drawn
    `variations` times under a random affine warp: rotation within 15 degrees, scale within
    15 %, shear within 0.25. It is a small offline stand-in for tutorials and tests, harder
    than it looks for raw pixels; scores on it compare with no published table. For those, use
    `tfmeta.datasets.omniglot`.

    The splits share no script and so no class: "train" is Latin letters and digits,
    "validation" Cyrillic, "test" Greek, Armenian and Georgian. Characters that look (nearly)
    like another one in the same font, such as Greek Alpha and Latin A, are left out.

    Args:
        split: "train", "validation" or "test".
        variations: distorted copies of each font's picture; 3 gives every class at least 30
            rows. 0 gives the pictures as the fonts draw them, at least 10 a class.
        seed: the distortions are the same for the same seed.

    Returns:
        `ClassDataset` with x uint8 `[rows, 28, 28, 1]`, ink 255 on paper 0, and the Unicode
        names ("GREEK SMALL LETTER ALPHA") as class names.

    Raises:
        ValueError: an unknown split, or `variations` is no integer from 0.

    The pictures were rendered by `tools/render_glyphs.py`. DejaVu fonts: Bitstream Vera
    licence with public-domain changes; STIX fonts: STIX Font License. Both are free to use
    and to embed.
    """
    if split not in SPLITS:
        raise ValueError(f"Expected split to be one of {sorted(SPLITS)}. Received: {split!r}.")
    if not isinstance(variations, (int, np.integer)) or variations < 0:
        raise ValueError(f"Expected variations to be an integer from 0. Received: {variations!r}.")
    with np.load(_FILE) as file:
        images, class_ids, names = file["images"], file["class_ids"], file["class_names"]
    pictures = ClassDataset(images[..., None], class_ids, names)
    scripts = [name.split(" ")[0] for name in pictures.class_names]
    pictures = pictures.subset(np.flatnonzero(np.isin(scripts, SPLITS[split])))
    if variations == 0:
        return pictures
    rng = np.random.default_rng([seed, sorted(SPLITS).index(split)])
    return ClassDataset(
        random_affine(np.repeat(pictures.x, variations, axis=0), rng),
        np.repeat(pictures.class_ids, variations),
        pictures.class_names,
    )


def random_affine(x, rng):
    """Rotates, scales and shears each image about its middle by its own random amount.

    Args:
        x: uint8 `[rows, H, W, 1]`; what lies outside the image is 0.
        rng: `numpy.random.Generator`.

    Returns:
        uint8 `[rows, H, W, 1]`, interpolated bilinearly.
    """
    rows, height, width = x.shape[:3]
    angle = rng.uniform(-_ROTATION, _ROTATION, rows)
    scale = rng.uniform(1 - _SCALE, 1 + _SCALE, rows)
    shear = rng.uniform(-_SHEAR, _SHEAR, rows)
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    # Inverse map, from a point of the result to a point (row, column) of the image.
    inverse = np.stack([cos, sin, shear * cos - sin, shear * sin + cos], axis=1)
    inverse = inverse.reshape(rows, 2, 2).astype(np.float32)
    middle = np.array([[height - 1], [width - 1]], np.float32) / 2
    grid = np.indices((height, width), np.float32).reshape(2, -1) - middle
    # Two empty pixels on each side: points outside read 0 and need no mask.
    padded = np.pad(x[..., 0], ((0, 0), (2, 2), (2, 2)))
    result = np.empty((rows, height * width), np.uint8)
    for start in range(0, rows, _CHUNK_ROWS):
        part = slice(start, start + _CHUNK_ROWS)
        result[part] = _bilinear(padded[part], inverse[part] @ grid + middle + 2)
    return result.reshape(x.shape)


def _bilinear(images, points):
    """Reads images `[rows, H, W]` at points `[rows, 2, P]`: uint8 `[rows, P]`."""
    rows, height, width = images.shape
    limit = np.array([[height - 2], [width - 2]], np.float32)
    points = np.clip(points, 0, limit)
    corner = points.astype(np.int32)
    down, right = np.moveaxis(points - corner, 1, 0)
    flat = images.ravel()
    index = corner[:, 0] * width + corner[:, 1]
    index += (np.arange(rows, dtype=np.int32) * (height * width))[:, None]
    upper = flat[index] * (1 - right) + flat[index + 1] * right
    lower = flat[index + width] * (1 - right) + flat[index + width + 1] * right
    return np.rint(upper * (1 - down) + lower * down).astype(np.uint8)
