"""Checks of images and labels. Each broken rule raises a sentence of its own.

Images are read through ``shape``, ``dtype`` and ``chunks()``, so that an array on disk is never held whole in
another dtype than uint8.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tfnorm.datasets.dataset import Dataset
from tfnorm.datasets.reading import readable
from tfnorm.errors import DataError


class ImageSource(Protocol):
    """An array of images that can be read a few rows at a time, more than once."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype

    def read(self) -> np.ndarray:
        """Return the whole array."""
        ...

    def chunks(self) -> Iterator[np.ndarray]:
        """Yield the array in pieces along the first axis."""
        ...


@dataclass(frozen=True)
class _PixelRange:
    """Smallest and largest value, and one value that is not a whole number, or None."""

    low: float
    high: float
    fraction: float | None


def read_pixels(where: str, sources: Sequence[ImageSource]) -> tuple[list[np.ndarray], list[str]]:
    """Return the images of all ``sources`` as uint8 (images, height, width, channels), and notes on the conversion.

    uint8 is kept as it is. Other integers, and floats that are whole numbers, must lie in 0..255. If all sources are
    floats in 0..1, they are multiplied by 255 and rounded, and a note says so.

    Args:
        where: The file, for the messages.
        sources: The training and the test images.

    Raises:
        DataError: If shape, dtype or range is not that of images.
    """
    for source in sources:
        check_image_array(where, source.name, source.shape, source.dtype)
    ranges = {source.name: _measure(where, source) for source in sources if source.dtype != np.uint8}
    floats = [source for source in sources if source.dtype.kind == "f"]
    unit = len(floats) == len(sources) and all(0 <= r.low and r.high <= 1 for r in ranges.values())
    notes = []
    if unit:
        names = " and ".join(source.name for source in sources)
        notes.append(f"{where}: {names} are floats in 0..1; they were multiplied by 255 and rounded to uint8.")
    else:
        for name, measured in ranges.items():
            _check_range(where, name, measured)
    return [_with_channels(_to_uint8(source, 255 if unit else 1)) for source in sources], notes


def _to_uint8(source: ImageSource, scale: int) -> np.ndarray:
    if source.dtype == np.uint8:
        return source.read()
    pixels = np.empty(source.shape, np.uint8)
    start = 0
    for chunk in source.chunks():
        pixels[start : start + len(chunk)] = np.rint(chunk * scale) if scale != 1 else chunk
        start += len(chunk)
    return pixels


def _with_channels(images: np.ndarray) -> np.ndarray:
    return images[..., np.newaxis] if images.ndim == 3 else images


def _measure(where: str, source: ImageSource) -> _PixelRange:
    low, high, fraction = np.inf, -np.inf, None
    for chunk in source.chunks():
        if source.dtype.kind == "f":
            if not np.isfinite(chunk).all():
                raise DataError(
                    f"{where}: {source.name} must hold finite pixels. Received NaN or infinity. "
                    "Replace or remove those images."
                )
            if fraction is None:
                broken = chunk[chunk != np.rint(chunk)]
                fraction = float(broken[0]) if broken.size else None
        low, high = min(low, chunk.min().item()), max(high, chunk.max().item())
    return _PixelRange(low, high, fraction)


def _check_range(where: str, name: str, measured: _PixelRange) -> None:
    if measured.low < 0 or measured.high > 255:
        raise DataError(
            f"{where}: pixels must lie in 0..255, or be floats in 0..1. Received: {name} in "
            f"{measured.low:g}..{measured.high:g}. Undo the normalization and save the images as uint8."
        )
    if measured.fraction is not None:
        raise DataError(
            f"{where}: float pixels must be whole numbers in 0..255, or all lie in 0..1. Received: "
            f"{measured.fraction:g} in {name}, whose values reach {measured.high:g}. Round the images to uint8."
        )


def check_image_array(where: str, name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Raise DataError unless ``shape`` and ``dtype`` can be those of images."""
    if dtype.kind not in "uif":
        raise DataError(
            f"{where}: {name} must hold numbers, uint8 in 0..255. Received: dtype {dtype}. "
            f"Convert it with {name}.astype('uint8')."
        )
    if len(shape) not in (3, 4):
        raise DataError(
            f"{where}: {name} must have shape (images, height, width) or (images, height, width, channels). "
            f"Received: shape {shape}. Reshape it."
        )
    if shape[0] == 0:
        raise DataError(f"{where}: {name} must hold at least one image. Received: shape {shape}. Add images.")
    # One to four channels come first, and what would be channels is a side of a picture; images of so few rows may
    # have up to seven channels.
    if len(shape) == 4 and shape[1] <= 4 < shape[2] and (shape[3] > 7 or shape[2] == shape[3]):
        really = (
            f" If they are images of {shape[1]} rows, {shape[2]} columns and {shape[3]} channels, exchange rows and "
            f"columns with {name}.transpose(0, 2, 1, 3)."
        )
        raise DataError(
            f"{where}: {name} must have its channels last. Received: shape {shape}, which looks like (images, "
            f"channels, height, width). Transpose it with {name}.transpose(0, 2, 3, 1)."
            + ("" if shape[2] == shape[3] else really)
        )
    if 0 in shape:
        raise DataError(
            f"{where}: the images of {name} must have at least one pixel. Received: shape {shape}. "
            "Save the images again."
        )


def read_labels(where: str, name: str, labels: np.ndarray) -> np.ndarray:
    """Return ``labels`` as int64 (images,). The shape (images, 1) is flattened, and whole floats are converted.

    Raises:
        DataError: If they are one-hot, not whole numbers, not finite or negative.
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2:
        raise DataError(
            f"{where}: {name} must have shape (images,). Received: shape {labels.shape}, which looks one-hot. "
            f"Pass {name}.argmax(axis=1)."
        )
    if labels.ndim != 1:
        raise DataError(
            f"{where}: {name} must have shape (images,). Received: shape {labels.shape}. Give one label an image."
        )
    if labels.dtype.kind not in "uif":
        raise DataError(
            f"{where}: {name} must hold integers 0..K-1. Received: dtype {labels.dtype}. "
            "Number the classes, and put their names in an array class_names."
        )
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all():
            raise DataError(f"{where}: {name} must hold finite labels. Received NaN or infinity. Remove those images.")
        broken = labels[labels != np.rint(labels)]
        if broken.size:
            raise DataError(
                f"{where}: {name} must hold whole numbers. Received: {broken[0]:g}. Number the classes 0..K-1."
            )
    if labels.size and labels.min() < 0:
        raise DataError(
            f"{where}: {name} must hold labels 0..K-1. Received: {labels.min():g}. Number the classes from 0."
        )
    if labels.size and labels.max() > np.iinfo(np.int64).max // 2:
        raise DataError(
            f"{where}: {name} must hold labels 0..K-1. Received: {labels.max():g}. Number the classes from 0."
        )
    return labels.astype(np.int64)


def make_dataset(
    name: str,
    where: str,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    class_names: Iterable[Any] | None = None,
) -> Dataset:
    """Return the Dataset of uint8 images and raw labels after checking that they fit each other.

    Args:
        name: Name of the data set.
        where: The file, folder or name, for the messages.
        train: Images and labels of the training set.
        test: Images and labels of the test set.
        class_names: One name a class; by default the numbers.

    Raises:
        DataError: If lengths, shapes or labels do not fit.
    """
    labels = {}
    for part, (images, raw) in (("train", train), ("test", test)):
        check_image_array(where, f"x_{part}", images.shape, images.dtype)
        labels[part] = read_labels(where, f"y_{part}", np.asarray(raw))
        if len(images) != len(labels[part]):
            raise DataError(
                f"{where}: x_{part} and y_{part} must have the same length. "
                f"Received: {len(images)} images and {len(labels[part])} labels. Give one label an image."
            )
    x_train, x_test = _with_channels(train[0]), _with_channels(test[0])
    if x_train.shape[1:] != x_test.shape[1:]:
        raise DataError(
            f"{where}: training and test images must have one shape (height, width, channels). "
            f"Received: {x_train.shape[1:]} and {x_test.shape[1:]}. Resize or convert one of them."
        )
    names = _check_classes(where, labels["train"], labels["test"], class_names)
    return Dataset(name, x_train, labels["train"], x_test, labels["test"], names)


def _check_classes(
    where: str, y_train: np.ndarray, y_test: np.ndarray, class_names: Iterable[Any] | None
) -> tuple[str, ...]:
    present = np.unique(y_train)
    highest = int(present[-1])
    names = None if class_names is None else tuple(readable(name) for name in class_names)
    if names is not None and highest >= len(names):
        raise DataError(
            f"{where}: class_names must name every class. Received: {len(names)} names and the label {highest}. "
            "Add the missing names."
        )
    count = highest + 1 if names is None else len(names)
    if len(present) != count:
        # `present` is sorted and distinct, so the first place where it differs from 0, 1, 2... is the first gap.
        gaps = np.nonzero(present != np.arange(len(present)))[0]
        missing = int(gaps[0]) if gaps.size else len(present)
        raise DataError(
            f"{where}: every class 0..{count - 1} must have a training image. Received none of class {missing}. "
            "Number the classes 0..K-1 without gaps."
        )
    if count < 2:
        raise DataError(f"{where}: there must be at least two classes. Received: {count}. Add images of another class.")
    outside = y_test[y_test >= count]
    if outside.size:
        raise DataError(
            f"{where}: test labels must be among the {count} training classes, 0..{count - 1}. "
            f"Received: {outside.max()} in y_test. Remove those images or add the class to the training set."
        )
    return names if names is not None else tuple(str(label) for label in range(count))
