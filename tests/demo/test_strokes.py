"""Strokes become pictures such as the network was trained on."""

import itertools

import numpy as np
import pytest
from demo import drawings

import tfmeta
from tfmeta.demo.strokes import LONGEST_SIDE, PEN, SIDE, picture


def reference(strokes):
    """Slowly: the distance of each pixel to very many points of the lines."""
    lines = [np.array(s) for s in strokes]
    dense = [np.linspace(a, b, 200) for s in lines for a, b in itertools.pairwise(s)]
    points = np.concatenate([*dense, *[s for s in lines if len(s) == 1]])
    low, high = points.min(axis=0), points.max(axis=0)
    points = (points - (low + high) / 2) * (LONGEST_SIDE - PEN) / (high - low).max() + SIDE / 2
    ink = np.empty((SIDE, SIDE))
    for row in range(SIDE):
        for column in range(SIDE):
            distance = np.hypot(*(points - [column + 0.5, row + 0.5]).T).min()
            ink[row, column] = min(max(PEN / 2 + 0.5 - distance, 0), 1)
    return ink * 255


@pytest.mark.parametrize("name", ["house", "ring"])
def test_a_picture_is_that_of_a_slow_reference(name):
    strokes = drawings.draw(name, 0)
    np.testing.assert_allclose(picture(strokes)[..., 0], reference(strokes), atol=1)


@pytest.mark.parametrize("name", drawings.CORNERS)
def test_ink_lies_as_in_the_glyphs(name):
    """The longer side 20 pixels, in the middle of 28; white paper around."""
    strokes = drawings.draw(name, 0)
    made = picture(strokes)
    assert (made.shape, made.dtype) == ((SIDE, SIDE, 1), np.uint8)
    sides, middles = extent(made[..., 0])
    assert max(sides) == pytest.approx(LONGEST_SIDE, abs=1)
    np.testing.assert_allclose(middles, SIDE / 2, atol=0.5)
    glyph = tfmeta.datasets.glyphs("train", variations=0).x[0, ..., 0]
    glyph_sides, glyph_middles = extent(glyph)
    assert max(glyph_sides) == pytest.approx(max(sides), abs=1)
    np.testing.assert_allclose(glyph_middles, middles, atol=1)
    moved = [(0.1 + 0.4 * np.array(stroke)).tolist() for stroke in strokes]
    np.testing.assert_allclose(picture(moved), made, atol=2)


def extent(image):
    """Sides of the box around the ink, and its middle: (down, across)."""
    rows, columns = (np.flatnonzero(image.max(axis=axis) > 127) for axis in (1, 0))
    ends = [(found[0], found[-1] + 1) for found in (rows, columns)]
    return [b - a for a, b in ends], [(a + b) / 2 for a, b in ends]


def test_lines_are_as_wide_as_the_pen():
    line = picture([[[0.5, 0.1], [0.5, 0.9]]])[..., 0] / 255.0
    assert line[14].sum() == pytest.approx(PEN, abs=0.02)
    flat = picture([[[0.3, 0.5], [0.31, 0.5], [0.9, 0.5]]])[..., 0] / 255.0
    np.testing.assert_allclose(flat, line.T, atol=0.01)


def test_a_dot_stays_a_dot():
    dot = picture([[[0.9, 0.1]]])[..., 0] / 255.0
    assert dot.sum() == pytest.approx(np.pi * (PEN / 2) ** 2, rel=0.2)
    assert dot[13:15, 13:15].min() > 0.5
    shaky = picture([[[0.9, 0.1], [0.905, 0.1]]])[..., 0] / 255.0
    assert extent(shaky * 255)[0] <= [3, 5]
