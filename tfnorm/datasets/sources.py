"""Load a data set by name, from an .npz archive or from a folder of pictures."""

from __future__ import annotations

import os
import pathlib
import warnings
from dataclasses import replace

from tfnorm.datasets.dataset import Dataset, check_image_size
from tfnorm.datasets.folder import load_folder, shape_of_folder
from tfnorm.datasets.memory import available_memory, size_text
from tfnorm.datasets.named import DATASETS, is_cached, load_known, with_class_names
from tfnorm.datasets.npz import load_npz, shape_of_npz
from tfnorm.datasets.reading import DataWarning, Reading, readable, tally
from tfnorm.errors import DataError, first_line, unknown
from tfnorm.text import counted


def load(
    name_or_path: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    image_size: tuple[int, int] | int | None = None,
    skip_damaged: bool = False,
) -> Dataset:
    """Load a data set.

    ``Dataset.reading`` says what was read from a file or a folder. A warning says what may be a mistake there: files
    that were left out, images of one colour, images that are there twice.

    ``digits`` comes with scikit-learn: values 0..16 are scaled to 0..255 as round(x*255/16), and the 1,797 images are
    split, stratified and always alike (``random_state=0``), into 1,347 for training and 450 for testing.

    ``mnist``, ``fashion_mnist``, ``cifar10`` and ``cifar100`` are read from ``data_dir``, as ``NAME.npz`` or as a
    folder ``NAME/``; without ``data_dir`` from Keras's cache, downloading them when they are not there. With
    ``data_dir`` nothing is downloaded.

    Args:
        name_or_path: A name of ``list_datasets()``, a file ending in .npz with the arrays x_train, y_train, x_test,
            y_test and optionally class_names, or a folder of pictures in ``train/CLASS/`` and ``test/CLASS/``. A
            relative path is looked for in the working directory, then in ``data_dir``.
        data_dir: Folder that holds the data sets.
        image_size: (height, width) in pixels to resize to, or one integer for a square. By default the size is kept.
        skip_damaged: If `True`, pictures of a folder that are damaged are left out and counted. Defaults to `False`:
            an error names all of them.

    Returns:
        The data set, its images uint8 (images, height, width, channels).

    Raises:
        DataError: If the data is missing, malformed, too large for the memory or cannot be downloaded.

    Example:
        >>> load("digits")
        Dataset('digits', train=1347, test=450, input_shape=(8, 8, 1), num_classes=10)
    """
    size = None if image_size is None else check_image_size(image_size)
    place = find_source(name_or_path, data_dir)
    try:
        if place is None:
            dataset = load_known(str(name_or_path), data_dir)
        else:
            known = isinstance(name_or_path, str) and name_or_path in DATASETS
            name = str(name_or_path) if known else readable(place.resolve().name if place.is_dir() else place.stem)
            if place.is_dir():
                dataset = load_folder(place, name, size, skip_damaged=skip_damaged)
            else:
                dataset = load_npz(place, name)
                dataset = with_class_names(dataset) if known else dataset
        dataset = dataset if size is None else dataset.resize(size)
    except MemoryError as error:
        free = available_memory()
        room = "" if free is None else f" {size_text(free)} are free now."
        raise DataError(
            f"{name_or_path} does not fit into memory ({first_line(error)}).{room} Use fewer or smaller images "
            "(--image-size), or free some memory."
        ) from None
    reading = dataset.reading
    passed_over = pathlib.Path(data_dir or "").expanduser() / name_or_path
    if reading is not None:
        height, width, channels = dataset.input_shape
        formats = f" ({tally(reading.formats)})" if reading.formats else ""
        summary = (
            f"Read {len(dataset.x_train):,} training and {len(dataset.x_test):,} test images{formats} of "
            f"{height}x{width} pixels with {counted([channels], 'channel')}, in {dataset.num_classes} classes, from "
            f"{reading.path}."
        )
        reading = replace(reading, summary=summary)
    elif passed_over.is_dir():
        other = passed_over if passed_over.is_absolute() else f"./{passed_over}"
        note = (
            f"{name_or_path!r} is a data set that tfnorm knows, and it was loaded. Your folder {passed_over} was not "
            f"read. To read it, write {other}."
        )
        reading = Reading(notes=(note,))
    for note in reading.notes if reading else ():
        warnings.warn(note, DataWarning, stacklevel=2)
    return replace(dataset, reading=reading)


def find_source(
    name_or_path: str | os.PathLike[str], data_dir: str | os.PathLike[str] | None = None
) -> pathlib.Path | None:
    """Return the .npz file or the folder of a data set, or None for a known one that Keras or scikit-learn has.

    It raises a DataError if there is plainly no such data set. Nothing is read.
    """
    folder = None if data_dir is None else pathlib.Path(data_dir).expanduser()
    if folder is not None and not folder.is_dir():
        kind = "is not a folder" if folder.exists() else "does not exist"
        raise DataError(f"`data_dir` must be a folder. Received: {folder}, which {kind}. Create it or name another.")
    if isinstance(name_or_path, str) and name_or_path in DATASETS:
        if folder is None or name_or_path == "digits":
            return None
        places = folder / f"{name_or_path}.npz", folder / name_or_path
        return next((place for place in places if place.exists()), None)
    if not isinstance(name_or_path, str | os.PathLike) or not str(name_or_path):
        raise DataError(
            f"A data set must be a name, an .npz file or a folder. Received: {name_or_path!r}. "
            f"Use one of: {', '.join(DATASETS)}."
        )
    path = pathlib.Path(name_or_path).expanduser()
    if not path.exists() and folder is not None and (folder / path).exists():
        path = folder / path
    if path.is_dir():
        return path
    if path.is_file():
        if path.suffix.lower() == ".npz":
            return path
        raise DataError(
            f"A data file must be an .npz archive. Received: {path}. "
            "Save the arrays x_train, y_train, x_test, y_test with numpy.savez."
        )
    if path.suffix or len(path.parts) > 1 or path.is_absolute():
        raise DataError(
            f"A data set must be a name, an .npz file or a folder. There is no {path}. "
            f"Correct the path or use one of: {', '.join(DATASETS)}."
        )
    raise DataError(unknown("data set", str(name_or_path), DATASETS) + " A path to an .npz file or a folder works too.")


def stored_shape(
    name: str | os.PathLike[str], *, data_dir: str | os.PathLike[str] | None = None
) -> tuple[int, int, int, int] | None:
    """Return (images, height, width, channels) of a data set as it is stored, or None if its files do not say.

    Only headers are read. For a folder, the first picture gives the size, and the channels are three.

    Example:
        >>> stored_shape("digits")
        (1797, 8, 8, 1)
    """
    place = find_source(name, data_dir)
    if place is None:
        return DATASETS[name].shape
    return shape_of_folder(place) if place.is_dir() else shape_of_npz(place)


def is_here(name: str, *, data_dir: str | os.PathLike[str] | None = None) -> bool:
    """Return whether `load` finds a data set, or says what is wrong with it, without downloading anything."""
    return data_dir is not None or name not in DATASETS or is_cached(name)
