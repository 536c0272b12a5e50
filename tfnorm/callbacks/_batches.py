"""What a callback is given to look at: arrays, or batches in any form that ``model.fit`` takes."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from tfnorm.arrays import to_array
from tfnorm.errors import DataError, whole_number
from tfnorm.mistakes import check_labels

# Small batches are joined up to this size, since each call of ``predict`` takes a while to begin.
CHUNK_BYTES = 32 * 2**20
# Of an iterator, which may have no end.
MOST_BYTES = 2 * 2**30
FORMS = (
    "Give an array, or batches that can be read again: a tf.data.Dataset, a keras.utils.PyDataset, a PyTorch "
    "DataLoader or a list."
)


class Source:
    """Batches that can be read as often as asked.

    Args:
        x: Batches. An iterator, such as a generator, is read at once, and its batches are kept.
        batches: At most how many are read; None for all.
    """

    def __init__(self, x: Any, batches: int | None = None) -> None:
        if batches is not None:
            whole_number("batches", batches, error=DataError)
        check_iterable(x)
        self.batches = batches
        if batches is None and _is_endless(x):
            raise DataError("The batches have no end. Say how many to read, such as batches=10.")
        self._batches = _kept(x, batches) if isinstance(x, Iterator) else x

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        """Yield the inputs of each batch, and its labels or None."""
        for batch in itertools.islice(self._batches, self.batches):
            yield split(batch, self._batches)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy is made of."""
        return {**self.__dict__, "_batches": portable(self._batches, self.batches)}


def check_iterable(x: Any) -> None:
    """Raise a DataError unless batches can be read from ``x``."""
    if isinstance(x, str | bytes) or not (isinstance(x, Iterable) or hasattr(x, "__getitem__")):
        raise DataError(f"`x` must hold images. Received: {type(x).__name__}. {FORMS}")


def split(batch: Any, batches: Any) -> tuple[Any, Any]:
    """Return the inputs and the labels, or None, of one of the ``batches``."""
    if isinstance(batch, list) and type(batches).__module__.split(".")[0] == "torch":
        batch = tuple(batch)  # a DataLoader's pairs are lists, which elsewhere are the inputs of a model
    if not isinstance(batch, tuple):
        return batch, None
    if len(batch) not in (1, 2, 3):  # the third are weights
        raise DataError(
            "A batch must be images, (images, classes) or (images, classes, weights). "
            f"Received: a tuple of {len(batch)}."
        )
    return batch[0], batch[1] if len(batch) > 1 else None


def portable(batches: Any, most: int | None) -> Any:
    """Return batches that can be pickled: as they are, or the first ``most`` of them as arrays.

    Raises:
        DataError: If they are an iterator, which a copy would use up.
    """
    if isinstance(batches, list | tuple):
        return batches
    if isinstance(batches, Iterator):
        raise DataError(
            f"A callback that reads its batches from a {type(batches).__name__} cannot be copied or pickled. {FORMS}"
        )
    try:
        pickle.dumps(batches)
    except Exception:  # a tf.data.Dataset, a lock: each raises its own
        pairs = (split(batch, batches) for batch in itertools.islice(batches, most))
        return [tuple(keras.tree.map_structure(to_array, part) for part in pair if part is not None) for pair in pairs]
    return batches


def is_array(x: Any) -> bool:
    """Return whether ``x`` is one array, in whichever library."""
    return hasattr(x, "shape") and hasattr(x, "dtype")


def _is_endless(x: Any) -> bool:
    if isinstance(x, keras.utils.PyDataset):
        return x.num_batches is None
    cardinality = getattr(x, "cardinality", None)  # of a tf.data.Dataset
    return callable(cardinality) and int(cardinality()) == -1


def _kept(iterator: Iterator[Any], batches: int | None) -> list[Any]:
    """Return the batches of an iterator, which can be read once."""
    kept, size = [], 0
    for batch in itertools.islice(iterator, batches):
        kept.append(keras.tree.map_structure(to_array, batch))
        size += sum(array.nbytes for array in keras.tree.flatten(kept[-1]))
        if batches is None and size > MOST_BYTES:
            raise DataError(
                f"The iterator gave {len(kept)} batches of {size / 1e9:.1f} GB together and did not end. They would be "
                f"kept in memory. Say how many to read, such as batches=10. {FORMS}"
            )
    return kept


def joined_inputs(x: Any) -> Any:
    """Return images as arrays: ``x`` itself, or the inputs of all its batches, joined."""
    of_batches = isinstance(x, list) and x and isinstance(x[0], tuple)
    if is_array(x) or (isinstance(x, Mapping | list | tuple) and not of_batches):
        return keras.tree.map_structure(to_array, x)
    found = [keras.tree.map_structure(to_array, inputs) for inputs, _ in Source(x)]
    if not found:
        raise DataError(f"`x` must hold at least one batch. Received: an empty {type(x).__name__}. {FORMS}")
    try:
        return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *found)
    except ValueError:
        shapes = sorted({str(array.shape[1:]) for inputs in found for array in keras.tree.flatten(inputs)})
        raise DataError(
            f"All images must have the same shape. Received: {', '.join(shapes)}. Give batches with .batch(64), and "
            "images of one size."
        ) from None


class LabelledImages:
    """Images and their classes: arrays, or batches in any form that ``model.fit`` takes.

    Args:
        x: An array of images; ``(x, y)`` or ``(x, y, weights)`` of arrays; or batches (see `Source`) of images, or of
            ``(images, classes)`` or ``(images, classes, weights)``.
        y: The classes, unless they are in ``x``.
        batches: At most how many batches are read; None for all.

    Attributes:
        images: The array, or None.
        labels: Classes, int64, of all images, as far as they are known before all batches are read; or None.
        first: A few of the images, for checks.
        first_labels: Their classes.
    """

    def __init__(self, x: Any, y: Any = None, batches: int | None = None) -> None:
        if isinstance(x, tuple) and len(x) in (2, 3) and y is None and hasattr(x[0], "shape"):
            x, y = x[:2]
        self.images = self.labels = self._source = None
        if is_array(x) or (y is not None and isinstance(x, list | tuple)):
            self._take_array(x, y, batches)
            return
        self._source = Source(x, batches)
        first = next(iter(self._parts()), None)
        if first is None:
            raise DataError(f"`x` must hold at least one batch. Received: an empty {type(x).__name__}. {FORMS}")
        self.first, labels = first
        if y is None:
            if labels is None:
                raise DataError("The batches hold no classes. Give them as `y`, or batches of (images, classes).")
            self.first_labels = check_labels(labels, len(self.first))
            return
        if labels is not None:
            raise DataError("The batches of `x` hold classes themselves. Leave out `y`.")
        again, _ = next(iter(self._parts()))
        if self.first.shape != again.shape or not np.array_equal(self.first, again):
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
        self.labels = check_labels(y, count)
        self.first_labels = self.labels[: len(self.first)]

    def _take_array(self, x: Any, y: Any, batches: int | None) -> None:
        if y is None:
            raise DataError("There are no classes of the images. Give them as `y`.")
        if batches is not None:
            raise DataError("`batches` belongs to batches, and `x` is an array. Leave it out.")
        try:
            self.images = to_array(x)
        except ValueError:
            raise DataError(
                "`x` must be one array of images of the same shape. Received: a list of images of different shapes."
            ) from None
        if not self.images.ndim:
            raise DataError(f"`x` must hold images. Received: {type(x).__name__}. {FORMS}")
        self.labels = self.first_labels = check_labels(to_array(y), len(self.images))
        self.first = self.images

    def chunks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield images and their classes, some hundred at a time."""
        if self.images is not None:
            yield self.images, self.labels
            return
        held: list[tuple[np.ndarray, np.ndarray]] = []
        count = size = 0
        for images, labels in self._parts():
            if self.labels is not None:
                labels = self.labels[count : count + len(images)]
            labels = check_labels(labels, len(images))
            count += len(images)
            if held and (images.shape[1:] != held[0][0].shape[1:] or size >= CHUNK_BYTES):
                yield _concatenated(held)
                held, size = [], 0
            held.append((images, labels))
            size += images.nbytes
        if held:
            yield _concatenated(held)
        if self.labels is not None:
            check_labels(self.labels, count)

    def _parts(self) -> Iterator[tuple[np.ndarray, Any]]:
        """Yield images and classes of each batch."""
        for inputs, labels in self._source:
            if isinstance(inputs, Mapping):
                raise DataError(
                    "A batch must be images, or (images, classes). Received: a dictionary of "
                    f"{', '.join(map(repr, inputs))}. Make pairs of it, such as with "
                    "data.map(lambda batch: (batch['image'], batch['label'])). "
                    "The callback is for models with one input and one output."
                )
            images = to_array(inputs)
            labels = None if labels is None else to_array(labels)
            if images.ndim < 2 or (labels is not None and not labels.ndim) or images.dtype == object:
                raise DataError(
                    "A batch must be an array of images, or a pair of images and classes. Received: "
                    f"{type(inputs).__name__} of shape {images.shape}. Make batches, such as with .batch(64)."
                )
            if len(images):
                yield images, labels


def _concatenated(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    images, labels = zip(*parts, strict=True)
    return np.concatenate(images), np.concatenate(labels)


def check_batch(model: keras.Model, batch: Any) -> None:
    """Raise a DataError unless a batch is of arrays, one for each input that ``model`` is known to have."""
    parts = keras.tree.flatten(batch)
    kinds = {type(part).__name__ for part in parts if not hasattr(part, "shape")}
    if kinds:
        raise DataError(
            f"A batch must be an array, or one for each input of the model. Received: {', '.join(sorted(kinds))}. "
            "Make it one with np.asarray."
        )
    inputs = getattr(model, "inputs", None) if model.built else None
    if inputs is not None and len(parts) < len(inputs):
        raise DataError(
            f"A batch must have an array for each of the {len(inputs)} inputs of the model. Received: {len(parts)}."
        )
    if inputs is None or len(inputs) != 1 or not hasattr(batch, "shape"):
        return
    wanted, given = tuple(inputs[0].shape), tuple(batch.shape)
    # Keras adds a last axis of 1, or takes it away.
    for shape in (given, (*given, 1), given[:-1] if given[-1:] == (1,) else given):
        if len(shape) == len(wanted) and all(w in (None, s) for w, s in zip(wanted, shape, strict=True)):
            return
    raise DataError(
        f"A batch must have the shape {wanted}, as the model takes it. Received: {given}. "
        "Give one array of all images, or batches of them."
    )
