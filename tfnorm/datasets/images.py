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
        >>> stream.shape, stream[[4, 1]][:, 0, 0, 0].tolist(), stream[3].max()
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
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        _pool.process, _pool.threads = os.getpid(), ThreadPoolExecutor(cores, "tfnorm-pictures")
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


def look_at(images: Images, seen_by: Callable[[np.ndarray], object] | None = None) -> Seen:
    """Go through images once.

    Args:
        images: Of any number; a few are in memory at a time.
        seen_by: Called with each few images in their order, such as the ``update`` of a hash.
    """
    seen = Seen(np.zeros((images.shape[-1], 256), np.int64))
    for batch in parts(images):
        if seen_by is not None:
            seen_by(np.ascontiguousarray(batch))
        for channel, counts in enumerate(seen.counts):
            counts += np.bincount(batch[..., channel].ravel(), minlength=256)
        for image in batch:
            pixels = image.reshape(-1, image.shape[-1])
            if (pixels == pixels[0]).all():
                seen.constant.append(len(seen.digests))
            seen.digests.append(digest_of(image))
    return seen


def digest_of(image: np.ndarray) -> bytes:
    """Return 16 bytes that tell an image from another."""
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()
