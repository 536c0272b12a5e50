"""A few batches of the data that a model is checked with."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from tfnorm.analysis.activations import channel_axis, outputs_of_call
from tfnorm.convert.graph import Call, graph_of, in_order, walk
from tfnorm.datasets.images import StreamedImages
from tfnorm.errors import DataError
from tfnorm.ops.arrays import to_array
from tfnorm.ops.batches import Source, check_batch, is_array

# So many batches are looked at; of an array, so many images from all over it in each.
BATCHES, IMAGES = 4, 64


@dataclass(frozen=True, eq=False)
class Seen:
    """What a call gave for some images: the least and the greatest number of each channel."""

    call: Call
    least: np.ndarray
    most: np.ndarray


class Data:
    """A few batches of a model's inputs and labels.

    Args:
        model: The model that takes them.
        x: Inputs: one array, several in a list or a dictionary, or batches as ``model.fit`` takes them.
        y: The labels of arrays; None where there are none, or where the batches have them.
    """

    def __init__(self, model: keras.Model, x: Any, y: Any = None) -> None:
        self.model = model
        self.batches = list(_sliced(x, y) if _whole(x) else _read(x, y))
        if not self.batches or not len(keras.tree.flatten(self.batches[0][0])[0]):
            raise DataError("`x` must hold at least one image. Received: none.")
        for inputs, _ in self.batches:
            check_batch(model, inputs)

    @functools.cached_property
    def labels(self) -> np.ndarray | None:
        """The labels of all batches, or None."""
        if any(labels is None or not is_array(labels) for _, labels in self.batches):
            return None
        return np.concatenate([labels for _, labels in self.batches])

    @functools.cached_property
    def outputs(self) -> np.ndarray:
        """What the model gives for all batches at inference, the first of several outputs."""
        return self.predict()

    def predict(self) -> np.ndarray:
        """Return what the model gives with the weights that it has now."""
        found = [keras.tree.flatten(self.model(inputs, training=False))[0] for inputs, _ in self.batches]
        return np.concatenate([keras.ops.convert_to_numpy(keras.ops.cast(part, "float32")) for part in found])

    @functools.cached_property
    def seen(self) -> list[Seen]:
        """The least and the greatest number of each channel of each call, for the first batch at inference."""
        found: list[Seen] = []

        def visit(call: Call) -> list[Any]:
            outputs = outputs_of_call(call, batch_statistics=False)
            value, rank = outputs[0], len(getattr(outputs[0], "shape", ()))
            dtype = keras.backend.standardize_dtype(value.dtype) if rank > 1 else ""
            if len(outputs) == 1 and keras.backend.is_float_dtype(dtype):
                axes = [place for place in range(rank) if place != channel_axis(call.operation) % rank]
                wide = ops.cast(value, "float32")
                ends = [ops.convert_to_numpy(end(wide, axis=axes)) for end in (ops.min, ops.max)]
                if ends[0].size > 1:
                    found.append(Seen(call, *ends))
            return outputs

        inputs = in_order(self.batches[0][0], graph_of(self.model))
        pairs = zip(inputs, self.model.inputs, strict=True)
        walk(self.model, [ops.convert_to_tensor(part, place.dtype) for part, place in pairs], visit)
        return found

    def accuracy(self, outputs: np.ndarray, logits: bool = False) -> float | None:
        """Return the share of images that outputs get right, or None if these labels are no classes."""
        labels = self.labels
        if labels is None or labels.dtype.kind not in "iufb" or outputs.ndim != 2 or len(labels) != len(outputs):
            return None
        if outputs.shape[1] == 1 and labels.size == len(labels):
            return float(np.mean((outputs[:, 0] > (0.0 if logits else 0.5)) == (labels.reshape(-1) > 0.5)))
        classes = labels.argmax(1) if labels.shape == outputs.shape else labels.reshape(len(labels), -1)
        if classes.ndim == 2 and (classes.shape[1] != 1 or not np.array_equal(classes, np.round(classes))):
            return None
        return float(np.mean(outputs.argmax(1) == classes.reshape(-1)))


def _whole(x: Any) -> bool:
    """Return whether ``x`` is arrays of all images."""
    arrays = isinstance(x, list | tuple) and len(x) and all(map(is_array, x))
    return is_array(x) or isinstance(x, Mapping) or bool(arrays)


def _sliced(x: Any, y: Any) -> Any:
    arrays = keras.tree.map_structure(lambda part: part if isinstance(part, StreamedImages) else to_array(part), x)
    counts = {part.shape[:1] for part in keras.tree.flatten(arrays)}
    if len(counts) != 1 or () in counts:
        raise DataError(f"`x` must hold as many images for each input. Received: {sorted(counts) or 'nothing'}.")
    ((count,),) = counts
    labels = None if y is None else to_array(y)
    if labels is not None and len(labels) != count:
        raise DataError(f"`y` must have a label for each image. Received: {len(labels)} labels, {count} images.")
    chosen = np.random.default_rng(0).permutation(count)[: BATCHES * IMAGES]
    for start in range(0, len(chosen), IMAGES):
        places = np.sort(chosen[start : start + IMAGES])
        part = keras.tree.map_structure(lambda array, places=places: _numbers(array[places]), arrays)
        yield part, None if labels is None else labels[places]


def _read(x: Any, y: Any) -> Any:
    batches = Source(x, BATCHES)
    if y is not None:
        raise DataError("`y` belongs to arrays, and `x` holds batches. Let the batches be pairs (images, labels).")
    for inputs, labels in batches:
        yield keras.tree.map_structure(_numbers, inputs), None if labels is None else to_array(labels)


def _numbers(part: Any) -> np.ndarray:
    """Return an array as the model is called with it: whole numbers of pixels as float32."""
    array = to_array(part)
    return array.astype("float32") if array.dtype.kind in "uib" or array.dtype == "float64" else array
