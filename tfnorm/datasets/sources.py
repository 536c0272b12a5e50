"""Load a data set by name, from an .npz archive or from a folder of pictures."""

from __future__ import annotations

import os
import pathlib
import warnings
from dataclasses import replace

from tfnorm.datasets.dataset import Dataset, check_image_size
from tfnorm.datasets.folder import load_folder, shape_of_folder
from tfnorm.datasets.memory import available_memory, size_text
from tfnorm.datasets.named import (
    DATASETS,
    cache_sentence,
    cached_files,
    load_digits_of_sklearn,
    load_of_keras,
    with_class_names,
)
from tfnorm.datasets.npz import load_npz, shape_of_npz
from tfnorm.datasets.reading import DataWarning, Reading, counted, plural, readable
from tfnorm.errors import DataError, first_line, unknown


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
    folder = _check_data_dir(data_dir)
    try:
        if isinstance(name_or_path, str) and name_or_path in DATASETS:
            dataset = _load_named(name_or_path, folder, size, skip_damaged)
        else:
            dataset = _load_path(name_or_path, folder, size, skip_damaged)
        dataset = dataset if size is None else dataset.resize(size)
    except MemoryError as error:
        free = available_memory()
        room = "" if free is None else f" {size_text(free)} are free now."
        raise DataError(
            f"{name_or_path} does not fit into memory ({first_line(error)}).{room} Use fewer or smaller images "
            "(--image-size), or free some memory."
        ) from None
    reading = dataset.reading
    if reading is not None:
        reading = replace(reading, summary=_summary(dataset, reading))
    elif passed_over := _passed_over(name_or_path, folder):
        reading = Reading(notes=(passed_over,))
    for note in reading.notes if reading else ():
        warnings.warn(note, DataWarning, stacklevel=2)
    return replace(dataset, reading=reading)


def _passed_over(name: str | os.PathLike[str], folder: pathlib.Path | None) -> str:
    """Return a sentence if a folder has the name of a known data set, which was loaded in its place."""
    place = pathlib.Path(name) if folder is None else folder / name
    if not place.is_dir():
        return ""
    other = place if place.is_absolute() else f"./{place}"
    return (
        f"{str(name)!r} is a data set that tfnorm knows, and it was loaded. Your folder {place} was not read. To read "
        f"it, write {other}."
    )


def _summary(dataset: Dataset, reading: Reading) -> str:
    height, width, channels = dataset.input_shape
    formats = f" ({counted(reading.formats)})" if reading.formats else ""
    return (
        f"Read {len(dataset.x_train):,} training and {len(dataset.x_test):,} test images{formats} of {height}x{width} "
        f"pixels with {plural(channels, 'channel')}, in {dataset.num_classes} classes, from "
        f"{reading.path}."
    )


def _check_data_dir(data_dir: str | os.PathLike[str] | None) -> pathlib.Path | None:
    if data_dir is None:
        return None
    folder = pathlib.Path(data_dir).expanduser()
    if not folder.is_dir():
        kind = "is not a folder" if folder.exists() else "does not exist"
        raise DataError(f"`data_dir` must be a folder. Received: {folder}, which {kind}. Create it or name another.")
    return folder


def check_source(name_or_path: str | os.PathLike[str], *, data_dir: str | os.PathLike[str] | None = None) -> None:
    """Raise a DataError if there is plainly no such data set, without reading any."""
    folder = _check_data_dir(data_dir)
    if not (isinstance(name_or_path, str) and name_or_path in DATASETS):
        _locate(name_or_path, folder)


def stored_shape(
    name: str | os.PathLike[str], *, data_dir: str | os.PathLike[str] | None = None
) -> tuple[int, int, int, int] | None:
    """Return (images, height, width, channels) of a data set as it is stored, or None if its files do not say.

    Only headers are read. For a folder, the first picture gives the size, and the channels are three.

    Args:
        name: As `load` takes it.
        data_dir: Folder that is looked in first.

    Example:
        >>> stored_shape("digits")
        (1797, 8, 8, 1)
    """
    folder = _check_data_dir(data_dir)
    path: pathlib.Path | None = None
    if isinstance(name, str) and name in DATASETS:
        if folder is not None and name != "digits":
            path = next((place for place in (folder / f"{name}.npz", folder / name) if place.exists()), None)
        if path is None:
            return DATASETS[name].shape
    path = _locate(name, folder) if path is None else path
    return shape_of_folder(path) if path.is_dir() else shape_of_npz(path)


def is_here(name: str, *, data_dir: str | os.PathLike[str] | None = None) -> bool:
    """Return whether `load` finds a data set, or says what is wrong with it, without downloading anything."""
    downloaded = data_dir is None and name in DATASETS and bool(DATASETS[name].files)
    return not downloaded or all(path.is_file() for path in cached_files(name))


def _locate(name_or_path: str | os.PathLike[str], folder: pathlib.Path | None) -> pathlib.Path:
    """Return the .npz file or the folder that is meant."""
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


def _load_path(
    name_or_path: str | os.PathLike[str], folder: pathlib.Path | None, size: tuple[int, int] | None, skip_damaged: bool
) -> Dataset:
    path = _locate(name_or_path, folder)
    if path.is_dir():
        return load_folder(path, readable(path.resolve().name), size, skip_damaged=skip_damaged)
    return load_npz(path, readable(path.stem))


def _load_named(name: str, folder: pathlib.Path | None, size: tuple[int, int] | None, skip_damaged: bool) -> Dataset:
    if name == "digits":
        return load_digits_of_sklearn()
    if folder is not None:
        if (folder / f"{name}.npz").is_file():
            return with_class_names(load_npz(folder / f"{name}.npz", name))
        if (folder / name).is_dir():
            return load_folder(folder / name, name, size, skip_damaged=skip_damaged)
        if not all(path.is_file() for path in cached_files(name)):
            raise DataError(
                f"{folder} must hold {name}.npz (arrays x_train, y_train, x_test, y_test) or a folder {name}/ "
                f"(train/CLASS/*, test/CLASS/*). Received neither, and Keras's cache has no copy at "
                f"{cache_sentence(name)}. Put the file there, or leave out `data_dir` to download it."
            )
    return load_of_keras(name)
