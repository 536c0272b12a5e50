"""Decoded pictures in a file that all processes of a machine share, so that each picture is decoded once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from filelock import FileLock

from tfnorm.datasets.images import digest_of

#: Bytes of all files of a folder together.
MOST_BYTES = 20 * 2**30
_PIXELS, _RECORD = "pixels.uint8", "record.json"


class DecodedFile:
    """A file of images, which the system keeps in memory once for all processes; each is checked against its hash.

    Args:
        place: Its folder.
        shape: (images, height, width, channels).

    Raises:
        OSError, ValueError, LookupError: If it is not whole.
    """

    def __init__(self, place: Path, shape: tuple[int, ...]) -> None:
        record = json.loads((place / _RECORD).read_text(encoding="utf-8"))
        if record["shape"] != list(shape):
            raise ValueError(f"{place} has images of another shape.")
        hashes = bytes.fromhex(record["hashes"])
        self._hashes = [hashes[start : start + 16] for start in range(0, len(hashes), 16)]
        self._marked = frozenset(record["marked"])
        if (place / _PIXELS).stat().st_size != math.prod(shape):
            raise ValueError(f"{place} was cut off.")
        self._place, self._shape = place / _PIXELS, shape[1:]

    def __getitem__(self, index: int) -> tuple[np.ndarray, bool] | None:
        """Return a copy of an image and whether it was marked, or None if it is damaged."""
        size = math.prod(self._shape)
        try:
            image = np.fromfile(self._place, np.uint8, size, offset=index * size).reshape(self._shape)
        except (OSError, ValueError):  # another process has made room
            return None
        return (image, index in self._marked) if digest_of(image) == self._hashes[index] else None


class Writer:
    """Writes a `DecodedFile`, image after image. It counts only once it is kept."""

    def __init__(self, place: Path) -> None:
        self._place = place
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        self._file = open(place / _PIXELS, "wb")  # noqa: SIM115
        self._count = 0
        self._marked: list[int] = []

    def add(self, image: np.ndarray, marked: bool) -> None:
        """Write an image."""
        if marked:
            self._marked.append(self._count)
        self._count += 1
        self._file.write(np.ascontiguousarray(image).data)

    def keep(self, shape: tuple[int, ...], hashes: Sequence[bytes]) -> DecodedFile:
        """Finish the file, given the `digest_of` each image, and return it."""
        self._file.close()
        # The record comes last: without it the file counts for nothing.
        record = {"shape": shape, "hashes": b"".join(hashes).hex(), "marked": self._marked}
        (self._place / _RECORD).write_text(json.dumps(record), encoding="utf-8")
        return DecodedFile(self._place, shape)

    def drop(self) -> None:
        """Delete what was written."""
        self._file.close()
        shutil.rmtree(self._place, ignore_errors=True)


@contextmanager
def decoded_file(folder: Path, key: str, shape: tuple[int, ...]) -> Iterator[DecodedFile | Writer | None]:
    """Yield the file of some images if it is there, or else the one to write, while other processes wait.

    The files that were not used for the longest time are deleted where there would be too many bytes.

    Args:
        folder: The folder of all such files; it is made.
        key: What decides the pixels, such as names, sizes and times of the pictures.
        shape: (images, height, width, channels).

    Yields:
        None if there is no room for so many bytes.
    """
    place = folder / hashlib.sha256(f"{key} {shape}".encode("utf-8", "surrogateescape")).hexdigest()[:32]
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{place}.lock"):
        found = None
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
            found = DecodedFile(place, shape)
            os.utime(place)
        if found is not None:
            yield found
            return
        size = math.prod(shape)
        _make_room(folder, size)
        if size > min(MOST_BYTES, shutil.disk_usage(folder).free):
            yield None
            return
        writer = Writer(place)
        try:
            yield writer
        finally:
            if not (place / _RECORD).exists():
                writer.drop()


def _make_room(folder: Path, size: int) -> None:
    """Delete what was not used for the longest time, until so many bytes more are few enough."""
    found = {}
    for record in folder.glob(f"*/{_RECORD}"):
        with contextlib.suppress(OSError):
            found[record.parent] = (record.parent.stat().st_mtime, (record.parent / _PIXELS).stat().st_size)
    total = sum(each for _, each in found.values())
    for place in sorted(found, key=lambda place: found[place]):
        if total + size <= MOST_BYTES:
            break
        total -= found[place][1]
        shutil.rmtree(place, ignore_errors=True)
