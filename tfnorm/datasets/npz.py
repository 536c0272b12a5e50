"""Read data sets from .npz archives without ever holding more than the uint8 images."""

from __future__ import annotations

import math
import pathlib
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from tfnorm.datasets.checks import check_image_array, make_dataset, remarks
from tfnorm.datasets.dataset import Dataset
from tfnorm.datasets.memory import check_memory
from tfnorm.datasets.reading import Reading, readable
from tfnorm.errors import DataError

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
# Large enough to be fast, small beside any data set worth measuring.
CHUNK_BYTES = 1 << 20


def load_npz(path: pathlib.Path, name: str) -> Dataset:
    """Return the data set ``name`` in an .npz archive with the arrays x_train, y_train, x_test, y_test.

    Images are (images, height, width) or (images, height, width, channels), best uint8; an optional array of strings
    ``class_names``, of text or of bytes in UTF-8, names the classes. Labels are class numbers, or 0 and 1 in a column
    for each class. If each row of these has a single 1, images have one class each, unless there is an array
    ``multi_label`` that is True. Pickled objects are never loaded.
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
        stored = {
            key: StoredArray(where, archive, key) for key in (*ARRAYS, "class_names", "multi_label") if key in found
        }
        images = sum(stored[key].shape[0] for key in ("x_train", "x_test") if stored[key].shape)
        check_memory(where, images, stored["x_train"].shape[1:])
        (x_train, x_test), notes = _read_pixels(where, [stored["x_train"], stored["x_test"]])
        y_train, y_test = stored["y_train"].read(), stored["y_test"].read()
        names = stored["class_names"].read() if "class_names" in stored else None
        several = stored["multi_label"].read() if "multi_label" in stored else None
    if names is not None and (names.ndim != 1 or names.dtype.kind not in "US"):
        raise DataError(
            f"{where}: class_names must be a list of strings. Received: dtype {names.dtype}, shape {names.shape}. "
            "Save numpy.array([...names...])."
        )
    if several is not None and (several.ndim or several.dtype.kind != "b"):
        raise DataError(
            f"{where}: multi_label must be True or False. Received: dtype {several.dtype}, shape {several.shape}."
        )
    dataset = make_dataset(
        name, where, (x_train, y_train), (x_test, y_test), None if names is None else names.tolist(),
        None if several is None else bool(several),
    )  # fmt: skip
    found, twins = remarks(dataset, lambda part, index: f"x_{part}[{index}]")
    reading = Reading(readable(path.resolve()), notes=(*notes, *found), on_both_sides=tuple(twins))
    return replace(dataset, reading=reading)


def shape_of_npz(path: pathlib.Path) -> tuple[int, int, int, int] | None:
    """Return (images, height, width, channels) of both arrays of images together, None if they are no such arrays."""
    with _reading(path), zipfile.ZipFile(path) as archive:
        if not {"x_train.npy", "x_test.npy"} <= set(archive.namelist()):
            return None
        shapes = [StoredArray(str(path), archive, key).shape for key in ("x_train", "x_test")]
    if any(len(shape) not in (3, 4) for shape in shapes):
        return None
    height, width, *channels = shapes[0][1:]
    return shapes[0][0] + shapes[1][0], height, width, *(channels or [1])


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
    """One array inside an open .npz archive, read whole or in pieces; ``where`` names the archive in messages."""

    def __init__(self, where: str, archive: zipfile.ZipFile, name: str) -> None:
        self.name, self._archive, self._entry = name, archive, f"{name}.npy"
        with archive.open(self._entry) as file:
            version = np.lib.format.read_magic(file)
            read_header = (
                np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            )
            self.shape, fortran, self.dtype = read_header(file)
            self._start = file.tell()
        self._order = "F" if fortran else "C"
        if self.dtype.hasobject:
            raise DataError(
                f"{where}: {name} must be a plain array. Received pickled Python objects, which can run code when "
                f"loaded and are refused. Save {name} as numbers of one shape."
            )
        # Checked before anything of the claimed size is allocated.
        size = archive.getinfo(self._entry).file_size - self._start
        if size != math.prod(self.shape) * self.dtype.itemsize:
            raise ValueError(f"{name} holds {size} bytes, which is not its shape {self.shape}")

    def read(self, dtype: np.dtype | None = None, scale: int = 1) -> np.ndarray:
        """Return the whole array, if asked for in another dtype, and multiplied and rounded first."""
        flat = np.empty(math.prod(self.shape), self.dtype if dtype is None else dtype)
        start = 0
        for piece in self.pieces():
            flat[start : start + len(piece)] = piece if scale == 1 else np.rint(piece * scale)
            start += len(piece)
        return np.asarray(flat.reshape(self.shape, order=self._order), order="C")

    def pieces(self) -> Iterator[np.ndarray]:
        """Yield the values in the order in which they are stored."""
        size = max(1, self.dtype.itemsize)
        with self._archive.open(self._entry) as file:
            file.read(self._start)
            while data := file.read(max(1, CHUNK_BYTES // size) * size):
                yield np.frombuffer(data, self.dtype)


def _read_pixels(where: str, arrays: list[StoredArray]) -> tuple[list[np.ndarray], list[str]]:
    """Return the images of all ``arrays`` as uint8, and notes on the conversion.

    uint8 is kept as it is. Other integers, and floats that are whole numbers, must lie in 0..255. If all arrays are
    floats in 0..1, they are multiplied by 255 and rounded, and a note says so.
    """
    for array in arrays:
        check_image_array(where, array.name, array.shape, array.dtype)
    ranges = {array.name: _range(where, array) for array in arrays if array.dtype != np.uint8}
    floats = all(array.dtype.kind == "f" for array in arrays)
    if floats and all(0 <= low and high <= 1 for low, high, _ in ranges.values()):
        names = " and ".join(ranges)
        note = f"{where}: {names} are floats in 0..1; they were multiplied by 255 and rounded to uint8."
        return [array.read(np.uint8, 255) for array in arrays], [note]
    for name, (low, high, fraction) in ranges.items():
        if low < 0 or high > 255:
            raise DataError(
                f"{where}: pixels must lie in 0..255, or be floats in 0..1. Received: {name} in {low:g}..{high:g}. "
                "Undo the normalization and save the images as uint8."
            )
        if fraction is not None:
            raise DataError(
                f"{where}: float pixels must be whole numbers in 0..255, or all lie in 0..1. Received: "
                f"{fraction:g} in {name}, whose values reach {high:g}. Round the images to uint8."
            )
    return [array.read(np.uint8) for array in arrays], []


def _range(where: str, array: StoredArray) -> tuple[float, float, float | None]:
    """Return the smallest and the largest value, and one that is not a whole number, or None."""
    low, high, fraction = math.inf, -math.inf, None
    for piece in array.pieces():
        if array.dtype.kind == "f":
            if not np.isfinite(piece).all():
                raise DataError(
                    f"{where}: {array.name} must hold finite pixels. Received NaN or infinity. "
                    "Replace or remove those images."
                )
            broken = piece[piece != np.rint(piece)]
            if broken.size and fraction is None:
                fraction = broken[0].item()
        low, high = min(low, piece.min().item()), max(high, piece.max().item())
    return low, high, fraction
