"""A data set in memory: uint8 images, integer labels and their statistics."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np

from tfnorm.datasets.reading import Reading, readable
from tfnorm.datasets.splits import stratified_split
from tfnorm.errors import DataError

# Large enough to be fast, small beside any data set worth measuring.
CHUNK_BYTES = 1 << 20


def row_chunks(rows: int, bytes_per_row: int) -> Iterator[slice]:
    """Yield slices that cover ``rows`` in steps of about one mebibyte.

    Example:
        >>> list(row_chunks(3, 1 << 20))
        [slice(0, 1, None), slice(1, 2, None), slice(2, 3, None)]
    """
    step = max(1, CHUNK_BYTES // max(1, bytes_per_row))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def check_image_size(size: Any) -> tuple[int, int]:
    """Return ``size`` as (height, width); one integer means a square.

    Raises:
        DataError: If it is neither a positive integer nor a pair of them.

    Example:
        >>> check_image_size(32), check_image_size((28, 14))
        ((32, 32), (28, 14))
    """
    pair = (size, size) if isinstance(size, int | np.integer) else size
    valid = (
        isinstance(pair, tuple | list)
        and len(pair) == 2
        and all(isinstance(side, int | np.integer) and not isinstance(side, bool) and side >= 1 for side in pair)
    )
    if not valid:
        raise DataError(
            f"`image_size` must be a positive integer or a pair (height, width) of them. "
            f"Received: image_size={size!r}. Use for example 32, or (32, 24)."
        )
    return int(pair[0]), int(pair[1])


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels of one classification task, split into training and test.

    The arrays are held as read-only views, so that the cached statistics and the fingerprint stay true.

    Args:
        name: The name of the data set in tables and records.
        x_train: Training images (images, height, width, channels), uint8, 0..255.
        y_train: Training labels (images,), int64, 0..num_classes-1.
        x_test: Test images, as ``x_train``.
        y_test: Test labels, as ``y_train``.
        class_names: One name a class, in the order of the labels.
        reading: What is known of the file or folder that was read, or None.

    Example:
        >>> import numpy as np
        >>> x, y = np.zeros((4, 2, 2, 1), "uint8"), np.array([0, 1, 0, 1])
        >>> data = Dataset("tiny", x, y, x, y, ("cat", "dog"))
        >>> data.num_classes, data.input_shape, data.mean, data.std
        (2, (2, 2, 1), array([0.]), array([1.]))
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...]
    reading: Reading | None = None

    def __post_init__(self) -> None:
        """Replace the arrays by read-only views of themselves, and names of classes by plain text."""
        object.__setattr__(self, "class_names", tuple(readable(name) for name in self.class_names))
        for field in ("x_train", "y_train", "x_test", "y_test"):
            view = getattr(self, field).view()
            view.flags.writeable = False
            object.__setattr__(self, field, view)

    def __repr__(self) -> str:
        """Return the name and the sizes instead of the pixels."""
        return (
            f"Dataset({self.name!r}, train={len(self.x_train)}, test={len(self.x_test)}, "
            f"input_shape={self.input_shape}, num_classes={self.num_classes})"
        )

    @property
    def sentences(self) -> list[str]:
        """Sentences on what was read from a file or a folder, and on what may be a mistake there."""
        return self.reading.sentences if self.reading else []

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape of one image: (height, width, channels)."""
        height, width, channels = self.x_train.shape[1:]
        return height, width, channels

    @cached_property
    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        # A histogram of the 256 values per channel is exact: no sum is rounded and no variance cancels.
        channels = self.x_train.shape[-1]
        counts = np.zeros((channels, 256), np.int64)
        for rows in row_chunks(len(self.x_train), self.x_train[0].nbytes):
            for channel in range(channels):
                counts[channel] += np.bincount(self.x_train[rows, ..., channel].ravel(), minlength=256)
        values = np.arange(256, dtype=np.float64)
        total = counts.sum(axis=1)
        mean = counts @ values / total
        variance = (counts * (values - mean[:, None]) ** 2).sum(axis=1) / total
        std = np.where(variance > 0, np.sqrt(variance), 1.0)
        mean.flags.writeable = std.flags.writeable = False
        return mean, std

    @property
    def mean(self) -> np.ndarray:
        """Mean of the training pixels per channel, in pixel units 0..255, float64."""
        return self._moments[0]

    @property
    def std(self) -> np.ndarray:
        """Standard deviation (biased) of the training pixels per channel, in pixel units; 1 where it would be 0."""
        return self._moments[1]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of the four arrays with their shapes and dtypes."""
        digest = hashlib.sha256()
        for field in ("x_train", "y_train", "x_test", "y_test"):
            array = getattr(self, field)
            digest.update(f"{field} {array.dtype.str} {array.shape}\n".encode())
            for rows in row_chunks(len(array), array[0].nbytes):
                digest.update(np.ascontiguousarray(array[rows]).data)
        return digest.hexdigest()

    def resize(self, size: tuple[int, int] | int) -> Dataset:
        """Return the data set with images of another size (bilinear, with Pillow's antialiasing).

        Args:
            size: (height, width) in pixels; one integer means a square.

        Returns:
            This data set itself, nothing copied, if its images have that size already.
        """
        size = check_image_size(size)
        if self.input_shape[:2] == size:
            return self
        return replace(self, x_train=resize_images(self.x_train, size), x_test=resize_images(self.x_test, size))

    def hold_out(self, share: float) -> Dataset:
        """Return the training set alone, split in two: the second part takes the place of the test set.

        Each class gives the same share, and the choice depends on nothing but the data and ``share``.

        Args:
            share: The share of the training images to hold out, above 0 and below 1.

        Raises:
            DataError: If it is not, or if a part would lack a class.

        Example:
            >>> import numpy as np
            >>> x, y = np.zeros((20, 2, 2, 1), "uint8"), np.arange(20) % 2
            >>> Dataset("tiny", x, y, x, y, ("cat", "dog")).hold_out(0.1)
            Dataset('tiny, 10 % held out', train=18, test=2, input_shape=(2, 2, 1), num_classes=2)
        """
        if isinstance(share, bool) or not isinstance(share, Real) or not 0 < share < 1:
            raise DataError(f"The share to hold out must be above 0 and below 1. Received: {share!r}. Use 0.1.")
        try:
            kept, held = map(np.sort, stratified_split(self.y_train, share))
        except ValueError as error:
            raise self._unsplit(share, f"({error})") from None
        x, y = self.x_train, self.y_train
        lacking = set(y.tolist()) - (set(y[kept].tolist()) & set(y[held].tolist()))
        if lacking:
            raise self._unsplit(share, f"{self.class_names[min(lacking)]!r} has only {sum(y == min(lacking))}.")
        return replace(
            self,
            name=f"{self.name}, {100 * share:g} % held out",
            x_train=x[kept],
            y_train=y[kept],
            x_test=x[held],
            y_test=y[held],
        )

    def _unsplit(self, share: float, reason: str) -> DataError:
        return DataError(
            f"The training set of {self.name!r} cannot be split. Received: {share!r} of {len(self.y_train)} images "
            f"to hold out. Each part needs an image of each of {self.num_classes} classes. {reason}"
        )

    def describe(self) -> dict[str, Any]:
        """Return what identifies the data set, ready for JSON."""
        return {
            "name": self.name,
            "input_shape": list(self.input_shape),
            "num_classes": self.num_classes,
            "class_names": list(self.class_names),
            "train_images": len(self.x_train),
            "test_images": len(self.x_test),
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "fingerprint": self.fingerprint,
            **({"reading": self.reading.describe()} if self.reading else {}),
        }


def resize_images(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return uint8 ``images`` (images, height, width, channels) resized to (height, width), bilinear.

    Unless they are RGB, each channel is resized by itself, so that a fourth channel is never taken for opacity.
    """
    from PIL import Image  # start-up

    count, _, _, channels = images.shape
    resized = np.empty((count, *size, channels), np.uint8)
    target = (size[1], size[0])
    for index, image in enumerate(images):
        if channels == 3:
            resized[index] = np.asarray(Image.fromarray(image).resize(target, Image.Resampling.BILINEAR))
        else:
            for channel in range(channels):
                plane = Image.fromarray(np.ascontiguousarray(image[..., channel]))
                resized[index, ..., channel] = np.asarray(plane.resize(target, Image.Resampling.BILINEAR))
    return resized
