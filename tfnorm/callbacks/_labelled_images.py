"""Images with their classes, as a callback is given them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tfnorm.errors import DataError
from tfnorm.mistakes.labels import check_labels
from tfnorm.ops.arrays import to_array
from tfnorm.ops.batches import FORMS, Source, is_array, labelled

# Small batches are joined up to this size, since each call of ``predict`` takes a while to begin.
CHUNK_BYTES = 32 * 2**20


class LabelledImages:
    """Images and their classes: arrays, or batches in any form that ``model.fit`` takes.

    Args:
        x: An array of images; ``(x, y)`` or ``(x, y, weights)`` of arrays; or batches (see `Source`) of images, or of
            ``(images, classes)`` or ``(images, classes, weights)``.
        y: The classes, unless they are in ``x``.
        batches: At most how many batches are read, or None for all.

    Attributes:
        first: A few of the images, for checks.
        labels: Classes, int64, of all images, as far as they are known before all batches are read.
    """

    def __init__(self, x: Any, y: Any = None, batches: int | None = None) -> None:
        if isinstance(x, tuple) and len(x) in (2, 3) and y is None and hasattr(x[0], "shape"):
            x, y = x[:2]
        if is_array(x) or (y is not None and isinstance(x, list | tuple)):
            x, y = [_as_batch(x, y, batches)], None
        self._source = Source(x, batches)
        self._apart: np.ndarray | None = None
        first = next(iter(self._parts()), None)
        if first is None:
            raise DataError(f"`x` must hold at least one batch. Received: an empty {type(x).__name__}. {FORMS}")
        self.first, labels = first
        if y is not None:
            self._apart = self.labels = self._check_apart(x, y, labels)
        elif labels is not None:
            self.labels = check_labels(labels, len(self.first))
        else:
            raise DataError("The batches hold no classes. Give them as `y`, or batches of (images, classes).")

    def _check_apart(self, x: Any, y: Any, labels: Any) -> np.ndarray:
        """Return classes that are given apart from the batches ``x``."""
        if labels is not None:
            raise DataError("The batches of `x` hold classes themselves. Leave out `y`.")
        again, _ = next(iter(self._parts()))
        if not np.array_equal(self.first, again):
            raise DataError(
                "The images of `x` come in another order each time, so that `y` does not fit them. Give batches of "
                "(images, classes), or leave out the shuffling."
            )
        y = to_array(y)
        count = len(y) if y.ndim else 0
        if isinstance(x, Iterator):  # all its images are at hand
            sizes = [len(images) for images, _ in self._parts()]
            if len(sizes) == count < sum(sizes):
                raise DataError(
                    f"The iterator must give batches of images. Received: {count} arrays of shape {self.first.shape}, "
                    "as many as there are classes. Give one array, such as np.stack(list(images))."
                )
            count = sum(sizes)
        return check_labels(y, count)

    def chunks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield images and their classes, some hundred at a time."""
        held: list[tuple[np.ndarray, np.ndarray]] = []
        count = size = 0
        for images, labels in self._parts():
            if self._apart is not None:
                labels = self._apart[count : count + len(images)]
            labels = check_labels(labels, len(images))
            count += len(images)
            if held and (images.shape[1:] != held[0][0].shape[1:] or size >= CHUNK_BYTES):
                yield _joined(held)
                held, size = [], 0
            held.append((images, labels))
            size += images.nbytes
        if held:
            yield _joined(held)
        if self._apart is not None:
            check_labels(self._apart, count)

    def _parts(self) -> Iterator[tuple[np.ndarray, Any]]:
        """Yield images and classes of each batch."""
        for inputs, labels in self._source:
            images, labels = labelled(inputs, labels)
            if len(images):
                yield images, labels


def _as_batch(x: Any, y: Any, batches: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return an array of images and its classes."""
    if y is None:
        raise DataError("There are no classes of the images. Give them as `y`.")
    if batches is not None:
        raise DataError("`batches` belongs to batches, and `x` is an array. Leave it out.")
    try:
        images = to_array(x)
    except ValueError:
        raise DataError(
            "`x` must be one array of images of the same shape. Received: a list of images of different shapes."
        ) from None
    return images, to_array(y)


def _joined(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    if len(parts) == 1:
        return parts[0]
    images, labels = zip(*parts, strict=True)
    return np.concatenate(images), np.concatenate(labels)
