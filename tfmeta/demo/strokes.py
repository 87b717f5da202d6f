"""Strokes of a pen as pictures, such as the network of the page was trained on."""

import numpy as np

SIDE = 28
LONGEST_SIDE = 20  # of the ink, as in the glyphs and in MNIST
PEN = 2.0  # width of the line, in pixels
#: A drawing that is smaller than this part of the pad, a dot, is not blown up to the whole picture.
SMALLEST = 0.05
_CHUNK = 128  # segments at a time: what is computed of them stays in the cache

_CENTERS = np.indices((SIDE, SIDE), np.float32).reshape(2, -1).T[:, ::-1] + 0.5  # x, y


def picture(strokes):
    """The picture of a drawing, moved to the middle and scaled: where it stood does not matter.

    Args:
        strokes: a list of strokes, each `[points, 2]`: x to the right and y downwards, in parts of
            the pad's side. A stroke of one point is a dot.

    Returns:
        uint8 `[28, 28, 1]`, ink 255 on paper 0: the longer side of the ink is 20 pixels, the line
        2 pixels wide, with soft edges.
    """
    return render([np.asarray(stroke, np.float32) for stroke in strokes], PEN)


def render(strokes, pen):
    """`picture` with a line of another width.

    Args:
        strokes: a list of float32 arrays `[points, 2]`.
        pen: width of the line in pixels.
    """
    starts, ends = _segments(strokes)
    points = np.concatenate([starts, ends])
    low, high = points.min(axis=0), points.max(axis=0)
    scale = (LONGEST_SIDE - pen) / max((high - low).max(), SMALLEST)
    middle = (low + high) / 2
    starts, ends = ((p - middle) * scale + SIDE / 2 for p in (starts, ends))
    distances = np.full(SIDE * SIDE, np.inf, np.float32)
    for first in range(0, len(starts), _CHUNK):
        part = slice(first, first + _CHUNK)
        np.minimum(distances, _squared_distances(starts[part], ends[part]), out=distances)
    ink = np.clip(pen / 2 + 0.5 - np.sqrt(distances), 0, 1)
    return np.rint(ink * 255).astype(np.uint8).reshape(SIDE, SIDE, 1)


def _segments(strokes):
    """First and last points `[segments, 2]` of the straight lines that strokes are made of."""
    starts = [stroke[:-1] if len(stroke) > 1 else stroke for stroke in strokes]
    ends = [stroke[1:] if len(stroke) > 1 else stroke for stroke in strokes]
    return np.concatenate(starts), np.concatenate(ends)


def _squared_distances(starts, ends):
    """From the middle of each pixel to the nearest of the segments, `[pixels]`."""
    along = ends - starts
    length = np.maximum((along**2).sum(axis=1), 1e-12)
    from_start = _CENTERS[:, None] - starts
    part = np.clip((from_start * along).sum(axis=2) / length, 0, 1)
    return ((from_start - part[..., None] * along) ** 2).sum(axis=2).min(axis=1)
