"""Image files to arrays, with pillow."""

import contextlib
import io
import threading

import numpy as np

# Pixels of one picture, once decoded: 150 MB in colour.
MOST_PIXELS = 50_000_000
_FEW_PIXELS = 4_000_000  # pictures of more are decoded one at a time
_one_at_a_time = threading.Lock()


def image_module():
    """`PIL.Image`, or an ImportError that names the extra to install."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "tfmeta.datasets.from_folder needs pillow: pip install tfmeta[images]"
        ) from error
    return Image


def checked_size(image_size):
    """`image_size` as (height, width), or None.

    Raises:
        ValueError: neither None, one positive integer nor two.
    """
    if image_size is None:
        return None
    size = (image_size, image_size) if np.ndim(image_size) == 0 else tuple(image_size)
    if len(size) != 2 or not all(isinstance(n, (int, np.integer)) and n > 0 for n in size):
        raise ValueError(
            "Expected image_size to be None, a positive integer or (height, width). "
            f"Received: {image_size!r}."
        )
    return int(size[0]), int(size[1])


def checked_channels(channels):
    """`channels` as given, once it is known to be None, 1 or 3."""
    if channels not in (None, 1, 3):
        raise ValueError(
            "Expected channels to be 1 (grey), 3 (RGB) or None (as the images have them). "
            f"Received: {channels!r}."
        )
    return channels


def decode(data, name, image_size=None, channels=None):
    """One image file as uint8 `[height, width, channels]`.

    Args:
        data: bytes of a file in any format that pillow reads.
        name: what an error calls the image.
        image_size: (height, width) to resize to, or None.
        channels: 1, 3, or None for 1 when the image is grey and 3 when it has colours.

    Raises:
        ValueError: the image cannot be decoded, or has too many pixels.
    """
    image_class = image_module()
    try:
        with image_class.open(io.BytesIO(data)) as image:
            if image_size is not None:
                # JPEG can be decoded at 1/2, 1/4 or 1/8; twice the size leaves the mean over areas
                # something to do, and a picture on its side is turned later.
                image.draft(None, (2 * max(image_size),) * 2)
            pixels = image.width * image.height
            if pixels > MOST_PIXELS:
                raise _TooLarge(pixels)
            with contextlib.nullcontext() if pixels <= _FEW_PIXELS else _one_at_a_time:
                return _finished(image, image_size, channels)
    except _TooLarge as error:
        raise ValueError(
            f"Expected pictures of at most {MOST_PIXELS / 1e6:.0f} million pixels. Received: {name}"
            f" of {error.args[0] / 1e6:.0f} million. Shrink it; a JPEG may be larger, where a small"
            " image_size is given."
        ) from None
    except Exception as error:  # pillow raises many kinds for a broken file
        raise ValueError(
            f"Expected an image that pillow can read. Received: {name} ({error}). "
            "Repair or remove this file."
        ) from error


class _TooLarge(Exception):
    pass


def _finished(image, image_size, channels):
    """An opened image as an array, in the size and channels wanted."""
    image_class = image_module()
    image = _plain(image, image_class)
    if channels is not None:
        image = image.convert("L" if channels == 1 else "RGB")
    if image_size is not None and image.size != image_size[::-1]:
        height, width = image_size
        shrinks = height <= image.height and width <= image.width
        resampling = image_class.Resampling.BOX if shrinks else image_class.Resampling.BILINEAR
        image = image.resize((width, height), resampling)
    array = np.asarray(image)
    return array[..., None] if array.ndim == 2 else array


def _plain(image, image_class):
    """Any image as grey ("L") or "RGB", turned upright, transparency on white paper."""
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("floats, of a range that nobody knows; save 8 or 16 bits a pixel")
    if image.mode == "I" and np.max(image) > 2**16 - 1:
        raise ValueError("32 bits a pixel; save 8 or 16 bits")
    if image.mode.startswith("I"):  # 16 bits a pixel; convert("L") would clip them at 255
        return image_class.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    grey = image.mode in ("1", "L", "LA", "La")
    if image.mode not in ("LA", "RGBA", "PA", "La", "RGBa") and "transparency" not in image.info:
        return image.convert("L" if grey else "RGB")
    image = image.convert("RGBA")
    paper = image_class.new("RGBA", image.size, "white")
    return image_class.alpha_composite(paper, image).convert("L" if grey else "RGB")
