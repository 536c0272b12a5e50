"""Read data sets from .npz archives without ever holding more than the uint8 images."""

from __future__ import annotations

import pathlib
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from tfnorm.datasets.checks import make_dataset, read_pixels
from tfnorm.datasets.dataset import Dataset, row_chunks
from tfnorm.datasets.memory import check_memory
from tfnorm.datasets.reading import Reading, readable, remarks
from tfnorm.errors import DataError

ARRAYS = ("x_train", "y_train", "x_test", "y_test")


def load_npz(path: pathlib.Path, name: str) -> Dataset:
    """Return the data set in an .npz archive with the arrays x_train, y_train, x_test, y_test.

    Images are (images, height, width) or (images, height, width, channels), best uint8; an optional array of strings
    ``class_names``, of text or of bytes in UTF-8, names the classes. Pickled objects are never loaded.

    Args:
        path: The archive.
        name: Name of the data set.

    Raises:
        DataError: If the archive cannot be read or does not hold images and labels.
    """
    where = str(path)
    with _reading(path), zipfile.ZipFile(path) as archive:
        found = [entry.removesuffix(".npy") for entry in archive.namelist()]
        if missing := [key for key in ARRAYS if key not in found]:
            raise DataError(
                f"{where} must hold the arrays {', '.join(ARRAYS)}. Received: {', '.join(found) or 'no array'}; "
                f"missing: {', '.join(missing)}. Save it with numpy.savez(path, x_train=..., y_train=..., "
                "x_test=..., y_test=...)."
            )
        stored = {key: StoredArray(where, archive, key) for key in (*ARRAYS, "class_names") if key in found}
        images = sum(stored[key].shape[0] for key in ("x_train", "x_test") if stored[key].shape)
        check_memory(where, images, stored["x_train"].shape[1:])
        (x_train, x_test), notes = read_pixels(where, [stored["x_train"], stored["x_test"]])
        y_train, y_test = stored["y_train"].read(), stored["y_test"].read()
        names = stored["class_names"].read() if "class_names" in stored else None
    if names is not None:
        if names.ndim != 1 or names.dtype.kind not in "US":
            raise DataError(
                f"{where}: class_names must be a list of strings. Received: dtype {names.dtype}, shape {names.shape}. "
                "Save numpy.array([...names...])."
            )
        names = names.tolist()
    dataset = make_dataset(name, where, (x_train, y_train), (x_test, y_test), names)
    notes += remarks(
        (dataset.x_train, dataset.y_train),
        (dataset.x_test, dataset.y_test),
        lambda part, index: f"x_{part}[{index}]",
    )
    return replace(dataset, reading=Reading(readable(path.resolve()), notes=tuple(notes)))


def shape_of_npz(path: pathlib.Path) -> tuple[int, int, int, int] | None:
    """Return (images, height, width, channels) of both arrays of images together, None if they are no such arrays."""
    with _reading(path), zipfile.ZipFile(path) as archive:
        found = [f"{key}.npy" for key in ("x_train", "x_test")]
        if not set(found) <= set(archive.namelist()):
            return None
        shapes = [StoredArray(str(path), archive, entry.removesuffix(".npy")).shape for entry in found]
    if any(len(shape) not in (3, 4) for shape in shapes):
        return None
    images, (height, width, *channels) = sum(shape[0] for shape in shapes), shapes[0][1:]
    return images, height, width, *(channels or [1])


@contextmanager
def _reading(path: pathlib.Path) -> Iterator[None]:
    """Turn what a damaged archive raises into one sentence."""
    try:
        yield
    except DataError:
        raise
    except PermissionError as error:
        raise DataError(f"{path} cannot be opened: permission denied. Change its permissions.") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise DataError(
            f"{path} must be a NumPy .npz archive. It is damaged, cut short or of another kind ({error}). "
            "Copy or save it again."
        ) from error


class StoredArray:
    """One array inside an .npz archive, read whole or in pieces.

    Args:
        where: The archive's path, for the messages.
        archive: The open archive.
        name: The array's name.
    """

    def __init__(self, where: str, archive: zipfile.ZipFile, name: str) -> None:
        self.name = name
        self._archive = archive
        entry = f"{name}.npy"
        with archive.open(entry) as file:
            version = np.lib.format.read_magic(file)
            read_header = (
                np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            )
            self.shape, self._fortran, self.dtype = read_header(file)
            self._start = file.tell()
        if self.dtype.hasobject:
            raise DataError(
                f"{where}: {name} must be a plain array. Received pickled Python objects, which can run code when "
                f"loaded and are refused. Save {name} as numbers of one shape."
            )
        # Checked before anything of the claimed size is allocated.
        size = archive.getinfo(entry).file_size - self._start
        if size != int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize:
            raise ValueError(f"{name} holds {size} bytes, which is not its shape {self.shape}")

    def read(self) -> np.ndarray:
        """Return the whole array in its own dtype."""
        if self._fortran:
            with self._archive.open(f"{self.name}.npy") as file:
                return np.ascontiguousarray(np.lib.format.read_array(file, allow_pickle=False))
        array = np.empty(self.shape, self.dtype)
        start = 0
        for chunk in self.chunks():
            array[start : start + len(chunk)] = chunk
            start += len(chunk)
        return array

    def chunks(self) -> Iterator[np.ndarray]:
        """Yield the array in pieces along the first axis."""
        row_shape = self.shape[1:]
        row_bytes = int(np.prod(row_shape, dtype=np.int64)) * self.dtype.itemsize
        rows = self.shape[0] if self.shape else 1
        if self._fortran or not self.shape or not rows or not row_bytes:
            with self._archive.open(f"{self.name}.npy") as file:
                array = np.lib.format.read_array(file, allow_pickle=False)
            if rows and self.shape:
                for piece in row_chunks(rows, row_bytes):
                    yield array[piece]
            return
        with self._archive.open(f"{self.name}.npy") as file:
            file.read(self._start)
            for piece in row_chunks(rows, row_bytes):
                count = piece.stop - piece.start
                data = file.read(count * row_bytes)
                yield np.frombuffer(data, self.dtype).reshape(count, *row_shape)
            # Reading past the last byte is what makes zipfile compare the checksum.
            file.read(1)
