"""A model as its file will serve it, with names and a precision that the format has, and why it cannot be served."""

from __future__ import annotations

import itertools
import json
import re
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfnorm.convert.runtimes.formats import FORMATS, missing_packages
from tfnorm.errors import TfnormError, first_line
from tfnorm.ops.arrays import to_array

_SIXTEEN_BITS = ("bfloat16", "float16")


@dataclass(frozen=True)
class Port:
    """An input or an output of an exported model.

    Args:
        name: Its name in the file.
        shape: Its sizes, None where the file leaves one open.
        dtype: Of its numbers.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str

    def __str__(self) -> str:
        sizes = ["batch" if not index and size is None else size or "any" for index, size in enumerate(self.shape)]
        return f"{self.name} ({', '.join(map(str, sizes))}) {self.dtype}"


class ServedModel:
    """A model on its way to a file. The arguments are those of `export`, and ``form`` Keras's name of the format.

    If the format has no 16 bits and the model computes in them, a copy in float32 is taken.
    """

    def __init__(self, model: Any, form: str, batch_size: int | None, quantize: str | None, given: Any) -> None:
        self.model, self.form, self.batch_size, self.quantize = model, form, batch_size, quantize
        self.notes: list[str] = []
        if form != "tf_saved_model" and (found := " and ".join(_sixteen_bits(model))):
            self.model = _float32_copy(model, f"computes in {found}, which {FORMATS[form]} files do not")
            self.notes.append(f"Its layers in {found} compute in float32 in the file.")
        # A `keras.InputSpec` for each input, in the structure that the model takes, and as a list.
        self.structure = _input_structure(self.model, batch_size)
        self.specs = keras.tree.flatten(self.structure)
        self.names = _names([spec.name for spec in self.specs], "input")
        self.given = None if given is None else self._arranged(given)

    def __call__(self, tensors: Sequence[Any]) -> dict[str, Any]:
        """Return the outputs by name for one tensor or array for each input."""
        return self.named(self.model(self.packed(tensors), training=False))

    def packed(self, tensors: Sequence[Any]) -> Any:
        """Return tensors in the structure that the model takes."""
        return keras.tree.pack_sequence_as(self.structure, list(tensors))

    def named(self, outputs: Any) -> dict[str, Any]:
        """Return the outputs of the model by their names."""
        if isinstance(outputs, dict) and not any(isinstance(part, dict | list | tuple) for part in outputs.values()):
            flat, names = list(outputs.values()), list(outputs)
        else:
            flat = keras.tree.flatten(outputs)
            last = [self.model.layers[-1].name] if isinstance(self.model, keras.Sequential) else []
            names = list(getattr(self.model, "output_names", last))
        if len(names) != len(flat):
            names = [f"output_{index}" for index in range(len(flat))] if len(flat) > 1 else ["output"]
        # An ONNX file has one name for one tensor, so that an input which is an output too needs two.
        taken = self.names if self.form == "onnx" else []
        return dict(zip(_names(names, "output", taken), flat, strict=True))

    def ports(self) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
        """Return inputs and outputs as the file has them."""
        symbols = [keras.KerasTensor(spec.shape, spec.dtype) for spec in self.specs]
        inputs, outputs = zip(self.names, symbols, strict=True), self(symbols).items()
        return tuple(itertools.starmap(_port, inputs)), tuple(itertools.starmap(_port, outputs))

    def quantized_layers(self) -> list[str]:
        """Return the names of the layers that `keras.Model.quantize` has changed."""
        layers = self.model._flatten_layers()
        return sorted({each.name for each in layers if getattr(each.dtype_policy, "quantization_mode", None)})

    def _arranged(self, given: Any) -> list[np.ndarray]:
        """Return arrays a person gave, one for each input and in its dtype, or raise a `TfnormError`."""
        parts = list(given) if isinstance(given, list | tuple) and len(self.specs) > 1 else [given]
        if isinstance(given, dict):
            names, plain = self.names, {_plain(str(name)): array for name, array in given.items()}
            if isinstance(self.structure, dict) and set(self.structure) <= set(given):
                names, plain = keras.tree.flatten({key: key for key in self.structure}), given
            if any(name not in plain for name in names):
                raise TfnormError(
                    f"`representative` must have an array for each input: {', '.join(self.names)}. "
                    f"Received: {', '.join(map(str, given)) or 'none'}."
                )
            parts = [plain[name] for name in names]
        if len(parts) != len(self.specs):
            raise TfnormError(
                f"`representative` must have an array for each of {len(self.specs)} inputs. Received: {len(parts)}."
            )
        arrays = [_fitting(part, spec, name) for part, spec, name in zip(parts, self.specs, self.names, strict=True)]
        if len({len(array) for array in arrays}) > 1:
            found = ", ".join(f"{len(array)} for {name!r}" for array, name in zip(arrays, self.names, strict=True))
            raise TfnormError(f"`representative` must have as many of one input as of another. Received: {found}.")
        if hasattr(self.model, "look") and len(arrays) == 1:
            self.model.look(arrays[0])
        return arrays


def _port(name: str, tensor: Any) -> Port:
    return Port(name, tuple(tensor.shape), keras.backend.standardize_dtype(tensor.dtype))


def numpy_dtype(spec: Any) -> np.dtype:
    """Return the dtype of an input's arrays; NumPy has no bfloat16."""
    return np.dtype("float32" if spec.dtype == "bfloat16" else spec.dtype)


def batch_of(array: np.ndarray, start: int, size: int) -> np.ndarray:
    """Return ``size`` rows from ``start`` on; where there are too few, it goes on with the first ones."""
    return np.take(array, np.arange(start, start + size), axis=0, mode="wrap")


def _input_structure(model: Any, batch_size: int | None) -> Any:
    def spec(tensor: Any) -> keras.InputSpec:
        dtype = keras.backend.standardize_dtype(tensor.dtype)
        name = "input" if tensor.name.startswith("keras_tensor") else _plain(tensor.name)  # an input without a name
        return keras.InputSpec(dtype=dtype, shape=(batch_size, *tensor.shape[1:]), name=name)

    inputs = getattr(model, "input", None)
    if inputs is not None and keras.tree.flatten(inputs):
        return keras.tree.map_structure(spec, inputs)
    shape = (model.get_build_config() or {}).get("input_shape")
    if not isinstance(shape, list | tuple) or not all(size is None or isinstance(size, int) for size in shape):
        raise TfnormError(
            f"The model {model.name!r} has no graph, so that only one with a single input that it was called on can be "
            f"exported. Received: {type(model).__name__}. Make it with keras.Model(inputs, outputs)."
        )
    return keras.InputSpec(dtype=model.input_dtype or "float32", shape=(batch_size, *shape[1:]), name="input")


def _plain(name: str) -> str:
    """Return a name of letters that every format takes."""
    name = re.sub(r"\W", "_", name, flags=re.ASCII)
    return name if name[:1].isalpha() else f"x_{name}"


def _names(names: Sequence[str], otherwise: str, taken: Sequence[str] = ()) -> list[str]:
    """Return plain names, each once and none that is taken."""
    found: list[str] = []
    for name in names:
        plain = _plain(name or otherwise)
        numbered = (f"{plain}_{number}" if number else plain for number in itertools.count())
        found.append(next(each for each in numbered if each not in found and each not in taken))
    return found


def _fitting(given: Any, spec: Any, name: str) -> np.ndarray:
    """Return what a person gave for an input in the dtype of the input, or raise a `TfnormError` if it is another."""
    wanted = ", ".join(["inputs", *("any" if size is None else str(size) for size in spec.shape[1:])])
    must = f"`representative` must have the shape ({wanted}) for the input {name!r}."
    try:
        array = to_array(given)
    except ValueError:
        raise TfnormError(f"{must} Received: arrays of several shapes.") from None
    rank = array.ndim == len(spec.shape) and len(array)
    if not rank or any(size not in (None, found) for size, found in zip(spec.shape[1:], array.shape[1:], strict=True)):
        raise TfnormError(f"{must} Received: {array.shape}.")
    if spec.dtype == "string":
        return np.char.encode(array.astype(str), "utf-8").astype(object)
    dtype = numpy_dtype(spec)
    must = f"`representative` must hold finite numbers that {dtype} has, for the input {name!r}."
    if array.dtype.kind not in "biufV":  # V: those of ml_dtypes
        raise TfnormError(f"{must} Received: an array of {array.dtype}.")
    with np.errstate(all="ignore"):
        cast = array.astype(dtype)
    if not (np.array_equal(cast, array) if dtype.kind in "biu" else np.isfinite(cast).all()):
        raise TfnormError(f"{must} Received: an array of {array.dtype} from {array.min()} to {array.max()}.")
    return cast


def _sixteen_bits(model: Any) -> list[str]:
    """Return the types of 16 bits that a model computes in or keeps its weights in."""
    found = {layer.compute_dtype for layer in model._flatten_layers()} | {each.dtype for each in model.variables}
    return sorted(found & set(_SIXTEEN_BITS))


def _float32_copy(model: Any, why: str) -> Any:
    """Return a model of the same weights and state whose layers compute in float32; ``why`` is for messages."""

    def widened(part: Any, of_policy: bool = False) -> Any:
        if isinstance(part, list):
            return [widened(each) for each in part]
        if not isinstance(part, dict):
            return part
        policy = str(part.get("class_name")).endswith("DTypePolicy")
        wide = {key: widened(value, of_policy=policy and key == "config") for key, value in part.items()}
        named = [key for key, value in part.items() if value in names and (key == "dtype" or of_policy)]
        return wide | dict.fromkeys(named, "float32")

    names = [*_SIXTEEN_BITS, *(f"mixed_{bits}" for bits in _SIXTEEN_BITS)]
    try:
        with tempfile.TemporaryDirectory() as folder:
            before, after = Path(folder, "before.keras"), Path(folder, "after.keras")
            model.save(before)
            with zipfile.ZipFile(before) as source, zipfile.ZipFile(after, "w") as target:
                for name in source.namelist():
                    data = source.read(name)
                    target.writestr(name, json.dumps(widened(json.loads(data))) if name == "config.json" else data)
            copy = keras.models.load_model(after, compile=False, safe_mode=False)
        if _sixteen_bits(copy):
            raise TypeError("a layer chooses its precision itself")
    except Exception as error:  # a class of your own may fail in any way
        raise TfnormError(
            f"The model {model.name!r} {why}, and it cannot be made again in float32 ({first_line(error)}). Make it "
            "under the dtype policy 'float32', and give it these weights."
        ) from error
    return copy


@contextmanager
def explained(served: ServedModel, cannot: str = "be written as") -> Iterator[None]:
    """Turn whatever a converter, or what runs its file, raises into a sentence."""
    form = FORMATS[served.form]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except OSError:
        raise
    except ImportError as error:
        missing = re.findall(r"`?pip install ([\w-]+)", str(error)) or [error.name or first_line(error)]
        raise TfnormError(missing_packages(served.form, missing)) from error
    except Exception as error:
        if quantized := served.quantized_layers():
            raise TfnormError(
                f"{form} does not have what model.quantize made of the layers {', '.join(quantized)} "
                f"({cause_of(error)}). Export the model as it was before, or with quantize='int8' to a .tflite file."
            ) from error
        raise TfnormError(
            f"The model {served.model.name!r} cannot {cannot} {form}: {cause_of(error)}. Another format may do."
        ) from error


def missing_operations(error: Exception) -> list[str]:
    """Return the operations that TensorFlow's converter says it cannot write."""
    return sorted(set(re.findall(r"'tf\.(\w+)' op is neither", str(error))))


def cause_of(error: Exception) -> str:
    """Return what a converter's error says, without the places in its graph."""
    if found := missing_operations(error):
        return f"it has no operations for {', '.join(found)}"
    text = re.sub(r"\x1b\[\d*m|\{\{.*?\}\} ?", "", str(error))  # colours, and nodes of a graph
    lines = [re.sub(r"^.*\berror: ", "", line).strip() for line in text.splitlines()]
    places = ("loc(", "<unknown>", "Exception encountered")
    lines = [line for line in lines if line and not line.startswith(places)] or [type(error).__name__]
    return lines[0].rstrip(".")[:300]
