"""Data sets of the packages `datasets` (hf:NAME_OR_PATH) and `tensorflow_datasets` (tfds:NAME_OR_PATH)."""

from __future__ import annotations

import importlib.util
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tfnorm.datasets.checks import make_dataset, remarks
from tfnorm.datasets.dataset import Dataset
from tfnorm.datasets.folder.pictures import Header, Unreadable, decode, quietly, read_header
from tfnorm.datasets.images import Images, Scan, StreamedImages, in_threads
from tfnorm.datasets.memory import memory_for_images
from tfnorm.datasets.reading import Reading, readable
from tfnorm.datasets.splits import split_off
from tfnorm.errors import DataError, first_line

#: The package of each prefix; both are optional extras of the same name.
LIBRARIES = {"hf": "datasets", "tfds": "tensorflow_datasets"}


@dataclass
class _Split:
    """One split: a function that returns the encoded picture of a row, and the labels."""

    read: Callable[[int], bytes]
    labels: np.ndarray


@dataclass
class _Found:
    """The splits of a data set by their names, the names of the classes, and what it is called."""

    title: str
    class_names: Sequence[str]
    splits: dict[str, _Split] = field(default_factory=dict)


def library_of(name: Any) -> str:
    """Return the prefix of a data set of another library, "" for others.

    Raises:
        DataError: If its package is not installed, or nothing follows the prefix.

    Example:
        >>> library_of("digits"), library_of("hf:mnist")
        ('', 'hf')
    """
    prefix, colon, rest = str(name).partition(":")
    if not colon or prefix not in LIBRARIES:
        return ""
    if not rest:
        raise DataError(f"{prefix}: needs the name or the path of a data set. Received: {name!r}.")
    if importlib.util.find_spec(LIBRARIES[prefix]) is None:
        raise DataError(
            f"{name!r} needs the package {LIBRARIES[prefix]}, which is not installed. Run: pip install "
            f"'tfnorm[{prefix}]'."
        )
    return prefix


def local_path(name: str, data_dir: Any = None) -> Path | None:
    """Return the file or folder that follows the prefix of a name, in the working directory or in ``data_dir``.

    Raises:
        DataError: If it is none, and plainly a path.
    """
    text = name.partition(":")[2]
    rest = Path(text).expanduser()
    places = [rest, *([] if data_dir is None else [Path(data_dir).expanduser() / rest])]
    found = next((place for place in places if place.exists()), None)
    if found is None and (text[0] in "./~" or rest.is_absolute() or rest.suffix in (".parquet", ".arrow")):
        raise DataError(f"There is no {rest}, which {name!r} names. Correct the path.")
    return found


def load_library(
    name: str,
    image_size: tuple[int, int] | None,
    *,
    data_dir: Any = None,
    fit: str = "resize",
    test_share: float | None = None,
    memory: int | None = None,
) -> Dataset:
    """Return a data set of another library, its pictures decoded as those of folders are.

    It is tested on its split "test", without one on "validation", and without both on a share of "train". If the
    decoded pictures need more than ``memory`` bytes, they are decoded whenever they are asked for.

    Raises:
        DataError: If it cannot be loaded, or if it is no set of pictures with one class each.
    """
    prefix, place = library_of(name), local_path(name, data_dir)
    try:
        found = (_of_hf if prefix == "hf" else _of_tfds)(name.partition(":")[2], place, data_dir)
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    except Exception as error:  # each library raises many of its own
        raise DataError(
            f"{name} could not be loaded by {LIBRARIES[prefix]} ({type(error).__name__}: {first_line(error)}). Correct "
            "the name, or give the path of a copy on disk."
        ) from None
    rows, division, notes = _divided(name, found, test_share)
    pictures = {part: (found.splits[split], chosen) for part, (split, chosen) in rows.items()}
    where = readable(place.resolve()) if place is not None else name
    with quietly():
        headers = [header for part in pictures.values() for header in _headers(name, *part)]
        size = image_size or _common_size(name, headers)
        channels = 1 if all(header.grey for header in headers) else 3
        images, scan = _read_all(pictures, (size[0], size[1], channels), fit, memory_for_images(memory))
    train, test = ((images[part], split.labels[chosen]) for part, (split, chosen) in pictures.items())
    dataset = replace(make_dataset(readable(found.title), name, train, test, found.class_names), known_scan=scan)
    said, twins = remarks(dataset, lambda part, index: f"{part} image {index}")
    reading = Reading(
        where, formats=dict(Counter(header.format for header in headers)), notes=(*notes, *said), division=division,
        on_both_sides=tuple(twins),
    )  # fmt: skip
    return replace(dataset, reading=reading)


def _of_hf(name: str, place: Path | None, data_dir: Any) -> _Found:
    import datasets  # start-up

    if place is None:
        loaded = datasets.load_dataset(name)
    elif any((place / file).is_file() for file in ("dataset_dict.json", "dataset_info.json")):
        loaded = datasets.load_from_disk(str(place))
    elif place.is_file():
        kind = {".parquet": "parquet", ".arrow": "arrow"}.get(place.suffix)
        if kind is None:
            raise DataError(f"{place} must be a .parquet or .arrow file, or a folder.")
        loaded = datasets.load_dataset(kind, data_files=str(place))
    else:
        loaded = datasets.load_dataset(str(place))
    splits = loaded if isinstance(loaded, Mapping) else {"train": loaded}
    features = next(iter(splits.values())).features
    image = _only(features, datasets.Image, "pictures")
    label = _only(features, datasets.ClassLabel, "classes")
    found = _Found(name if place is None else place.stem, features[label].names)
    for split, table in splits.items():
        encoded = table.cast_column(image, datasets.Image(decode=False))

        def read(row: int, encoded: Any = encoded) -> bytes:
            stored = encoded[row][image]
            return stored["bytes"] if stored["bytes"] is not None else Path(stored["path"]).read_bytes()

        found.splits[str(split)] = _Split(read, np.asarray(table[label], np.int64))
    return found


def _of_tfds(name: str, place: Path | None, data_dir: Any) -> _Found:
    import tensorflow_datasets as tfds  # start-up

    if place is not None:
        builder = tfds.builder_from_directory(str(place))
    else:
        builder = tfds.builder(name, data_dir=None if data_dir is None else str(data_dir))
        builder.download_and_prepare()
    features = builder.info.features
    image = _only(features, tfds.features.Image, "pictures")
    label = _only(features, tfds.features.ClassLabel, "classes")
    found = _Found(builder.name, features[label].names)
    for split in builder.info.splits:
        stored = builder.as_dataset(split=split, decoders={image: tfds.decode.SkipDecoding()}, shuffle_files=False)
        rows = [(bytes(row[image]), int(row[label])) for row in stored.as_numpy_iterator()]
        encoded = [picture for picture, _ in rows]
        found.splits[split] = _Split(encoded.__getitem__, np.asarray([number for _, number in rows], np.int64))
    return found


def _only(features: Mapping[str, Any], kind: type, what: str) -> str:
    """Return the one column of a kind."""
    columns = [column for column, feature in features.items() if isinstance(feature, kind)]
    if len(columns) != 1:
        all_columns = ", ".join(f"{column} ({type(feature).__name__})" for column, feature in features.items())
        raise DataError(
            f"there must be one column of {what} ({kind.__name__}). Received: {', '.join(columns) or 'none'} among "
            f"{all_columns}. Keep one, and save the data set again."
        )
    return columns[0]


def _divided(
    name: str, found: _Found, test_share: float | None
) -> tuple[dict[str, tuple[str, np.ndarray]], dict[str, Any], list[str]]:
    """Return split and rows of "train" and "test", how they were divided, and sentences about it."""
    splits = found.splits
    if "train" not in splits:
        raise DataError(f"{name}: there must be a split train. Received: {', '.join(splits) or 'none'}.")
    every = np.arange(len(splits["train"].labels))
    test = next((split for split in ("test", "validation") if split in splits and test_share is None), None)
    if test is not None:
        note = [f"There is no split test, so the runs are tested on validation of {name}."] if test != "test" else []
        return {"train": ("train", every), "test": (test, np.arange(len(splits[test].labels)))}, {}, note
    share = 0.2 if test_share is None else test_share
    try:
        kept, held = split_off(splits["train"].labels, share, list(found.class_names))
    except ValueError as error:
        raise DataError(f"{name}: the split train cannot be divided. {error}") from None
    return {"train": ("train", kept), "test": ("train", held)}, {"test_share": share, "seed": 0}, []


def _headers(name: str, split: _Split, rows: np.ndarray) -> list[Header]:
    try:
        return list(in_threads(lambda row: read_header(split.read(row)), rows.tolist()))
    except Unreadable as problem:
        raise DataError(
            f"{name}: a picture cannot be read: {problem}. Remove it, and save the data set again."
        ) from None


def _common_size(name: str, headers: Sequence[Header]) -> tuple[int, int]:
    sizes = sorted({header.size for header in headers})
    if len(sizes) > 1:
        (height, width), (most_height, most_width) = sizes[0], sizes[-1]
        raise DataError(
            f"{name}: all pictures must have one size. Received: {height}x{width} to {most_height}x{most_width}. Give "
            "a size to bring them to, for example image_size=32 (--image-size 32)."
        )
    return sizes[0]


def _read_all(
    pictures: Mapping[str, tuple[_Split, np.ndarray]], shape: tuple[int, int, int], fit: str, memory: int
) -> tuple[dict[str, Images], Scan]:
    """Return the images of each part, in memory if they fit, and what the pass over them found."""
    scan = Scan()
    images: dict[str, Images] = {}
    fits = math.prod(shape) * sum(len(rows) for _, rows in pictures.values()) <= memory
    for part, (split, rows) in pictures.items():

        def read(row: int, split: _Split = split) -> np.ndarray:
            try:
                return decode(split.read(row), shape[:2], shape[2], fit).pixels
            except Unreadable as problem:
                raise DataError(f"Picture {row} cannot be read: {problem}. Remove it.") from None

        kept = np.empty((len(rows), *shape), np.uint8) if fits else None

        def through(kept: np.ndarray | None = kept, rows: np.ndarray = rows, read: Any = read) -> Iterator[np.ndarray]:
            for index, pixels in enumerate(in_threads(read, rows.tolist())):
                if kept is not None:
                    kept[index] = pixels
                yield pixels[None]

        scan.add(part, (len(rows), *shape), through(), split.labels[rows])
        images[part] = StreamedImages(read, rows, shape) if kept is None else kept
    return images, scan
