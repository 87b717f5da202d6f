"""Characters that nobody writes with, drawn as a hand does: never twice the same."""

import itertools

import numpy as np

# Corners of the lines, in parts of the pad; x to the right, y downwards.
CORNERS = {
    "house": [[(0.2, 0.9), (0.2, 0.4), (0.5, 0.1), (0.8, 0.4), (0.8, 0.9), (0.2, 0.9)]],
    "fork": [[(0.5, 0.9), (0.5, 0.1)], [(0.2, 0.1), (0.2, 0.5), (0.8, 0.5), (0.8, 0.1)]],
    "bolt": [[(0.65, 0.1), (0.3, 0.5), (0.7, 0.5), (0.35, 0.9)]],
    "gate": [[(0.1, 0.3), (0.9, 0.3)], [(0.3, 0.3), (0.3, 0.9)], [(0.7, 0.3), (0.7, 0.9)]],
    "ring": [
        [(0.5 + 0.3 * np.cos(a), 0.5 + 0.3 * np.sin(a)) for a in np.linspace(0, 2 * np.pi, 25)],
        [(0.5, 0.5)],
    ],
}


def draw(name, seed):
    """Strokes of one drawing, lists of `[x, y]`: turned, stretched, moved, and shaky."""
    rng = np.random.default_rng([seed, sorted(CORNERS).index(name)])
    angle, (across, down) = rng.uniform(-0.15, 0.15), rng.uniform(0.45, 0.8, 2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shape, move = turn * [across, down], 0.5 + rng.uniform(-0.08, 0.08, 2)
    strokes = []
    for corners in CORNERS[name]:
        corners = np.array(corners) + rng.normal(0, 0.02, (len(corners), 2))
        points = (along(corners) - 0.5) @ shape.T + move
        points += rng.normal(0, 0.004, points.shape)
        strokes.append(np.clip(points, 0, 1).round(4).tolist())
    return strokes


def along(corners, step=0.03):
    """Points on the lines between corners, as a pointer reports them."""
    if len(corners) == 1:
        return corners
    parts = [
        np.linspace(a, b, max(2, int(np.hypot(*(b - a)) / step)), endpoint=False)
        for a, b in itertools.pairwise(corners)
    ]
    return np.concatenate([*parts, corners[-1:]])


def question(names, shots, asked, seed=0):
    """What the page sends: examples of characters, and a drawing of one of them."""
    examples = [[draw(name, seed + i) for i in range(shots)] for name in names]
    return {"examples": examples, "drawing": draw(asked, seed + 1000)}
