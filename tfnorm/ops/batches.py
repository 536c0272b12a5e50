"""Images in any form that ``model.fit`` takes, arrays or batches, and whether a model takes them."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from tfnorm.errors import DataError, whole_number
from tfnorm.ops.arrays import to_array

# An iterator may have no end. This much of it is kept in memory at most.
MOST_BYTES = 2 * 2**30
FORMS = (
    "Give an array, or batches that can be read again: a tf.data.Dataset, a keras.utils.PyDataset, a PyTorch "
    "DataLoader or a list."
)


class Source:
    """Batches that can be read as often as asked, at most so many of them, or all.

    An iterator, such as a generator, is read at once, and its batches are kept.
    """

    def __init__(self, x: Any, batches: int | None = None) -> None:
        if batches is not None:
            whole_number("batches", batches, error=DataError)
        check_iterable(x)
        self.batches = batches
        if batches is None and is_endless(x):
            raise DataError("The batches have no end. Say how many to read, such as batches=10.")
        self._batches = _kept(x, batches) if isinstance(x, Iterator) else x

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        """Yield the inputs of each batch, and its labels or None."""
        for batch in itertools.islice(self._batches, self.batches):
            yield split(batch, self._batches)[:2]

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy is made of."""
        return {**self.__dict__, "_batches": portable(self._batches, self.batches)}


def check_iterable(x: Any) -> None:
    """Raise a DataError unless batches can be read from ``x``."""
    if isinstance(x, str | bytes) or not (isinstance(x, Iterable) or hasattr(x, "__getitem__")):
        raise DataError(f"`x` must hold images. Received: {type(x).__name__}. {FORMS}")


def split(batch: Any, batches: Any) -> tuple[Any, Any, Any]:
    """Return the inputs, the labels and the weights of one of the ``batches``; None for what it has not."""
    if isinstance(batch, list) and type(batches).__module__.split(".")[0] == "torch":
        batch = tuple(batch)  # a DataLoader's pairs are lists, which elsewhere are the inputs of a model
    if not isinstance(batch, tuple):
        return batch, None, None
    if len(batch) not in (1, 2, 3):
        raise DataError(
            "A batch must be images, (images, classes) or (images, classes, weights). "
            f"Received: a tuple of {len(batch)}."
        )
    inputs, labels, weights = (*batch, None, None)[:3]
    return inputs, labels, weights


def labelled(inputs: Any, labels: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the images of a batch and their classes, or None, as arrays, for a model of one input and one output."""
    if isinstance(inputs, Mapping):
        raise DataError(
            "A batch must be images, or (images, classes). Received: a dictionary of "
            f"{', '.join(map(repr, inputs))}. Make pairs of it, such as with "
            "data.map(lambda batch: (batch['image'], batch['label'])). Models have one input and one output here."
        )
    images = to_array(inputs)
    found = None if labels is None else to_array(labels)
    if images.ndim < 2 or (found is not None and not found.ndim) or images.dtype == object:
        raise DataError(
            "A batch must be an array of images, or a pair of images and classes. Received: "
            f"{type(inputs).__name__} of shape {images.shape}. Make batches, such as with .batch(64)."
        )
    return images, found


def portable(batches: Any, most: int | None) -> Any:
    """Return batches that can be pickled: as they are, or the first ``most`` of them as arrays."""
    if isinstance(batches, list | tuple):
        return batches
    if isinstance(batches, Iterator):  # which a copy would use up
        raise DataError(
            f"A callback that reads its batches from a {type(batches).__name__} cannot be copied or pickled. {FORMS}"
        )
    try:
        pickle.dumps(batches)
    except Exception:  # a tf.data.Dataset, a lock: each raises its own
        pairs = (split(batch, batches)[:2] for batch in itertools.islice(batches, most))
        return [tuple(keras.tree.map_structure(to_array, part) for part in pair if part is not None) for pair in pairs]
    return batches


def is_array(x: Any) -> bool:
    """Return whether ``x`` is one array, in whichever library."""
    return hasattr(x, "shape") and hasattr(x, "dtype")


def is_endless(x: Any) -> bool:
    """Return whether batches are known to have no end."""
    if isinstance(x, keras.utils.PyDataset):
        return x.num_batches is None
    return hasattr(x, "cardinality") and int(x.cardinality()) == -1  # a tf.data.Dataset


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
