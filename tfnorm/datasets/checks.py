"""Checks of images and labels: each broken rule raises a sentence of its own. What may be a mistake is remarked on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tfnorm.datasets.dataset import Dataset, read_rows
from tfnorm.errors import DataError


def check_image_array(where: str, name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Raise DataError unless ``shape`` and ``dtype`` can be those of images."""
    images = f"{where}: {name}"
    if dtype.kind not in "uif":
        raise DataError(
            f"{images} must hold numbers, uint8 in 0..255. Received: dtype {dtype}. "
            f"Convert it with {name}.astype('uint8')."
        )
    if len(shape) not in (3, 4):
        raise DataError(
            f"{images} must have shape (images, height, width) or (images, height, width, channels). "
            f"Received: shape {shape}. Reshape it."
        )
    if shape[0] == 0:
        raise DataError(f"{images} must hold at least one image. Received: shape {shape}. Add images.")
    # One to four channels come first, and what would be channels is a side of a picture; images of so few rows may
    # have up to seven channels.
    if len(shape) == 4 and shape[1] <= 4 < shape[2] and (shape[3] > 7 or shape[2] == shape[3]):
        really = (
            f" If they are images of {shape[1]} rows, {shape[2]} columns and {shape[3]} channels, exchange rows and "
            f"columns with {name}.transpose(0, 2, 1, 3)."
        )
        raise DataError(
            f"{images} must have its channels last. Received: shape {shape}, which looks like (images, channels, "
            f"height, width). Transpose it with {name}.transpose(0, 2, 3, 1)."
            + ("" if shape[2] == shape[3] else really)
        )
    if 0 in shape:
        raise DataError(
            f"{where}: the images of {name} must have at least one pixel. Received: shape {shape}. "
            "Save the images again."
        )


def _read_labels(where: str, name: str, labels: np.ndarray) -> np.ndarray:
    """Return ``labels`` as int64 (images,). The shape (images, 1) is flattened, and whole floats are converted."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    must = f"{where}: {name} must"
    if labels.ndim != 1:
        raise DataError(
            f"{must} have shape (images,), or (images, classes) with 0 and 1. Received: shape {labels.shape}. Give one "
            "label an image, or a column for each class."
        )
    if labels.dtype.kind not in "uif":
        raise DataError(
            f"{must} hold integers 0..K-1. Received: dtype {labels.dtype}. "
            "Number the classes, and put their names in an array class_names."
        )
    if not np.isfinite(labels).all():
        raise DataError(f"{must} hold finite labels. Received NaN or infinity. Remove those images.")
    broken = labels[labels != np.rint(labels)]
    if broken.size:
        raise DataError(f"{must} hold whole numbers. Received: {broken[0]:g}. Number the classes 0..K-1.")
    strange = labels[(labels < 0) | (labels > np.iinfo(np.int64).max // 2)]
    if strange.size:
        raise DataError(f"{must} hold labels 0..K-1. Received: {strange[0]:g}. Number the classes from 0.")
    return labels.astype(np.int64)


def make_dataset(
    name: str,
    where: str,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    class_names: Iterable[Any] | None = None,
    multi_label: bool | None = None,
) -> Dataset:
    """Return the Dataset of uint8 images and raw labels, or raise a DataError if they do not fit each other.

    ``where`` is the file, folder or name, for the messages. By default the classes are called by their numbers, and
    labels of two dimensions say themselves whether an image may have several; see `Dataset`.
    """
    x, y = {}, {}
    *labels_of_both, several = read_rows(where, np.asarray(train[1]), np.asarray(test[1]), multi_label)
    for part, images, labels in zip(("train", "test"), (train[0], test[0]), labels_of_both, strict=True):
        check_image_array(where, f"x_{part}", images.shape, images.dtype)
        x[part] = images.reshape(*images.shape[:3], -1) if isinstance(images, np.ndarray) else images
        y[part] = labels if several else _read_labels(where, f"y_{part}", labels)
        if len(x[part]) != len(y[part]):
            raise DataError(
                f"{where}: x_{part} and y_{part} must have the same length. "
                f"Received: {len(x[part])} images and {len(y[part])} labels. Give one label an image."
            )
    if x["train"].shape[1:] != x["test"].shape[1:]:
        raise DataError(
            f"{where}: training and test images must have one shape (height, width, channels). "
            f"Received: {x['train'].shape[1:]} and {x['test'].shape[1:]}. Resize or convert one of them."
        )
    present = (np.flatnonzero(y["train"].any(axis=0)) if several else np.unique(y["train"])).tolist()
    last = y["train"].shape[1] - 1 if several else present[-1]
    names = range(last + 1) if class_names is None else tuple(class_names)
    count = len(names)
    if last >= count:
        raise DataError(
            f"{where}: class_names must name every class. Received: {count} names and the label {last}. "
            "Add the missing names."
        )
    if len(present) != count:
        missing = next(label for label, found in enumerate([*present, -1]) if label != found)
        raise DataError(
            f"{where}: every class 0..{count - 1} must have a training image. Received none of class {missing}. "
            + ("Leave its column out." if several else "Number the classes 0..K-1 without gaps.")
        )
    if count < 2:
        raise DataError(f"{where}: there must be at least two classes. Received: {count}. Add images of another class.")
    if not several and y["test"].max() >= count:
        raise DataError(
            f"{where}: test labels must be among the {count} training classes, 0..{count - 1}. "
            f"Received: {y['test'].max()} in y_test. Remove those images or add the class to the training set."
        )
    return Dataset(name, x["train"], y["train"], x["test"], y["test"], tuple(names), multi_label=several)


def remarks(data: Dataset, name_of: Callable[[str, int], str]) -> tuple[list[str], list[str]]:
    """Return a sentence for each kind of probable mistake, and the names of test images that are training images too.

    Of a part that `Dataset.scan` has not seen, nothing is known.

    The mistakes are images of one colour, repeated images and different ranges. ``name_of`` returns the name of an
    image, given "train" or "test" and its index.

    Example:
        >>> x, y = np.zeros((2, 4, 4, 1), "uint8"), np.array([0, 1])
        >>> found, _ = remarks(Dataset("black", x, y, x, y, ("0", "1")), lambda part, index: f"x_{part}[{index}]")
        >>> found[0]
        'Images of one colour, with nothing to learn from: 4 of 4, such as x_train[0].'
    """
    seen: dict[bytes, tuple[str, int, int]] = {}
    constant: list[str] = []
    twins: list[tuple[str, str]] = []
    leaked: list[str] = []
    contradictory = 0
    for part, found in data.scan.seen.items():
        labels = data.y_train if part == "train" else data.y_test
        constant += [name_of(part, index) for index in found.constant]
        for index, digest in enumerate(found.digests):
            earlier, place, label = seen.setdefault(digest, (part, index, labels[index]))
            if (earlier, place) != (part, index):
                twins.append((name_of(earlier, place), name_of(part, index)))
                if (earlier, part) == ("train", "test"):
                    leaked.append(name_of(part, index))
                contradictory += not np.array_equal(labels[index], label)
    total = sum(len(found.digests) for found in data.scan.seen.values())
    said = []
    if constant:
        said.append(
            f"Images of one colour, with nothing to learn from: {len(constant):,} of {total:,}, such as {constant[0]}."
        )
    if twins:
        first, second = twins[0]
        said.append(
            f"Images that are the same as an earlier one: {len(twins):,} of {total:,}, such as {second}, which is the "
            f"same as {first}."
            + (
                f" Test images that are training images too: {len(leaked):,} ({', '.join(leaked[:3])}"
                f"{' and more' if leaked[3:] else ''}). They raise the accuracy."
                if leaked
                else ""
            )
            + (f" In another class than the earlier one: {contradictory:,}." if contradictory else "")
        )
    highest = [found.highest for found in data.scan.seen.values()]
    if min(highest) <= 1 < max(highest):
        said.append(
            f"The highest value of the training images is {highest[0]}, and that of the test images {highest[1]}. "
            "Probably only one of them was divided by 255. Save both in 0..255."
        )
    return said, leaked
