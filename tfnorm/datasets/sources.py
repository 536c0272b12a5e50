"""Load a data set by name, from an .npz archive or from a folder of pictures."""

from __future__ import annotations

import os
import pathlib
import socket
import warnings
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np

from tfnorm.datasets.checks import make_dataset
from tfnorm.datasets.class_names import CIFAR10, CIFAR100, FASHION_MNIST
from tfnorm.datasets.dataset import Dataset, check_image_size, row_chunks
from tfnorm.datasets.folder import load_folder, shape_of_folder
from tfnorm.datasets.memory import available_memory, size_text
from tfnorm.datasets.npz import load_npz, shape_of_npz
from tfnorm.datasets.reading import DataWarning, Reading, counted, plural, readable
from tfnorm.errors import DataError, first_line, unknown
from tfnorm.registry import Registry

DATASETS: Registry[str] = Registry("data set", DataError)
DATASETS.add("digits", "8x8 grey scans of digits, 1,347 + 450, inside scikit-learn: no network needed")
DATASETS.add("mnist", "28x28 grey handwritten digits, 60,000 + 10,000")
DATASETS.add("fashion_mnist", "28x28 grey pictures of clothes, 60,000 + 10,000")
DATASETS.add("cifar10", "32x32 colour photographs of 10 classes, 50,000 + 10,000")
DATASETS.add("cifar100", "32x32 colour photographs of 100 classes, 50,000 + 10,000")

_CLASS_NAMES: dict[str, tuple[str, ...] | None] = {
    "mnist": None,
    "fashion_mnist": FASHION_MNIST,
    "cifar10": CIFAR10,
    "cifar100": CIFAR100,
}
_SHAPES = {
    "digits": (1797, 8, 8, 1),
    "mnist": (70_000, 28, 28, 1),
    "fashion_mnist": (70_000, 28, 28, 1),
    "cifar10": (60_000, 32, 32, 3),
    "cifar100": (60_000, 32, 32, 3),
}
# Where keras.datasets keeps what it downloads, below Keras's home.
_KERAS_CACHE = {
    "mnist": ("datasets/mnist.npz",),
    "fashion_mnist": tuple(
        f"datasets/fashion-mnist/{file}-ubyte.gz"
        for file in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    ),
    "cifar10": ("datasets/cifar-10-batches-py-target_archive",),
    "cifar100": ("datasets/cifar-100-python-target_archive",),
}
# urllib waits for ever by default; a network that swallows packets must end in a sentence too.
_TIMEOUT_SECONDS = 30.0


def list_datasets() -> list[str]:
    """Return the names that ``load`` knows.

    Example:
        >>> list_datasets()
        ['digits', 'mnist', 'fashion_mnist', 'cifar10', 'cifar100']
    """
    return list(DATASETS)


def load(
    name_or_path: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    image_size: tuple[int, int] | int | None = None,
    skip_damaged: bool = False,
) -> Dataset:
    """Load a data set.

    What was read from a file or a folder is in ``Dataset.reading``. What may be a mistake there is warned of: files
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
        image_size: (height, width) in pixels to resize to, or one integer for a square; default: as they are.
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

    Nothing but headers is read. In a folder, the first picture stands for all, with three channels.

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
            return _SHAPES[name]
    path = _locate(name, folder) if path is None else path
    return shape_of_folder(path) if path.is_dir() else shape_of_npz(path)


def is_here(name: str, *, data_dir: str | os.PathLike[str] | None = None) -> bool:
    """Return whether `load` finds a data set, or says what is wrong with it, without downloading anything."""
    downloaded = data_dir is None and name in _KERAS_CACHE
    return not downloaded or all(path.is_file() for path in _cached_files(name))


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
        return _load_digits()
    if folder is not None:
        if (folder / f"{name}.npz").is_file():
            return _named(load_npz(folder / f"{name}.npz", name))
        if (folder / name).is_dir():
            return load_folder(folder / name, name, size, skip_damaged=skip_damaged)
        if not all(path.is_file() for path in _cached_files(name)):
            raise DataError(
                f"{folder} must hold {name}.npz (arrays x_train, y_train, x_test, y_test) or a folder {name}/ "
                f"(train/CLASS/*, test/CLASS/*). Received neither, and Keras's cache has no copy at "
                f"{_cache_sentence(name)}. Put the file there, or leave out `data_dir` to download it."
            )
    return _load_keras(name)


def _named(dataset: Dataset) -> Dataset:
    """Give a known data set its class names where its archive brings none."""
    names = _CLASS_NAMES[dataset.name]
    numbered = dataset.class_names == tuple(str(label) for label in range(dataset.num_classes))
    if names is None or len(names) != dataset.num_classes or not numbered:
        return dataset
    return replace(dataset, class_names=names)


def _load_digits() -> Dataset:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    x_train, x_test, y_train, y_test = train_test_split(
        images, bunch.target, test_size=450, stratify=bunch.target, random_state=0
    )
    return make_dataset("digits", "digits", (x_train, y_train), (x_test, y_test))


def _load_keras(name: str) -> Dataset:
    load_data: Callable[[], Any] = import_module(f"keras.datasets.{name}").load_data
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT_SECONDS)
    try:
        train, test = load_data()
    except Exception as error:  # Keras raises bare Exception when a download fails, and much else when a file is bad.
        raise DataError(
            f"{name} could not be read from Keras's cache nor downloaded ({first_line(error)}). "
            f"Put {name}.npz, with the arrays x_train, y_train, x_test, y_test, in a folder DIR and "
            f"pass data_dir=DIR (--data-dir DIR), or put Keras's "
            f"own file at {_cache_sentence(name)}."
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)
    x_train, x_test = _channels_last(train[0]), _channels_last(test[0])
    return make_dataset(name, name, (x_train, train[1]), (x_test, test[1]), _CLASS_NAMES[name])


def _channels_last(images: np.ndarray) -> np.ndarray:
    """Return ``images`` contiguous; CIFAR, a transposed view of (N, C, H, W), is rearranged in its own memory."""
    if images.flags.c_contiguous:
        return images
    stored = images.transpose(0, 3, 1, 2) if images.ndim == 4 else images
    if not (stored.flags.c_contiguous and stored.flags.writeable):
        return np.ascontiguousarray(images)
    # An image takes the same bytes in either order, so that images can be rewritten in place, a few at a time.
    result = stored.reshape(images.shape)
    for rows in row_chunks(len(images), images[0].nbytes):
        result[rows] = images[rows].copy()
    return result


def _cached_files(name: str) -> list[pathlib.Path]:
    # Unlike pathlib, os.path leaves "~" where there is no home directory.
    home = pathlib.Path(os.path.expanduser(os.environ.get("KERAS_HOME") or "~/.keras"))
    return [home / file for file in _KERAS_CACHE[name]]


def _cache_sentence(name: str) -> str:
    return ", ".join(str(path) for path in _cached_files(name))
