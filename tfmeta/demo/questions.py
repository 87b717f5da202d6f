"""What the page sends, checked: drawings of a few characters, and one more."""

import numpy as np

from tfmeta.demo.strokes import picture
from tfmeta.serving.exported import as_array

CHARACTERS = (3, 5)  # how many there may be
MOST_EXAMPLES = 5  # of each character
MOST_POINTS = 5000  # of a drawing
_STROKE = {"shape": [None, 2], "dtype": "float32"}


def read_question(content):
    """Pictures, labels and the picture that is asked about.

    Args:
        content: `{"examples": [[drawing, ...], ...], "drawing": drawing}`, a list of drawings for
            each character. A drawing is a list of strokes, a stroke a list of points `[x, y]` in
            0..1.

    Returns:
        `(pictures, labels, asked)`: uint8 `[rows, 28, 28, 1]`, `[rows]` and `[1, 28, 28, 1]`.

    Raises:
        ValueError: it is anything else.
    """
    if not isinstance(content, dict) or set(content) != {"examples", "drawing"}:
        raise ValueError('Expected {"examples": [...], "drawing": [...]}. Received: others.')
    characters = content["examples"]
    fewest, most = CHARACTERS
    if not isinstance(characters, list) or not fewest <= len(characters) <= most:
        raise ValueError(
            f"Expected examples of {fewest} to {most} characters, a list each. "
            f"Received: {_count(characters)}."
        )
    for i, drawings in enumerate(characters):
        if not isinstance(drawings, list) or not 1 <= len(drawings) <= MOST_EXAMPLES:
            raise ValueError(
                f"Expected 1 to {MOST_EXAMPLES} drawings of character {i + 1}. "
                f"Received: {_count(drawings)}."
            )
    pictures = [picture(_strokes(drawing)) for drawings in characters for drawing in drawings]
    labels = np.repeat(np.arange(len(characters)), [len(drawings) for drawings in characters])
    return np.stack(pictures), labels.tolist(), picture(_strokes(content["drawing"]))[None]


def _strokes(drawing):
    """The strokes of a drawing, arrays `[points, 2]`; a ValueError unless it is one."""
    if not isinstance(drawing, list) or not drawing:
        raise ValueError(f"Expected a drawing of at least one stroke. Received: {_count(drawing)}.")
    strokes = [as_array("a stroke", stroke, _STROKE) for stroke in drawing]
    points = sum(len(stroke) for stroke in strokes)
    if points > MOST_POINTS:
        raise ValueError(f"Expected at most {MOST_POINTS} points in a drawing. Received: {points}.")
    for stroke in strokes:
        if not len(stroke):
            raise ValueError("Expected strokes of at least one point. Received: one without.")
        if stroke.min() < 0 or stroke.max() > 1:
            raise ValueError("Expected points in 0..1, parts of the pad. Received: others.")
    return strokes


def _count(value):
    return f"{len(value)} of them" if isinstance(value, list) else type(value).__name__
