"""Decoded pictures in a file that all processes of a machine share, so that each picture is decoded once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from filelock import FileLock

from tfnorm.datasets.images import StreamedImages, digest_of, parts

#: Bytes of all files of a folder together, unless said otherwise.
MOST_BYTES = 20 * 2**30
_PIXELS, _RECORD = "pixels.uint8", "record.json"


def through_cache(images: StreamedImages, folder: Path, key: str, most_bytes: int = MOST_BYTES) -> StreamedImages:
    """Return the same images, read from a file of decoded ones, which is written first if it is not there.

    One process writes it while others wait. Each image that is read is checked against its hash; if the file was
    damaged, the picture is decoded again. The file that was not used for the longest time is deleted where there would
    be too many bytes.

    Args:
        images: The pictures.
        folder: The folder of the files; it is made.
        key: What decides the pixels, such as names, sizes and times of the files; the same key stands for the same
            images.
        most_bytes: Bytes of all files together. Images that take more, or more than the disk has, are not kept.
    """
    place = folder / hashlib.sha256(key.encode()).hexdigest()[:32]
    size = math.prod(images.shape)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{place}.lock"):
        hashes = _hashes(place, images.shape)
        if hashes is None:
            if size > most_bytes:
                return images
            _make_room(folder, size, most_bytes)
            if size > shutil.disk_usage(folder).free:
                return images
            hashes = _write(place, images)
        os.utime(place)
    shape = (images.shape[1], images.shape[2], images.shape[3])
    pixels = np.memmap(place / _PIXELS, np.uint8, "r", shape=images.shape)

    def read(row: int) -> np.ndarray:
        image = np.array(pixels[row])
        return image if digest_of(image) == hashes[row] else images[row]

    return StreamedImages(read, np.arange(len(images)), shape)


def _hashes(place: Path, shape: Sequence[int]) -> list[bytes] | None:
    """Return the hash of each image of a file that is whole, or None."""
    try:
        record = json.loads((place / _RECORD).read_text(encoding="utf-8"))
        if record["shape"] == list(shape) and (place / _PIXELS).stat().st_size == math.prod(shape):
            hashes = bytes.fromhex(record["hashes"])
            return [hashes[start : start + 16] for start in range(0, len(hashes), 16)]
    except (OSError, ValueError, LookupError, TypeError):
        pass
    return None


def _write(place: Path, images: StreamedImages) -> list[bytes]:
    """Decode all images into a file, and return the hash of each."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    hashes: list[bytes] = []
    try:
        with open(place / _PIXELS, "wb") as file:
            for batch in parts(images):
                file.write(batch.data)
                hashes += map(digest_of, batch)
        # The record comes last: without it the file counts for nothing.
        record = {"shape": images.shape, "hashes": b"".join(hashes).hex()}
        (place / _RECORD).write_text(json.dumps(record), encoding="utf-8")
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    return hashes


def _make_room(folder: Path, size: int, most_bytes: int) -> None:
    """Delete what was not used for the longest time, until so many bytes more are few enough."""
    found = {}
    for record in folder.glob(f"*/{_RECORD}"):
        with contextlib.suppress(OSError):
            found[record.parent] = (record.parent.stat().st_mtime, (record.parent / _PIXELS).stat().st_size)
    total = sum(each for _, each in found.values())
    for place in sorted(found, key=lambda place: found[place]):
        if total + size <= most_bytes:
            break
        total -= found[place][1]
        shutil.rmtree(place, ignore_errors=True)
