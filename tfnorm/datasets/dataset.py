"""A data set: uint8 images, in memory or streamed, integer labels and their statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import numpy as np

from tfnorm.datasets.images import Images, Scan, StreamedImages, parts, select
from tfnorm.datasets.reading import Reading, readable
from tfnorm.datasets.splits import split_off
from tfnorm.errors import DataError, whole_number
from tfnorm.text import counted

if TYPE_CHECKING:
    from tfnorm.datasets.batches import EpochBatches

#: Two disjoint parts of the training images: one to search on, and one to confirm what was found.
Part: TypeAlias = Literal["search", "confirmation"]


def check_image_size(size: Any) -> tuple[int, int]:
    """Return ``size`` as (height, width); one integer means a square. Anything else raises a DataError.

    Example:
        >>> check_image_size(32), check_image_size((28, 14))
        ((32, 32), (28, 14))
    """
    try:
        height, width = size if isinstance(size, tuple | list) else (size, size)
        return whole_number("image_size", height), whole_number("image_size", width)
    except ValueError:
        raise DataError(
            f"`image_size` must be a positive integer or a pair (height, width) of them. "
            f"Received: image_size={size!r}. Use for example 32, or (32, 24)."
        ) from None


def read_rows(
    where: str, y_train: np.ndarray, y_test: np.ndarray, multi_label: bool | None = None
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return training and test labels, rows of 0 and 1 as int64, and whether images may have several.

    Rows that all have a single 1 are one-hot, and become class numbers, unless ``multi_label`` is set. Labels that are
    no such rows come back as they are.

    Args:
        where: What messages call the data.
        y_train: Training labels.
        y_test: Test labels.
        multi_label: Whether images may have several labels; None if the rows are to say it.

    Raises:
        DataError: If rows hold other numbers, or have several 1 where ``multi_label`` is `False`.

    Example:
        >>> rows = np.array([[0, 1], [1, 0]])
        >>> read_rows("data", rows, rows)[0].tolist(), read_rows("data", rows, rows, True)[0].tolist()
        ([1, 0], [[0, 1], [1, 0]])
    """
    parts = {"y_train": y_train, "y_test": y_test}
    if not any(rows.ndim == 2 and rows.shape[1] > 1 for rows in parts.values()):
        if multi_label:
            raise DataError(
                f"{where}: several labels are rows of 0 and 1, (images, classes). Received: y_train of shape "
                f"{y_train.shape}. Leave `multi_label` out for images with one class each."
            )
        return y_train, y_test, False
    if y_train.ndim != 2 or y_train.shape[1:] != y_test.shape[1:]:
        raise DataError(
            f"{where}: y_train and y_test must have the same columns, one for each class. Received: shapes "
            f"{y_train.shape} and {y_test.shape}."
        )
    for name, rows in parts.items():
        if rows.dtype.kind not in "buif" or not np.isin(rows, (0, 1)).all():
            raise DataError(
                f"{where}: {name} of shape {rows.shape} must hold 0 and 1, a column for each class. Received: "
                f"{rows.dtype} with other values. For one class each, pass class numbers of shape (images,)."
            )
    one_hot = all((rows.sum(axis=1) == 1).all() for rows in parts.values())
    if multi_label is False and not one_hot:
        raise DataError(f"{where}: labels have a row without a single 1, and multi_label says that there is none.")
    if one_hot and not multi_label:
        return y_train.argmax(axis=1), y_test.argmax(axis=1), False
    return y_train.astype(np.int64), y_test.astype(np.int64), True


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels of one classification task, split into training and test.

    The arrays are held as read-only views, so that the cached statistics and the fingerprint stay true.

    Args:
        name: The name of the data set in tables and records.
        x_train: Training images (images, height, width, channels), uint8, 0..255: an array, or `StreamedImages`.
        y_train: Training labels: class numbers (images,), int64, 0..num_classes-1; or 0 and 1 for each class, (images,
            classes). Rows of the latter that all have a single 1 become class numbers, unless ``multi_label`` says
            otherwise.
        x_test: Test images, as ``x_train``.
        y_test: Test labels, as ``y_train``.
        class_names: One name a class, in the order of the labels.
        reading: What is known of the file or folder that was read, or None.
        groups: The group of each training image, such as a patient, or None. `hold_out` divides no group.
        multi_label: Whether an image may have several labels, or none. By default the labels say it.
        known_scan: What a pass over these images has found already.

    Raises:
        DataError: If labels of two dimensions are no such rows.

    Example:
        >>> import numpy as np
        >>> x, y = np.zeros((4, 2, 2, 1), "uint8"), np.array([0, 1, 0, 1])
        >>> data = Dataset("tiny", x, y, x, y, ("cat", "dog"))
        >>> data.num_classes, data.input_shape, data.mean, data.std
        (2, (2, 2, 1), array([0.]), array([1.]))
    """

    name: str
    x_train: Images
    y_train: np.ndarray
    x_test: Images
    y_test: np.ndarray
    class_names: tuple[str, ...]
    reading: Reading | None = None
    groups: tuple[str, ...] | None = None
    multi_label: bool | None = None
    known_scan: Scan | None = None

    # What a `tfnorm.datasets.given.pipeline.Pipeline` may have.
    has_weights: ClassVar[bool] = False
    shuffles: ClassVar[bool] = False
    w_test: ClassVar[np.ndarray | None] = None

    def __post_init__(self) -> None:
        """Replace the arrays by read-only views of themselves, and names of classes by plain text."""
        object.__setattr__(self, "class_names", tuple(readable(name) for name in self.class_names))
        y_train, y_test, several = read_rows(f"data {self.name!r}", self.y_train, self.y_test, self.multi_label)
        if several and y_train.shape[1] != self.num_classes:
            raise DataError(
                f"data {self.name!r}: labels must have a column for each of {self.num_classes} classes. Received: "
                f"{y_train.shape[1]} columns."
            )
        for field, value in (("y_train", y_train), ("y_test", y_test), ("multi_label", several)):
            object.__setattr__(self, field, value)
        for field in ("x_train", "y_train", "x_test", "y_test"):
            if not isinstance(getattr(self, field), np.ndarray):
                continue
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
        reading = self.reading or Reading()
        return [*filter(None, [reading.summary]), *reading.notes]

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape of one image as a network takes it: (height, width, channels) of test images."""
        height, width, channels = self.x_test.shape[1:]
        return height, width, channels

    @cached_property
    def scan(self) -> Scan:
        """What one pass over all images finds: their fingerprint, how often each value occurs, a hash of each."""
        if self.known_scan is not None:
            return self.known_scan
        scan = Scan()
        for part, x, y in (("train", self.x_train, self.y_train), ("test", self.x_test, self.y_test)):
            scan.add(part, x.shape, parts(x), y)
        return scan

    @cached_property
    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        # A histogram of the 256 values per channel is exact: no sum is rounded and no variance cancels.
        counts = self.scan.seen["train"].counts
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

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of the four arrays with their shapes and dtypes."""
        return self.scan.fingerprint

    def batches(self, batch_size: int, *, seed: int, drop_remainder: bool = False) -> EpochBatches:
        """Return the training batches of a run, epoch by epoch."""
        from tfnorm.datasets.batches import Batches  # start-up

        return Batches(self.x_train, self.y_train, batch_size, seed=seed, drop_remainder=drop_remainder)

    def as_begun(self, record: Mapping[str, Any]) -> Dataset:
        """Return the data set as a run began with it, of which ``record`` is what `describe` returned."""
        return self

    def for_statistics(self, seed: int) -> Any:
        """Return training images to estimate statistics of batch norms with: an array, or batches."""
        return self.x_train

    def part(self, batches: int, batch_size: int, tests: int) -> Dataset:
        """Return a data set of the first few training and test images, in memory."""
        images = min(len(self.x_train), batches * batch_size)
        return Dataset(
            self.name, self.x_train[:images], self.y_train[:images], self.x_test[:tests], self.y_test[:tests],
            self.class_names, multi_label=self.multi_label,
        )  # fmt: skip

    def read_from(self, where: str, formats: str = "") -> str:
        """Return a sentence on how many images were read from a place."""
        height, width, channels = self.input_shape
        return (
            f"Read {len(self.x_train):,} training and {len(self.x_test):,} test images{formats} of {height}x{width} "
            f"pixels with {counted([channels], 'channel')}, in {self.num_classes} classes, from {where}."
        )

    def resize(self, size: tuple[int, int] | int) -> Dataset:
        """Return the data set with images of another size (bilinear, with Pillow's antialiasing).

        Args:
            size: (height, width) in pixels; one integer means a square.

        Returns:
            This data set itself, nothing copied, if its images have that size already.
        """
        size = check_image_size(size)
        if self.x_train.shape[1:3] == self.x_test.shape[1:3] == size:
            return self
        return self._with_images(
            x_train=_each(self.x_train, resize_images, size), x_test=_each(self.x_test, resize_images, size)
        )

    def _with_images(self, **changes: Any) -> Dataset:
        return replace(self, known_scan=None, **changes)

    def crop_test(self, size: tuple[int, int]) -> Dataset:
        """Return the data set with test images cut to (height, width), as much on all sides; networks take that size.

        Training images keep theirs, for an augmentation that crops them.
        """
        if self.input_shape[:2] == size:
            return self
        return self._with_images(x_test=_each(self.x_test, _middle, size))

    def hold_out(self, share: float, part: Part | None = None) -> Dataset:
        """Return the training set alone, split in two: the second part takes the place of the test set.

        Each class gives the same share, unless images have several labels, and the choice depends on nothing but the
        data and ``share``.

        Args:
            share: The share of the training images to hold out, above 0 and below 1.
            part: "search" or "confirmation" to hold out two parts of that share, neither of which is trained on. The
                one that is named takes the place of the test set. By default there is one part.

        Raises:
            DataError: If the share is another, or if a part would lack a class.

        Example:
            >>> import numpy as np
            >>> x, y = np.zeros((20, 2, 2, 1), "uint8"), np.arange(20) % 2
            >>> Dataset("tiny", x, y, x, y, ("cat", "dog")).hold_out(0.1)
            Dataset('tiny, 10 % held out', train=18, test=2, input_shape=(2, 2, 1), num_classes=2)
        """
        most = 1 if part is None else 0.5
        if not isinstance(share, Real) or not 0 < share < most:
            raise DataError(f"The share to hold out must be above 0 and below {most}. Received: {share!r}. Use 0.1.")
        x, y = self.x_train, self.y_train
        try:
            kept, held = split_off(y, float(share), self.class_names, self.groups)
            if part is not None:
                groups = None if self.groups is None else [self.groups[row] for row in kept]
                rest, other = split_off(y[kept], float(share) / (1 - float(share)), self.class_names, groups)
                kept, held = kept[rest], held if part == "search" else kept[other]
        except ValueError as error:
            raise DataError(
                f"The training set of {self.name!r} cannot be split. Received: {share!r} of {len(y)} images to hold "
                f"out. Each part needs an image of each of {self.num_classes} classes. {error}"
            ) from None
        name = f"{self.name}, {100 * share:g} % held out{'' if part is None else f' for the {part}'}"
        groups = None if self.groups is None else tuple(self.groups[row] for row in kept)
        return self._with_images(
            name=name, x_train=select(x, kept), y_train=y[kept], y_test=y[held], groups=groups,
            x_test=_each(select(x, held), _middle, self.input_shape[:2]),
        )  # fmt: skip

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
            **({"train_size": list(size)} if (size := self.x_train.shape[1:3]) != self.input_shape[:2] else {}),
            **({"multi_label": True} if self.multi_label else {}),
            **({"reading": self.reading.describe()} if self.reading else {}),
        }


def _each(images: Images, function: Callable[..., np.ndarray], size: tuple[int, int]) -> Images:
    """Return images of another (height, width), each what ``function(images, size)`` makes of it."""
    if images.shape[1:3] == size:
        return images
    if isinstance(images, StreamedImages):
        return images.map(lambda batch: function(batch, size), size)
    return function(images, size)


def _middle(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the middle of images, (height, width) pixels of them."""
    top, left = ((side - new) // 2 for side, new in zip(images.shape[1:3], size, strict=True))
    return np.ascontiguousarray(images[:, top : top + size[0], left : left + size[1]])


def resize_images(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return uint8 ``images`` (images, height, width, channels) resized to (height, width), bilinear.

    Unless they are RGB, each channel is resized by itself, so that a fourth channel is never taken for opacity.
    """
    from PIL import Image  # start-up

    def resize(pixels: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR))

    channels = images.shape[-1]
    resized = np.empty((len(images), *size, channels), np.uint8)
    for index, image in enumerate(images):
        if channels == 3:
            resized[index] = resize(image)
        else:
            for channel in range(channels):
                resized[index, ..., channel] = resize(np.ascontiguousarray(image[..., channel]))
    return resized
