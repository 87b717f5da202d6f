"""Pictures that are decoded when they are asked for."""

import concurrent.futures
import itertools
import os
import warnings

import numpy as np

from tfmeta.datasets.decode import decode, image_module
from tfmeta.datasets.image_sources import class_of

_BATCH_BYTES = 2**26  # of decoded pictures, between two looks at how far a cache is
_SHOWN = 5


class Pictures:
    """The pictures of a folder or zip file by number: `pictures[i]` is uint8 `[height, width, C]`.

    Args:
        files: `InFolder` or `InZip`; its names are those of examples.
        image_size: (height, width); None for that of the first picture, which all must have.
        channels: 1 or 3; None for that of the first picture, which all must have.
        on_error: "raise", or "skip": a picture that cannot be read is left out where all are read,
            and where an episode asks for it, another one of its class takes its place.

    Attributes:
        names: path of each picture.
        skipped: dict of name -> what was wrong with it.
    """

    def __init__(self, files, image_size, channels, on_error):
        image_module()
        self.files, self.names = files, files.names
        self.image_size, self.channels, self.on_error = image_size, channels, on_error
        self.skipped = {}
        self._first = None

    def __len__(self):
        return len(self.names)

    def __getitem__(self, number):
        return self.__getitems__([number])[0]

    def __getitems__(self, numbers):
        """Pictures of these numbers; what is skipped is replaced by one of its class."""
        numbers = [int(number) for number in numbers]
        taken, result = set(numbers), []
        for number, (image, error) in zip(numbers, self._decoded(numbers), strict=True):
            result.append(self._instead_of(number, taken) if error else image)
        return result

    def batches(self, start):
        """All pictures from a number on: `(done, images, names)`, those that are skipped left out.

        `done` is the number of the next one; images are uint8 `[rows, height, width, C]`.
        """
        self._first_picture()
        size = max(16, min(1024, _BATCH_BYTES // self._first.nbytes))
        for begin in range(start, len(self), size):
            numbers = range(begin, min(begin + size, len(self)))
            decoded = list(zip(numbers, self._decoded(numbers), strict=True))
            good = [(image, self.names[i]) for i, (image, error) in decoded if error is None]
            images, names = zip(*good, strict=True) if good else ((), ())
            empty = np.empty((0, *self._first.shape), np.uint8)
            yield numbers[-1] + 1, np.stack(images) if images else empty, names

    def said(self):
        """What was skipped, in words; "" if nothing was."""
        names = list(self.skipped)
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        shown = "; ".join(f"{name}: {self.skipped[name]}" for name in names[:_SHOWN])
        return f"Skipped {len(names)} of {len(self)} pictures: {shown}{more}" if names else ""

    def _decoded(self, numbers):
        """Pairs `(image, None)` or `(None, error)`, decoded in threads that end with the call."""
        self._first_picture()
        workers = min(len(numbers), (os.cpu_count() or 1) + 2)
        pool = concurrent.futures.ThreadPoolExecutor(max(workers, 1))
        # Not `with`: after a broken image, the ones still waiting are not worth decoding.
        try:
            yield from pool.map(self._tried, numbers)
        finally:
            pool.shutdown(cancel_futures=True)

    def _tried(self, number):
        name = self.names[number]
        try:
            image = decode(self._bytes(name), name, self.image_size, self.channels)
            self._check_like_first(image, name)
        except ValueError as error:
            if self.on_error == "raise":
                raise
            self._skip(name, error)
            return None, error
        return image, None

    def _bytes(self, name):
        try:
            return self.files.read(name)
        except OSError as error:
            raise ValueError(
                f"Expected an image that can be read. Received: {name} ({error}). Repair or remove "
                "this file."
            ) from error

    def _skip(self, name, error):
        if name not in self.skipped:
            self.skipped[name] = str(error).removeprefix("Expected ")

    def _instead_of(self, number, taken):
        """Another picture of the same class, none of those taken."""
        name = self.names[number]

        def of_class(other):
            return class_of(self.names[other]) == class_of(name)

        # Names are sorted by class.
        after = itertools.takewhile(of_class, range(number + 1, len(self)))
        before = itertools.takewhile(of_class, range(number - 1, -1, -1))
        for other in itertools.chain(after, before):
            if other not in taken and self.names[other] not in self.skipped:
                image, error = self._tried(other)
                if error is None:
                    taken.add(other)
                    warnings.warn(f"{self.said()}. Another of its class is taken.", stacklevel=2)
                    return image
        raise ValueError(
            f"Expected another picture of its class in the place of {name}, which cannot be read. "
            "Received: none that is not drawn already. Repair the pictures, or lower shots, "
            f"queries or meta_batch_size. {self.said()}"
        )

    def _first_picture(self):
        """Decodes the first picture that can be, which says what is not given of the shape."""
        if self._first is not None:
            return
        for name in self.names:
            try:
                self._first_name = name
                self._first = decode(self._bytes(name), name, self.image_size, self.channels)
                return
            except ValueError as error:
                if self.on_error == "raise":
                    raise
                self._skip(name, error)
        raise ValueError(f"Expected a picture that can be read. Received: none. {self.said()}")

    def _check_like_first(self, image, name):
        first = self._first
        for axes, what, argument in (
            (slice(2, 3), "channels", "channels=1 or channels=3"),
            (slice(0, 2), "one size", "image_size=(height, width)"),
        ):
            if image.shape[axes] != first.shape[axes]:
                raise ValueError(
                    f"Expected images of {what}. Received: {self._first_name} of shape "
                    f"{first.shape} and {name} of shape {image.shape}. Pass {argument}."
                )
