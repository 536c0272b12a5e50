"""Images that a callback looks at, against what its model takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tfnorm.datasets.given.readers import FORMS, Source, is_array
from tfnorm.errors import DataError
from tfnorm.ops.arrays import to_array


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
