"""random_affine against a slow reference, point by point."""

import numpy as np

from tfmeta.datasets.glyphs import random_affine


class Fixed:
    """Stands in for a generator: gives the angles, scales and shears it was made with."""

    def __init__(self, *values):
        self.values = list(values)

    def uniform(self, low, high, rows):
        return np.full(rows, self.values.pop(0))


def reference(image, angle, scale, shear):
    """Bilinear warp of `[H, W]`, one pixel at a time."""
    height, width = image.shape
    result = np.zeros_like(image, np.float64)
    for row, column in np.ndindex(height, width):
        down, right = row - (height - 1) / 2, column - (width - 1) / 2
        from_row = (np.cos(angle) * down + np.sin(angle) * right) / scale
        turned = (np.cos(angle) * right - np.sin(angle) * down) / scale
        from_column = turned + shear * from_row
        from_row += (height - 1) / 2
        from_column += (width - 1) / 2
        for y in (int(np.floor(from_row)), int(np.floor(from_row)) + 1):
            for x in (int(np.floor(from_column)), int(np.floor(from_column)) + 1):
                if 0 <= y < height and 0 <= x < width:
                    weight = (1 - abs(from_row - y)) * (1 - abs(from_column - x))
                    result[row, column] += weight * image[y, x]
    return result


def test_equals_the_reference():
    images = np.random.default_rng(0).integers(0, 256, (2, 9, 9, 1), np.uint8)
    for values in ((0.2, 0.9, -0.2), (-0.25, 1.1, 0.25), (0.0, 1.0, 0.1)):
        warped = random_affine(images, Fixed(*values))
        assert warped.dtype == np.uint8
        for before, after in zip(images[..., 0], warped[..., 0], strict=True):
            np.testing.assert_allclose(after, reference(before, *values), atol=0.51)


def test_no_warp_changes_nothing():
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), np.uint8)
    np.testing.assert_array_equal(random_affine(images, Fixed(0.0, 1.0, 0.0)), images)


def test_a_quarter_turn_is_rot90():
    images = np.random.default_rng(0).integers(0, 256, (1, 7, 7, 1), np.uint8)
    turned = random_affine(images, Fixed(np.pi / 2, 1.0, 0.0))
    assert any((turned[0] == np.rot90(images[0], k)).all() for k in (1, 3))


def test_every_row_gets_its_own_warp():
    images = np.repeat(np.random.default_rng(0).integers(0, 256, (1, 8, 8, 1), np.uint8), 20, 0)
    warped = random_affine(images, np.random.default_rng(1))
    assert len(np.unique(warped.reshape(20, -1), axis=0)) == 20
