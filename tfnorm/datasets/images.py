"""Images that stay where they are until they are asked for, and what one pass over images finds."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeAlias, TypeVar

import numpy as np

from tfnorm.datasets.memory import available_cores
from tfnorm.errors import DataError

# So many items wait for a thread at the same time.
_AT_ONCE = 64
Item = TypeVar("Item")
Result = TypeVar("Result")


class StreamedImages:
    """Images that are read whenever they are asked for, such as pictures in files; they are indexed like an array.

    Args:
        read: Returns the image of a row of the source: uint8 (height, width, channels). It is called in several
            threads.
        rows: Rows of the source, in the order of the images.
        shape: (height, width, channels) of each image.

    Example:
        >>> stream = StreamedImages(lambda row: np.full((2, 2, 1), row, "uint8"), np.arange(5), (2, 2, 1))
        >>> stream.shape, stream[[4, 1]][:, 0, 0, 0].tolist(), int(stream[3].max())
        ((5, 2, 2, 1), [4, 1], 3)
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, read: Callable[[int], np.ndarray], rows: np.ndarray, shape: tuple[int, int, int]) -> None:
        self._read, self._rows = read, np.asarray(rows)
        self.shape = (len(self._rows), *shape)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._rows)

    def __getitem__(self, key: Any) -> np.ndarray:
        """Return one image for a whole number, and a batch for a slice or for numbers."""
        rows = self._rows[key]
        if rows.ndim == 0:
            return self._read(int(rows))
        images = np.empty((len(rows), *self.shape[1:]), np.uint8)
        for index, image in enumerate(in_threads(self._read, rows.tolist())):
            images[index] = image
        return images

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        """Refuse to become an array: they may be more than the memory holds."""
        raise DataError(f"{len(self):,} images are read when they are needed. Ask for some of them, such as x[:100].")

    def select(self, rows: np.ndarray) -> StreamedImages:
        """Return some of the images, not read yet."""
        return StreamedImages(self._read, self._rows[rows], self.shape[1:])

    def map(self, function: Callable[[np.ndarray], np.ndarray], size: tuple[int, int]) -> StreamedImages:
        """Return what a function makes of a batch of images, of another (height, width), not computed yet."""
        return StreamedImages(lambda row: function(self._read(row)[None])[0], self._rows, (*size, self.shape[-1]))


#: Images (images, height, width, channels), uint8, in memory or not.
Images: TypeAlias = np.ndarray | StreamedImages


def select(images: Images, rows: np.ndarray) -> Images:
    """Return some images: a copy of those in memory, and those that are streamed without reading them."""
    return images.select(rows) if isinstance(images, StreamedImages) else images[rows]


def parts(images: Images, size: int = _AT_ONCE) -> Iterator[np.ndarray]:
    """Yield all images in their order, a few at a time."""
    for start in range(0, len(images), size):
        yield images[start : start + size]


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield what a function returns for each item, in their order; Pillow lets several threads decode at a time."""
    waiting = iter(items)
    while chunk := list(islice(waiting, _AT_ONCE)):
        yield from _threads().map(function, chunk)


@dataclass
class _Pool:
    process: int = 0
    threads: ThreadPoolExecutor | None = None


_pool = _Pool()


def _threads() -> ThreadPoolExecutor:
    """Return the threads of this process, one a core; those of a process that it was forked from don't run here."""
    if _pool.threads is None or _pool.process != os.getpid():
        _pool.process, _pool.threads = os.getpid(), ThreadPoolExecutor(available_cores(), "tfnorm-pictures")
    return _pool.threads


@dataclass
class Seen:
    """What one pass over images found.

    Attributes:
        counts: How often each value occurs in each channel: int64 (channels, 256).
        digests: A hash of each image, 16 bytes.
        constant: Numbers of the images of one colour.
    """

    counts: np.ndarray
    digests: list[bytes] = field(default_factory=list)
    constant: list[int] = field(default_factory=list)

    @property
    def highest(self) -> int:
        """The highest value."""
        return int(np.flatnonzero(self.counts.any(axis=0)).max(initial=0))

    def add(self, images: np.ndarray) -> None:
        """Take a few more images into account."""
        for channel, counts in enumerate(self.counts):
            counts += np.bincount(images[..., channel].ravel(), minlength=256)
        for image in images:
            pixels = image.reshape(-1, image.shape[-1])
            if (pixels == pixels[0]).all():
                self.constant.append(len(self.digests))
            self.digests.append(digest_of(image))


class Scan:
    """One pass over the images and labels of a data set, which need not be in memory at the same time.

    Give it all training images, then all test images, each part in the order of `add`.

    Attributes:
        seen: What was found of "train" and "test".
    """

    def __init__(self) -> None:
        self.seen: dict[str, Seen] = {}
        self._digest = hashlib.sha256()

    def add(self, part: str, shape: tuple[int, ...], batches: Iterable[np.ndarray], labels: np.ndarray) -> None:
        """Go through the uint8 images of "train" or "test", given a few at a time, and their labels."""
        seen = self.seen[part] = Seen(np.zeros((shape[-1], 256), np.int64))
        self._digest.update(f"x_{part} {np.dtype(np.uint8).str} {shape}\n".encode())
        for images in batches:
            seen.add(images)
            self._digest.update(np.ascontiguousarray(images).data)
        self._digest.update(f"y_{part} {labels.dtype.str} {labels.shape}\n".encode())
        self._digest.update(np.ascontiguousarray(labels).data)

    def add_unordered(self, part: str, seen: Seen, note: str) -> None:
        """Take over what was found of images that come in any order; of them the fingerprint has a note alone."""
        self.seen[part] = seen
        self.note(note.encode())

    def note(self, what: bytes) -> None:
        """Have the fingerprint depend on something more."""
        self._digest.update(what)

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of all arrays with their shapes and dtypes."""
        return self._digest.hexdigest()


def digest_of(image: np.ndarray) -> bytes:
    """Return 16 bytes that tell an image from another."""
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()
