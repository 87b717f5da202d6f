"""Image files to arrays, with pillow."""

import concurrent.futures
import io

import numpy as np


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


def decode_all(read, names, image_size=None, channels=None):
    """Decodes many images in a thread pool.

    Args:
        read: function from a name to the bytes of that file.
        names: list of str.
        image_size: (height, width) or None.
        channels: 1, 3 or None.

    Returns:
        list of uint8 arrays `[height, width, channels]`, in the order of `names`.
    """
    image_module()

    def work(name):
        return decode(read(name), name, image_size, channels)

    progress = None
    if len(names) > 2000:
        import keras

        progress = keras.utils.Progbar(len(names), unit_name="image")
    images = []
    # Not `with`: after a broken image, the ones still waiting are not worth decoding.
    pool = concurrent.futures.ThreadPoolExecutor()
    try:
        for image in pool.map(work, names):
            images.append(image)
            if progress and (len(images) % 500 == 0 or len(images) == len(names)):
                progress.update(len(images))
    finally:
        pool.shutdown(cancel_futures=True)
    return images


def decode(data, name, image_size=None, channels=None):
    """One image file as uint8 `[height, width, channels]`.

    Args:
        data: bytes of a file in any format that pillow reads.
        name: what an error calls the image.
        image_size: (height, width) to resize to, or None.
        channels: 1, 3, or None for 1 when the image is grey and 3 when it has colours.

    Raises:
        ValueError: the image cannot be decoded.
    """
    image_class = image_module()
    try:
        with image_class.open(io.BytesIO(data)) as image:
            image = _plain(image, image_class)
    except Exception as error:  # pillow raises many kinds for a broken file
        raise ValueError(
            f"Expected an image that pillow can read. Received: {name} ({error}). "
            "Repair or remove this file."
        ) from error
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
