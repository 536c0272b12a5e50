"""Read a folder of pictures, into memory or when they are asked for."""

from __future__ import annotations

import math
import pathlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

import numpy as np

from tfnorm.datasets.checks import make_dataset, remarks
from tfnorm.datasets.dataset import Dataset
from tfnorm.datasets.decoded import DecodedFile, Writer, decoded_file
from tfnorm.datasets.folder.groups import with_groups
from tfnorm.datasets.folder.listing import LINKS_OUT, Listing, common_groups, list_folder
from tfnorm.datasets.folder.pictures import (
    Decoded,
    Header,
    Unreadable,
    decode,
    is_picture,
    quietly,
    read_header,
)
from tfnorm.datasets.images import Images, Scan, StreamedImages, in_threads
from tfnorm.datasets.memory import memory_for_images
from tfnorm.datasets.reading import Reading, readable, tally
from tfnorm.errors import DataError
from tfnorm.text import counted


def load_folder(
    path: pathlib.Path,
    name: str,
    image_size: tuple[int, int] | None = None,
    *,
    fit: str = "resize",
    test_share: float | None = None,
    groups: pathlib.Path | None = None,
    follow_links: bool = False,
    skip_damaged: bool = False,
    memory: int | None = None,
    cache: pathlib.Path | None = None,
    training_only: bool = False,
) -> Dataset:
    """Return the data set ``name`` in a folder with ``train/CLASS/*`` and ``test/CLASS/*``, or with ``CLASS/*`` alone.

    `list_folder` says which files are read, and `Listing.divided` which of them to test on. Every format that Pillow
    reads by itself is read. If a picture has several frames, the first is read. Transparent pictures are laid on white.
    A photograph that a camera marked as lying on its side is turned upright. Of more than 8 bits a channel, the upper 8
    are read. The images have one channel if every picture is stored as grey values or grey colours of a palette, and
    three otherwise. Without ``image_size``, all pictures must have one size.

    Each picture is decoded once, in several threads. If all of them fit into ``memory`` bytes, a quarter of what is
    free by default, they are kept in two arrays. Otherwise they are decoded again whenever they are asked for, or read
    from a file of decoded pictures in the folder ``cache``, if there is one.

    With ``training_only``, no test picture is decoded until it is asked for, unless damaged ones are to be skipped:
    which these are has to be known before the others are divided.
    """
    parts = ("train",) if training_only and not skip_damaged else ("train", "test")
    listing = list_folder(path, test_share=test_share, follow_links=follow_links)
    with quietly():
        headers, problems = read_headers(listing)
        _check_depth(listing, problems)
        if problems and not skip_damaged:  # then all that cannot be read are named, those behind sound headers too
            raise _unreadable(listing, problems | _verify(listing.without(problems)))
        while True:
            sound = listing.without(problems)
            _check_skippable(listing, problems)
            divided = with_groups(sound, groups) if groups else sound
            divided = divided.divided(test_share)
            size = image_size or common_size(divided, headers)
            channels = 1 if all(headers[name].grey for name in divided.names) else 3
            seen = _read_all(
                divided, size, channels, fit, headers, memory=memory_for_images(memory), cache=cache, parts=parts
            )
            if not seen.broken:
                break
            problems |= seen.broken
            if not skip_damaged:
                raise _unreadable(listing, problems)
    rows = {part: divided.part(part) for part in ("train", "test")}
    train, test = ((seen.images[part], divided.labels[rows[part]]) for part in rows)
    dataset = replace(make_dataset(name, str(path), train, test, divided.classes), known_scan=seen.scan)
    shown = [headers[name] for name in divided.names]
    skipped = [name for name in listing.names if name in problems]
    found, twins = remarks(dataset, lambda part, index: readable(divided.file(rows[part][index])))
    if "test" not in parts:
        dataset = replace(dataset, known_scan=None)
    reading = Reading(
        path=readable(path.resolve()),
        formats=dict(Counter(header.format for header in shown)),
        left_out=dict(listing.left_out),
        skipped=tuple(map(readable, skipped)),
        notes=(
            *_notes(listing, skipped, seen.laid, sum(header.several for header in shown)),
            *_note_on_depth(sum(header.deep for header in shown), seen.highest_of_deep),
            *common_groups(divided),
            *found,
        ),
        division=divided.division,
        on_both_sides=tuple(twins),
    )
    grouped = None if divided.groups is None else tuple(divided.groups[row] for row in rows["train"])
    return replace(dataset, reading=reading, groups=grouped)


def load_pictures(path: pathlib.Path, size: tuple[int, int], channels: int, *, most: int) -> np.ndarray:
    """Return pictures of a folder and of the folders in it: uint8 (images, height, width, channels), without labels.

    If there are more than ``most``, they are chosen at even distances in the order of their names. A DataError says if
    there is none, or if one cannot be read.
    """
    files = sorted(entry for entry in path.rglob("*") if is_picture(entry))
    if not files:
        raise DataError(f"{path} holds no picture, and neither do the folders in it. Give a folder of pictures.")
    chosen = [files[index] for index in np.linspace(0, len(files) - 1, min(most, len(files))).astype(int)]
    pictures = np.empty((len(chosen), *size, channels), np.uint8)
    with quietly():
        for index, file in enumerate(chosen):
            try:
                pictures[index] = decode(file, size, channels).pixels
            except Unreadable as problem:
                raise DataError(f"{file} cannot be read: {problem}. Replace it, or remove it.") from None
    return pictures


def shape_of_folder(path: pathlib.Path) -> tuple[int, int, int, int] | None:
    """Return (images, height, width, 3), as the first picture has them, or None if it cannot be read."""
    listing = list_folder(path, follow_links=True)
    try:
        with quietly():
            return (len(listing), *read_header(listing.file(0)).size, 3)
    except Unreadable:
        return None


def read_headers(listing: Listing) -> tuple[dict[str, Header], dict[str, Unreadable]]:
    """Return the header of each picture by its name, and why others have none that can be read."""

    def read(index: int) -> Header | Unreadable:
        try:
            return read_header(listing.file(index))
        except Unreadable as problem:
            return problem

    headers: dict[str, Header] = {}
    problems: dict[str, Unreadable] = {}
    for name, found in zip(listing.names, in_threads(read, range(len(listing))), strict=True):
        if isinstance(found, Unreadable):
            problems[name] = found
        else:
            headers[name] = found
    return headers, problems


def common_size(listing: Listing, headers: Mapping[str, Header]) -> tuple[int, int]:
    """Return the common (height, width) of all pictures."""
    size = headers[listing.names[0]].size
    for index, name in enumerate(listing.names):
        height, width = headers[name].size
        if (height, width) != size:
            raise DataError(
                f"All pictures must have one size. Received: {listing.file(0)} is {size[0]}x{size[1]} and "
                f"{listing.file(index)} is {height}x{width} (height x width). Give a size to bring them to, for "
                "example image_size=32 (--image-size 32)."
            )
    return size


def _verify(listing: Listing) -> dict[str, Unreadable]:
    """Return why pictures cannot be decoded."""

    def read(index: int) -> Unreadable | None:
        try:
            decode(listing.file(index), (1, 1), 1)
        except Unreadable as problem:
            return problem
        return None

    found = zip(listing.names, in_threads(read, range(len(listing))), strict=True)
    return {name: problem for name, problem in found if problem is not None}


@dataclass
class _Seen:
    """What the pass over all pictures found: the images of each part, and why some cannot be decoded."""

    images: dict[str, Images] = field(default_factory=dict)
    scan: Scan = field(default_factory=Scan)
    laid: int = 0
    highest_of_deep: int = 0
    broken: dict[str, Unreadable] = field(default_factory=dict)


def _read_all(
    listing: Listing, size: tuple[int, int], channels: int, fit: str, headers: Mapping[str, Header], *,
    memory: int, cache: pathlib.Path | None, parts: Sequence[str],
) -> _Seen:  # fmt: skip
    """Decode each picture of some parts once, and keep the images, or where they are, and where all others are."""
    rows = {part: listing.part(part) for part in parts}
    order = np.concatenate(list(rows.values()))
    shape = (size[0], size[1], channels)
    whole = (len(order), *shape)
    key = f"{listing.fingerprint} {[listing.file(row).stat().st_mtime_ns for row in order]} {fit}"
    seen = _Seen()
    with nullcontext() if cache is None else decoded_file(cache, key, whole) as file:
        read = _reader(listing, order, size, channels, fit, file if isinstance(file, DecodedFile) else None)
        start = 0
        for part, chosen in rows.items():
            places = np.arange(start, start + len(chosen))
            start += len(chosen)
            kept = np.empty((len(chosen), *shape), np.uint8) if math.prod(whole) <= memory else None

            def through(places: np.ndarray = places, kept: np.ndarray | None = kept) -> Iterator[np.ndarray]:
                """Yield the images of a part, each as a batch."""
                for index, found in enumerate(in_threads(read, places.tolist())):
                    name = listing.names[order[places[index]]]
                    if isinstance(found, Unreadable):
                        seen.broken[name] = found
                        continue
                    seen.laid += found.laid
                    if headers[name].deep:
                        seen.highest_of_deep = max(seen.highest_of_deep, int(found.pixels.max()))
                    if kept is not None:
                        kept[index] = found.pixels
                    if isinstance(file, Writer):
                        file.add(found.pixels, found.laid)
                    yield found.pixels[None]

            seen.scan.add(part, (len(chosen), *shape), through(), listing.labels[chosen])
            seen.images[part] = places if kept is None else kept
        if isinstance(file, Writer) and not seen.broken:
            hashes = [digest for part in rows for digest in seen.scan.seen[part].digests]
            read = _reader(listing, order, size, channels, fit, file.keep(whole, hashes))
    pixels = _pixels(listing, order, read)
    for part, images in seen.images.items():
        if images.ndim == 1:
            seen.images[part] = StreamedImages(pixels, images, shape)
    if "test" not in rows:
        order = listing.part("test")
        read = _reader(listing, order, size, channels, fit, None)
        seen.images["test"] = StreamedImages(_pixels(listing, order, read), np.arange(len(order)), shape)
    return seen


def _reader(
    listing: Listing, order: np.ndarray, size: tuple[int, int], channels: int, fit: str, file: DecodedFile | None
) -> Callable[[int], Decoded | Unreadable]:
    """Return a function that reads the picture of a place, from the file of decoded ones if there is one."""

    def read(place: int) -> Decoded | Unreadable:
        if file is not None and (kept := file[place]) is not None:
            return Decoded(*kept)
        try:
            return decode(listing.file(order[place]), size, channels, fit)
        except Unreadable as problem:
            return problem

    return read


def _pixels(
    listing: Listing, order: np.ndarray, read: Callable[[int], Decoded | Unreadable]
) -> Callable[[int], np.ndarray]:
    """Return a function that returns the image of a place, or raises a DataError if it cannot be read any more."""

    def pixels(place: int) -> np.ndarray:
        found = read(place)
        if isinstance(found, Unreadable):
            raise DataError(
                f"{listing.file(order[place])} could be read at first, and cannot be read any more: {found}. Put it "
                "back, and repeat the command: it goes on after the last whole epoch."
            )
        return found.pixels

    return pixels


def _check_depth(listing: Listing, problems: Mapping[str, Unreadable]) -> None:
    """Raise a DataError that counts the pictures whose values have no known scale."""
    deep = [name for name, problem in problems.items() if problem.deep]
    if deep:
        others = f" The same holds for {counted([len(deep) - 1], 'other picture')}." if deep[1:] else ""
        raise DataError(
            f"{listing.root / deep[0]} must have 8 or 16 bits a channel. Received: {problems[deep[0]]}.{others} "
            f"Convert {'them' if others else 'it'}, choosing how {'their' if others else 'its'} values map to 0..255."
        )


def _check_skippable(listing: Listing, problems: Mapping[str, Unreadable]) -> None:
    """Raise a DataError if pictures must not be skipped, or if nothing is left of a class."""
    if any(not problem.skippable for problem in problems.values()):
        raise _unreadable(listing, {name: problem for name, problem in problems.items() if not problem.skippable})
    left = {listing.class_folder(name) for name in listing.names if name not in problems}
    for name in problems:
        if (folder := listing.class_folder(name)) not in left:
            raise DataError(
                f"{folder} holds no picture that can be read. Replace the damaged ones, or remove the class."
            )


def _unreadable(listing: Listing, problems: Mapping[str, Unreadable]) -> DataError:
    """Return the DataError that names all pictures that cannot be read."""
    refused = [name for name in listing.names if name in problems]
    leave = ""
    if any(problems[name].skippable for name in refused):
        leave = " Or leave out what cannot be read with skip_damaged=True (--skip-damaged)."
    if len(refused) == 1:
        file = listing.root / refused[0]
        return DataError(f"{file} cannot be read as a picture: {problems[refused[0]]}. Replace or remove it.{leave}")
    of_all = f"{len(refused):,} of {len(listing):,} pictures in {listing.root}"
    lines = [f"{of_all} cannot be read. Replace or remove them.{leave}"]
    lines += [f"{listing.root / name}: {problems[name]}" for name in refused]
    return DataError("\n".join(lines))


def _notes(listing: Listing, skipped: Sequence[str], laid: int, several: int) -> list[str]:
    """Return sentences about how pictures were read."""
    notes = []
    if set(listing.left_out) - {"hidden"}:
        links = " For links, give --follow-links." if LINKS_OUT in listing.left_out else ""
        notes.append(
            f"Left out: {tally(listing.left_out)}. If you want some of these to be read, put them into the folder of a "
            f"class, in a format that Pillow reads.{links}"
        )
    if skipped:
        names = ", ".join(map(readable, skipped[:3]))
        notes.append(
            f"Skipped, because they cannot be read: {counted([len(skipped)], 'picture')} ({names}"
            f"{' and more' if skipped[3:] else ''})."
        )
    if laid:
        notes.append(
            f"With transparent places, which became white: {counted([laid], 'picture')}. If white hides what "
            "they show, lay them on another colour yourself."
        )
    if several:
        notes.append(f"With several frames, of which the first was read: {counted([several], 'picture')}.")
    return notes


def _note_on_depth(deep: int, highest: int) -> list[str]:
    """Return a sentence about pictures of more than 8 bits a channel, and the highest value that was read of them."""
    if not deep:
        return []
    return [
        f"With more than 8 bits a channel, of which the upper 8 were read: {counted([deep], 'picture')}. Their "
        f"highest value became {highest} of 255. If they are too dark, stretch their values yourself."
    ]
