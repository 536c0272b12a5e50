"""Comparing what a written file gives with what Keras gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfnorm.convert.runtimes.served import ServedModel, batch_of, cause_of, explained, numpy_dtype
from tfnorm.errors import TfnormError
from tfnorm.ops import screen_closed

_CHECKED = 3  # inputs at a time, where the file takes any number
# Of sizes that a model leaves open: an image's side, and the length of a sequence.
_SIDE, _LENGTH = 64, 16

# From a batch of each input to the outputs by name.
Runner = Callable[[list[np.ndarray]], dict[str, np.ndarray]]
Opener = Callable[[ServedModel, Path], tuple[Runner | None, str]]


def difference(served: ServedModel, place: Path, runner: Opener) -> tuple[float | None, str]:
    """Return the largest difference from Keras as a share of the largest output, and how it was measured.

    ``runner`` returns what runs the file and the name of that program, or None and why it is not there.
    """
    with explained(served, "be run as"):
        run, program = runner(served, place)
    if run is None:
        return None, program
    size = served.batch_size or _CHECKED
    if served.given is not None:
        starts = np.linspace(0, max(len(served.given[0]) - size, 0), 4).astype(int)
        batches = [[batch_of(array, start, size) for array in served.given] for start in sorted(set(starts))]
        kind = "inputs that you gave"
    elif any(str(spec.dtype) == "string" for spec in served.specs):
        return None, "its inputs are text; give some as `representative`"
    else:
        rng = np.random.default_rng(0)
        kinds = (False, True)
        batches = [[_random_inputs(spec, served.model, rng, large, size) for spec in served.specs] for large in kinds]
        kind = "random inputs"
    worst = 0.0
    with screen_closed():
        for batch in batches:
            try:
                results = served(tensors_of(batch))
            except Exception as error:  # whatever the machine cannot do, or an open size that does not fit
                return None, f"Keras cannot run the model here ({cause_of(error)})"
            right = {name: keras.ops.convert_to_numpy(result) for name, result in results.items()}
            if not all(_is_text(array) or np.isfinite(_wide(array)).all() for array in right.values()):
                return None, f"the model gives numbers that are not finite on {kind}"
            try:
                with explained(served, "be run as"):
                    found = run(batch)
            except TfnormError as error:
                if "Flex" not in str(error):
                    raise
                return None, "the LiteRT interpreter here is without the Flex delegate"
            worst = max(worst, *(share_of(found[name], right[name]) for name in right))
    return worst, f"on {len(batches) * size} {kind}, run by {program}"


def share_of(found: np.ndarray, right: np.ndarray) -> float:
    """Return the largest difference as a share of the largest right number; infinite if one is not finite.

    For text, it is 0 if all of it is the same, and infinite otherwise.
    """
    if _is_text(right):
        return 0.0 if np.array_equal(_encoded(found), _encoded(right)) else np.inf
    found, right = _wide(found), _wide(right)
    if found.shape != right.shape or not np.isfinite(found).all():
        return np.inf
    if not right.size:
        return 0.0
    largest = np.abs(right).max()
    # Such numbers may be rounding alone: an instance norm over one pixel gives 0, and so does what follows it.
    return float(np.abs(found - right).max() / (largest if largest > 1e-5 else 1e-2))


def tensors_of(batch: list[np.ndarray]) -> list[Any]:
    """Return arrays as tensors; text, which only TensorFlow has, too."""
    if any(array.dtype == object for array in batch):
        import tensorflow as tf  # start-up

        return [tf.constant(array) for array in batch]
    return [keras.ops.convert_to_tensor(array) for array in batch]


def _wide(array: Any) -> np.ndarray:
    return np.asarray(array).astype("float64")


def _is_text(array: Any) -> bool:
    return np.asarray(array).dtype.kind in "OSU"


def _encoded(array: Any) -> np.ndarray:
    """Return text as bytes, which some programs give."""
    array = np.asarray(array, dtype=object)
    texts = [text.encode() if isinstance(text, str) else text for text in array.flat]
    return np.array(texts, dtype=object).reshape(array.shape)


def _random_inputs(spec: Any, model: Any, rng: np.random.Generator, large: bool, size: int) -> np.ndarray:
    """Return random numbers for an input: normal ones, or whole ones such as pixels are."""
    opened = _SIDE if len(spec.shape) > 3 else _LENGTH
    shape = (size, *(opened if each is None else each for each in spec.shape[1:]))
    dtype = numpy_dtype(spec)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    if dtype.kind in "iu":
        layers = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Embedding)]
        top = min((layer.input_dim for layer in layers), default=256)
        return rng.integers(0, min(top, 127 if dtype == np.int8 else top), shape).astype(dtype)
    return (rng.integers(0, 256, shape) if large else rng.normal(size=shape)).astype(dtype)
