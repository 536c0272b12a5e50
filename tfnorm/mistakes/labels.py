"""Checks that classes, their names, images and outputs fit together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfnorm.datasets.images import Images, StreamedImages
from tfnorm.datasets.reading import readable
from tfnorm.errors import DataError
from tfnorm.ops.arrays import to_array


def check_classes(
    y_true: np.ndarray, shape: tuple[int, ...], class_names: Sequence[str] | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return classes and their names, or raise a DataError if they and outputs of ``shape`` do not fit."""
    if len(shape) != 2 or shape[1] < 1:
        raise DataError(
            f"`logits` must have the shape (images, classes), or (images, 1) with two classes. Received: shape {shape}."
        )
    count, classes = shape[0], max(shape[1], 2)  # one output tells two classes apart
    return check_labels(y_true, count, classes), check_names(class_names, classes)


def check_labels(y_true: np.ndarray, count: int, classes: int | None = None) -> np.ndarray:
    """Return integers, (images,) or (images, 1), or one-hot rows as int64 (count,), or raise a DataError."""
    labels = to_array(y_true)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    elif labels.ndim == 2 and labels.shape[1] > 1 and labels.dtype.kind in "buif":
        labels = _from_one_hot(labels, classes)
    if labels.ndim != 1:
        raise DataError(
            "The classes must be integers of shape (images,), or one-hot rows of shape (images, classes). "
            f"Received: shape {labels.shape}."
        )
    if len(labels) != count:
        raise DataError(
            f"There must be one class for each image. Received: {len(labels)} classes, {count} images. "
            "Pass the classes of the same images, in the same order."
        )
    if labels.dtype.kind not in "buif":
        raise DataError(
            f"The classes must be integers. Received: an array of {labels.dtype}. "
            "Turn names into integers with np.unique(y, return_inverse=True)[1]."
        )
    if len(labels) and not np.all(np.equal(np.mod(labels, 1), 0)):
        raise DataError(f"The classes must be integers. Received: {labels[np.mod(labels, 1) != 0][0]}.")
    labels = labels.astype(np.int64)
    if classes is not None and len(labels) and (labels.min() < 0 or labels.max() >= classes):
        raise DataError(
            f"The classes must lie between 0 and {classes - 1}, as the model tells {classes} classes apart. "
            f"Received: classes from {labels.min()} to {labels.max()}."
        )
    return labels


def _from_one_hot(rows: np.ndarray, classes: int | None) -> np.ndarray:
    """Return the class of each one-hot row."""
    if classes is not None and rows.shape[1] != classes:
        raise DataError(
            f"One-hot rows must have a column for each of the {classes} classes. Received: {rows.shape[1]} columns."
        )
    odd = np.flatnonzero((np.count_nonzero(rows, axis=1) != 1) | (rows.max(axis=1) != 1))
    if len(odd):
        raise DataError(
            "Each image must have one class: an integer, or a row with a single 1. "
            f"Received: {rows[odd[0]].tolist()} for image {odd[0]}. Images of several classes at a time (multi-label) "
            "and soft labels are not taken. For soft labels, pass y.argmax(axis=1)."
        )
    return rows.argmax(axis=1)


def check_names(class_names: Sequence[str] | None, classes: int) -> tuple[str, ...]:
    """Return one name for each class, or raise a DataError if there are too many or too few."""
    if class_names is None:
        return tuple(str(label) for label in range(classes))
    if isinstance(class_names, str) or len(class_names) != classes:
        received = repr(class_names) if isinstance(class_names, str) else f"{len(class_names)} names"
        raise DataError(f"`class_names` must list one name for each of the {classes} classes. Received: {received}.")
    return tuple(readable(name) for name in class_names)


def check_images(images: Images, count: int) -> Images:
    """Return images as an array, unless they are streamed, if their shape can be drawn and they are ``count``."""
    images = images if isinstance(images, StreamedImages) else to_array(images)
    if images.ndim not in (3, 4):
        raise DataError(
            "`images` must have the shape (images, height, width) or (images, height, width, channels). "
            f"Received: shape {images.shape}."
        )
    if len(images) != count:
        raise DataError(f"`images` must be the {count} images that were classified. Received: {len(images)} images.")
    return images
