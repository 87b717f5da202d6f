"""The images of one episode, checked and as NumPy arrays, for drawing."""

import numpy as np

from tfmeta.types import Episode, Examples


def one_task(episode, outputs):
    """NumPy `support` and `query` of one task without padding, and the query's predictions."""
    if hasattr(episode, "element_spec") or len(episode) != 2:
        raise ValueError(
            "Expected one episode, or a meta-batch of episodes. Received: "
            f"{type(episode).__name__}. Of a data set pass next(iter(episodes))."
        )
    episode = Episode(*map(_without_column, episode))
    y, batched = np.asarray(episode.query.y), np.ndim(episode.query.y) == 2
    if outputs is not None:
        outputs = np.asarray(outputs)
        outputs = outputs[0] if batched and outputs.ndim == 3 else outputs
        rows = y.shape[-1] if y.ndim else 0
        if outputs.ndim != 2 or len(outputs) != rows:
            raise ValueError(
                f"Expected outputs of the query set, of shape ({rows}, classes). Received: shape "
                f"{outputs.shape}; pass what learner.predict_query returns."
            )
    support, query = (_real_images(part, batched) for part in episode)
    if outputs is None:
        return support, query, None
    mask = episode.query.mask
    if mask is not None:
        outputs = outputs[np.asarray(mask)[0 if batched else ...] > 0]
    return support, query, outputs.argmax(axis=-1)


def holds_pictures(episode):
    """True if the examples of an episode are pictures with class labels, which can be drawn."""
    try:
        one_task(episode, None)
    except ValueError:
        return False
    return True


def as_picture(episode, outputs):
    """One episode as one picture, made without matplotlib: `[height, width, 3]`, uint8.

    A row a class: its support examples on the left, and its query examples on the right, framed
    blue where the prediction is right and orange where it is wrong.

    Args:
        episode: an `Episode` that `holds_pictures`; of a meta-batch the first task is drawn.
        outputs: `[rows, classes]` of the query set; of a meta-batch `[B, rows, classes]`.
    """
    support, query, predicted = one_task(episode, outputs)
    low = min(0.0, support.x.min(), query.x.min())
    high = max(support.x.max(), query.x.max(), low + 1e-6)
    colors = np.where((predicted == query.y)[:, None], _BLUE, _ORANGE)
    parts = (support, np.broadcast_to(_WHITE, (len(support.y), 3))), (query, colors)
    ways = 1 + max(support.y.max(), query.y.max())
    halves = [_tiles(part, frames, ways, low, high) for part, frames in parts]
    gap = np.full((halves[0].shape[0], halves[0].shape[0] // ways // 2, 3), 255, np.uint8)
    return np.concatenate([halves[0], gap, halves[1]], axis=1)


_BLUE, _ORANGE, _WHITE = (np.array(c, np.uint8) for c in ((0, 114, 178), (213, 94, 0), (255,) * 3))
_FRAME, _MOST = 3, 10  # width of a frame in pixels; examples of a class that are drawn


def _tiles(part, colors, ways, low, high):
    """Framed pictures, a row a class, `[ways * height, columns * width, 3]`."""
    x = part.x if part.x.ndim == 4 else part.x[..., None].repeat(3, axis=-1)
    x = (255 * (x - low) / (high - low)).astype(np.uint8)
    height, width = x.shape[1] + 2 * _FRAME, x.shape[2] + 2 * _FRAME
    columns = min(_MOST, np.bincount(part.y).max())
    canvas = np.full((ways, columns, height, width, 3), 255, np.uint8)
    for label in range(ways):
        for column, row in enumerate(np.flatnonzero(part.y == label)[:columns]):
            canvas[label, column] = colors[row]
            canvas[label, column, _FRAME:-_FRAME, _FRAME:-_FRAME] = x[row]
    return canvas.transpose(0, 2, 1, 3, 4).reshape(ways * height, columns * width, 3)


def _without_column(part):
    """Labels `[..., rows, 1]` of examples as `[..., rows]`."""
    y = np.asarray(part.y)
    # A meta-batch of tasks of one row each has such labels, too, and rows of pictures as many.
    column = y.ndim > 1 and y.shape[-1] == 1 and np.shape(part.x)[: y.ndim] != y.shape
    return part._replace(y=y[..., 0]) if column else part


def _real_images(part, batched):
    """The rows of one task that are no padding, as `Examples` without a mask."""
    part = Examples(*(None if a is None else np.asarray(a)[0 if batched else ...] for a in part))
    x, y = part.x, part.y
    channels = x.shape[3] if x.ndim == 4 else 1
    if x.ndim not in (3, 4) or channels not in (1, 3) or y.ndim != 1 or y.dtype.kind not in "iu":
        raise ValueError(
            "Expected an episode of images, x of shape (rows, height, width, 1 or 3) and integer "
            f"labels y of shape (rows,). Received: x of shape {x.shape}, y of shape {y.shape} and "
            f"dtype {y.dtype}."
        )
    x = x[..., 0] if x.ndim == 4 and channels == 1 else x
    keep = np.ones(len(y), bool) if part.mask is None else part.mask > 0
    if not keep.any():
        raise ValueError("Expected support and query examples to draw. Received: padding alone.")
    return Examples(x[keep].astype(np.float32), y[keep].astype(np.int64))
