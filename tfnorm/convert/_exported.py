"""Exported models run by the program that they are for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfnorm.errors import TfnormError
from tfnorm.keras_settings import is_installed
from tfnorm.ops import screen_closed
from tfnorm.ops.arrays import to_array

# Of sizes that a model leaves open: an image's side, and the length of a sequence.
_SIDE, _LENGTH = 64, 16

# From a batch of each input to the outputs by name.
Runner = Callable[[list[np.ndarray]], dict[str, np.ndarray]]


def _litert_runner(place: Path, job: Any) -> tuple[Runner | None, str]:
    flex = any("Flex" in note for note in job.notes)
    if is_installed("ai_edge_litert") and not flex:
        from ai_edge_litert.interpreter import Interpreter

        program = "ai_edge_litert"
    else:
        import tensorflow as tf

        Interpreter, program = getattr(getattr(tf, "lite", None), "Interpreter", None), "tf.lite"  # noqa: N806
    if Interpreter is None:
        return None, "no LiteRT interpreter is installed; python -m pip install ai-edge-litert brings one"

    def run(batch: list[np.ndarray]) -> dict[str, np.ndarray]:
        # The batch size of a signature is that of its first call.
        runner = Interpreter(model_content=place.read_bytes()).get_signature_runner()
        return runner(**dict(zip(job.names, batch, strict=True)))

    return run, program


def _onnx_runner(place: Path, job: Any) -> tuple[Runner | None, str]:
    if not is_installed("onnxruntime"):
        return None, "onnxruntime is not installed; python -m pip install onnxruntime brings it"
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(place), options, providers=["CPUExecutionProvider"])
    outputs = [entry.name for entry in session.get_outputs()]

    def run(batch: list[np.ndarray]) -> dict[str, np.ndarray]:
        results = session.run(outputs, dict(zip(job.names, batch, strict=True)))
        return dict(zip(outputs, results, strict=True))

    return run, "onnxruntime"


def _saved_model_runner(place: Path, job: Any) -> tuple[Runner | None, str]:
    import tensorflow as tf

    with screen_closed():
        served = tf.saved_model.load(str(place))

    def run(batch: list[np.ndarray]) -> dict[str, np.ndarray]:
        results = job.named(served.serve(job.packed(tensors_of(batch))))
        return {name: result.numpy() for name, result in results.items()}

    return run, "TensorFlow"


# Each takes the file, and what wrote it, and returns None and why if the program is not there.
RUNNERS: dict[str, Callable[[Path, Any], tuple[Runner | None, str]]] = {
    "litert": _litert_runner,
    "onnx": _onnx_runner,
    "tf_saved_model": _saved_model_runner,
}


def share_of(found: np.ndarray, right: np.ndarray) -> float:
    """Return the largest difference as a share of the largest right number; infinite where something is no number.

    Of text, it is 0 if all of it is the same, and infinite otherwise.
    """
    if _is_text(right):
        return 0.0 if np.array_equal(_encoded(found), _encoded(right)) else np.inf
    found, right = wide(found), wide(right)
    if found.shape != right.shape or not np.isfinite(found).all():
        return np.inf
    if not right.size:
        return 0.0
    largest = np.abs(right).max()
    # Such numbers may be rounding alone: an instance norm over one pixel gives 0, and so does what follows it.
    return float(np.abs(found - right).max() / (largest if largest > 1e-5 else 1e-2))


def wide(array: Any) -> np.ndarray:
    return np.asarray(array).astype("float64")


def is_finite(array: Any) -> bool:
    """Return whether an array holds finite numbers alone, or text."""
    return _is_text(array) or bool(np.isfinite(wide(array)).all())


def _is_text(array: Any) -> bool:
    return np.asarray(array).dtype.kind in "OSU"


def _encoded(array: Any) -> np.ndarray:
    """Return text as bytes, which some programs give."""
    array = np.asarray(array, dtype=object)
    texts = [text.encode() if isinstance(text, str) else text for text in array.flat]
    return np.array(texts, dtype=object).reshape(array.shape)


def _numpy_dtype(spec: Any) -> np.dtype:
    """Return the dtype of an input's arrays; NumPy has no bfloat16."""
    return np.dtype("float32" if spec.dtype == "bfloat16" else spec.dtype)


def fitting(given: Any, spec: Any, name: str) -> np.ndarray:
    """Return what a person gave for an input in the dtype of the input, or raise a `TfnormError` if it is another."""
    wanted = ", ".join(["inputs", *("any" if size is None else str(size) for size in spec.shape[1:])])
    must = f"`representative` must have the shape ({wanted}) for the input {name!r}."
    try:
        array = to_array(given)
    except ValueError:
        raise TfnormError(f"{must} Received: arrays of several shapes.") from None
    if array.ndim != len(spec.shape) or not len(array):
        raise TfnormError(f"{must} Received: {array.shape}.")
    if any(size not in (None, found) for size, found in zip(spec.shape[1:], array.shape[1:], strict=True)):
        raise TfnormError(f"{must} Received: {array.shape}.")
    if spec.dtype == "string":
        return np.char.encode(array.astype(str), "utf-8").astype(object)
    dtype = _numpy_dtype(spec)
    must = f"`representative` must hold finite numbers that {dtype} has, for the input {name!r}."
    if array.dtype.kind not in "biufV":  # V: those of ml_dtypes
        raise TfnormError(f"{must} Received: an array of {array.dtype}.")
    with np.errstate(all="ignore"):
        cast = array.astype(dtype)
    if not (np.array_equal(cast, array) if dtype.kind in "biu" else np.isfinite(cast).all()):
        raise TfnormError(f"{must} Received: an array of {array.dtype} from {array.min()} to {array.max()}.")
    return cast


def tensors_of(batch: list[np.ndarray]) -> list[Any]:
    """Return arrays as tensors; text, which only TensorFlow has, too."""
    if any(array.dtype == object for array in batch):
        import tensorflow as tf

        return [tf.constant(array) for array in batch]
    return [keras.ops.convert_to_tensor(array) for array in batch]


def batch_of(array: np.ndarray, start: int, size: int) -> np.ndarray:
    """Return so many rows from ``start`` on, from the beginning again where there are too few."""
    return np.take(array, np.arange(start, start + size), axis=0, mode="wrap")


def random_inputs(spec: Any, model: Any, rng: np.random.Generator, large: bool, size: int) -> np.ndarray:
    """Return random numbers for an input: normal ones, or whole ones such as pixels are."""
    opened = _SIDE if len(spec.shape) > 3 else _LENGTH
    shape = (size, *(opened if each is None else each for each in spec.shape[1:]))
    dtype = _numpy_dtype(spec)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    if dtype.kind in "iu":
        layers = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Embedding)]
        top = min((layer.input_dim for layer in layers), default=256)
        return rng.integers(0, min(top, 127 if dtype == np.int8 else top), shape).astype(dtype)
    return (rng.integers(0, 256, shape) if large else rng.normal(size=shape)).astype(dtype)
