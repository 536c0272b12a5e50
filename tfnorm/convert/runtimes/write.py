"""From a Keras model to a file that runs without Keras: LiteRT, ONNX, SavedModel."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfnorm.convert.runtimes.check import RUNNERS, batch_of, fitting, is_finite, random_inputs, share_of, tensors_of
from tfnorm.convert.runtimes.formats import FORMATS, check_export, missing_packages
from tfnorm.errors import TfnormError, check_keras_3, first_line
from tfnorm.files import whole_file
from tfnorm.ops import screen_closed

#: The largest difference of outputs from Keras's, as a share of the largest output, that is not an error. Rounding adds
#: up in deep networks, to 1e-4 at most in what was measured; a file that is wrong is off by far more.
TOLERANCE = 1e-3
_CHECKED = 3
_CALIBRATED = 200
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


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Args:
        path: The file, or the folder of a SavedModel.
        format: "LiteRT", "ONNX" or "SavedModel".
        size: In bytes, of all files together.
        inputs: What it takes.
        outputs: What it gives.
        difference: The largest difference of an output from Keras's, as a share of the largest output; None if it was
            not measured.
        checked: On which inputs, and by which program, it was measured; or why it was not.
        notes: What was changed on the way, a sentence each.
    """

    path: Path
    format: str
    size: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    difference: float | None
    checked: str
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"input: {port}" for port in self.inputs] + [f"output: {port}" for port in self.outputs]
        lines += self.notes
        if self.difference is None:
            lines.append(f"Not compared with Keras: {self.checked}.")
        else:
            lines.append(f"Largest difference from Keras: {self.difference:.1e} of the largest output, {self.checked}.")
        lines.append(f"Wrote {self.path}: {self.format}, {self.size:,} bytes")
        return "\n".join(lines)


def export(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    batch_size: int | None = None,
    quantize: str | None = None,
    representative: Any = None,
    overwrite: bool = False,
    check: bool = True,
) -> Exported:
    """Write a model for inference outside of Keras, and compare its outputs with Keras's.

    The ending of ``path`` names the format: .tflite is LiteRT (TensorFlow Lite), .onnx is ONNX, and text that ends in
    "/", which a `pathlib.Path` leaves out, is a folder with a TensorFlow SavedModel. Inputs and outputs are named after
    the layers that they come from. Dropout and batch norm compute as at inference, whatever the model was compiled or
    trained with.

    LiteRT is written on TensorFlow, a SavedModel on TensorFlow or JAX, ONNX on TensorFlow or PyTorch. Layers
    that compute in 16 bits do so in float32 in LiteRT and ONNX files, since those runtimes do not have all operations
    in 16 bits.

    Args:
        model: Any built Keras model; it is not changed. A model without a graph must have one input.
        path: What to write; missing folders are made. It is written whole or not at all.
        batch_size: How many inputs the file takes at a time. Defaults to `None`: any number.
        quantize: For LiteRT. "float16" halves the file; "dynamic" keeps weights in 8 bits and computes with floats;
            "int8" computes in 8 bits where LiteRT can, and needs ``representative``. Inputs and outputs stay floats.
        representative: Inputs such as will come, as the model takes them: an array (inputs, ...), or a list or a
            dictionary of arrays for several inputs. The check uses them too. Defaults to random numbers.
        overwrite: Whether to write over a file, or a SavedModel, that exists. Defaults to `False`. A folder that holds
            other files too is refused.
        check: Whether to run the file and compare, if the program for it is installed. Defaults to `True`.

    Returns:
        What was written: path, format, size, inputs, outputs, the largest difference from Keras.

    Raises:
        TfnormError: If the model or the backend does not allow the export, a package is missing, the path is taken,
            or the outputs, where nothing is quantized, differ from Keras's by more than 1e-3 of the largest one.

    Example:
        >>> written = export(tfnorm.build(norm="gn:2", seed=0), folder / "net.tflite")
        >>> print(written.inputs[0], written.outputs[0], written.difference < 1e-4, sep=", ")
        image (batch, 28, 28, 1) float32, logits (batch, 10) float32, True
    """
    check_keras_3(model)
    if not isinstance(model, keras.Layer):
        raise TfnormError(
            f"A Keras model is needed, such as keras.models.load_model gives. Received: {type(model).__name__}."
        )
    form = check_export(
        path, batch_size=batch_size, quantize=quantize, calibrated=representative is not None, overwrite=overwrite
    )
    if not getattr(model, "built", False):
        raise TfnormError(
            f"The model {model.name!r} has no weights yet. Build it with keras.Input, or call it on a batch first."
        )
    job = _Job(model, form, batch_size, quantize)
    if form != "tf_saved_model":
        job.compute_in_float32()
    given = None if representative is None else job.arranged(representative)
    exact = not quantize and not any(map(_is_quantized, job.model._flatten_layers()))
    place = Path(path)
    placed = _whole_folder if form == "tf_saved_model" else whole_file
    with placed(place) as temporary:
        with screen_closed():
            if form == "litert":
                job.write_litert(temporary, given)
            else:
                {"onnx": job.write_onnx, "tf_saved_model": job.write_saved_model}[form](temporary)
        inputs, outputs = job.ports()
        difference, checked = job.difference(temporary, given) if check else (None, "you asked not to")
        if difference is not None and exact and not difference <= TOLERANCE:
            shares = f"differ by {difference:.1e} of the largest one"
            how = shares if np.isfinite(difference) else "have another shape, or are not finite"
            raise TfnormError(
                f"The {FORMATS[form]} file does not give what Keras gives: outputs {how}, {checked}. Nothing was "
                "written. With check=False, --no-check on the command line, it is written nevertheless."
            )
        size = sum(file.stat().st_size for file in [temporary, *temporary.rglob("*")] if file.is_file())
    return Exported(place, FORMATS[form], size, inputs, outputs, difference, checked, tuple(job.notes))


@dataclass
class _Job:
    """A model on its way to a file.

    Args:
        model: The model; a copy of it once it computes in float32.
        form: Keras's name of the format.
        batch_size: Inputs at a time, or None.
        quantize: How the file is made smaller, or None.
        notes: What there is to say.
    """

    model: Any
    form: str
    batch_size: int | None
    quantize: str | None
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.structure = _input_structure(self.model, self.batch_size)
        self.specs = keras.tree.flatten(self.structure)
        self.names = _names([spec.name for spec in self.specs], "input")

    # What goes in and comes out.

    def ports(self) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
        """Return inputs and outputs as the file has them."""
        inputs = [
            Port(name, tuple(spec.shape), str(spec.dtype)) for name, spec in zip(self.names, self.specs, strict=True)
        ]
        symbols = [keras.KerasTensor(spec.shape, spec.dtype) for spec in self.specs]
        results = self.named(self.model(self.packed(symbols), training=False))
        outputs = [
            Port(name, tuple(result.shape), keras.backend.standardize_dtype(result.dtype))
            for name, result in results.items()
        ]
        return tuple(inputs), tuple(outputs)

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

    def arranged(self, given: Any) -> list[np.ndarray]:
        """Return arrays a person gave, one for each input and in its dtype, or raise a `TfnormError`."""
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
        else:
            parts = list(given) if isinstance(given, list | tuple) and len(self.specs) > 1 else [given]
        if len(parts) != len(self.specs):
            raise TfnormError(
                f"`representative` must have an array for each of {len(self.specs)} inputs. Received: {len(parts)}."
            )
        arrays = [fitting(part, spec, name) for part, spec, name in zip(parts, self.specs, self.names, strict=True)]
        if len({len(array) for array in arrays}) > 1:
            found = ", ".join(f"{len(array)} for {name!r}" for array, name in zip(arrays, self.names, strict=True))
            raise TfnormError(f"`representative` must have as many of one input as of another. Received: {found}.")
        if hasattr(self.model, "look") and len(arrays) == 1:
            self.model.look(arrays[0])
        return arrays

    # Precision.

    def compute_in_float32(self) -> None:
        """Put a copy in float32 in place of a model that computes in 16 bits."""
        found = _sixteen_bits(self.model)
        if not found:
            return
        try:
            copy = _float32_copy(self.model)
            if _sixteen_bits(copy):
                raise TypeError("a layer chooses its precision itself")
        except Exception as error:  # classes of one's own may fail in any way
            raise TfnormError(
                f"The model {self.model.name!r} computes in {' and '.join(found)}, which {FORMATS[self.form]} files do "
                f"not, and it cannot be made again in float32 ({first_line(error)}). Make it under the dtype policy "
                "'float32', and give it these weights."
            ) from error
        self.model = copy
        self.__post_init__()
        self.notes.append(f"Its layers in {' and '.join(found)} compute in float32 in the file.")

    # Writing.

    def serving(self) -> Any:
        """Return a TensorFlow function from the inputs, by name, to a dictionary of the outputs."""
        import tensorflow as tf

        specs = [tf.TensorSpec(s.shape, s.dtype, name) for s, name in zip(self.specs, self.names, strict=True)]

        def serve(*tensors: Any) -> dict[str, Any]:
            # An identity for each: a tensor that is an output twice, or an input too, would lose a name.
            results = self.named(self.model(self.packed(tensors), training=False))
            return {name: tf.identity(result, name) for name, result in results.items()}

        return tf.function(serve, input_signature=specs, autograph=False)

    def write_saved_model(self, place: Path) -> None:
        """Write a SavedModel whose ``serve`` is called as the model is."""
        with self.explained():
            if keras.backend.backend() != "tensorflow":
                self.model.export(str(place), format="tf_saved_model", verbose=False, input_signature=[self.structure])
                return
            archive = keras.export.ExportArchive()
            archive.track(self.model)
            # Keras's `export` leaves a dropout that was called with training=True on, which `predict` does not.
            serve = functools.partial(self.model.__call__, training=False)
            archive.add_endpoint("serve", serve, input_signature=[self.structure])
            archive.write_out(str(place), verbose=False)

    def write_litert(self, place: Path, given: list[np.ndarray] | None) -> None:
        """Write a LiteRT file."""
        import tensorflow as tf

        with tempfile.TemporaryDirectory() as folder, self.explained():
            archive = keras.export.ExportArchive()
            archive.track(self.model)
            archive.add_endpoint("serve", self.serving())
            archive.write_out(folder, verbose=False)
            try:
                content = self.converter(tf, folder, given).convert()
            except Exception as error:
                if "tensor list" in str(error):
                    raise TfnormError(
                        "a recurrent layer needs a fixed number of inputs, such as batch_size=1"
                    ) from None
                if "NEEDS_FLEX_OPS" not in str(error):
                    raise
                converter = self.converter(tf, folder, given)
                kinds = tf.lite.OpsSet
                converter.target_spec.supported_ops = [kinds.TFLITE_BUILTINS, kinds.SELECT_TF_OPS]
                content = converter.convert()
                found = ", ".join(_operations(error))
                self.notes.append(f"It needs LiteRT's Flex delegate, for operations of TensorFlow: {found}.")
        place.write_bytes(content)

    def converter(self, tf: Any, folder: str, given: list[np.ndarray] | None) -> Any:
        """Return TensorFlow's converter with the settings that are asked for."""
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if self.quantize:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if self.quantize == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if self.quantize == "int8" and given is not None:
            size = self.batch_size or 1
            batches = max(len(given[0]) // size, 1)
            # Taken evenly: inputs are often sorted by class.
            starts = size * np.linspace(0, batches - 1, min(batches, _CALIBRATED)).astype(int)
            converter.representative_dataset = lambda: (
                dict(zip(self.names, (batch_of(array, start, size) for array in given), strict=True))
                for start in starts
            )
        return converter

    def write_onnx(self, place: Path) -> None:
        """Write an ONNX file."""
        with self.explained():
            if keras.backend.backend() == "tensorflow":
                self._write_onnx_from_tensorflow(place)
                return
            import onnx

            self.model.export(str(place), format="onnx", verbose=False, input_signature=[self.structure])
            content = onnx.load(str(place))
            entries = [*content.graph.input, *content.graph.output]
            names = [*self.names, *(port.name for port in self.ports()[1])]
            _rename(content.graph, dict(zip((entry.name for entry in entries), names, strict=True)))
            onnx.save(content, str(place))
        if self.batch_size is None and any(_first_size(entry) for entry in entries):
            raise TfnormError(
                "On PyTorch, this version of Keras writes ONNX files that take a fixed number of inputs. Say how many, "
                "for example batch_size=1, --batch-size 1 on the command line, or update Keras."
            )

    def _write_onnx_from_tensorflow(self, place: Path) -> None:
        import onnx
        import tensorflow as tf
        import tf2onnx

        function = self.serving()
        apart = tf.config.functions_run_eagerly()
        try:
            # Keras has functions that XLA compiles, such as convolutions in groups: they become part of the graph.
            tf.config.run_functions_eagerly(True)
            found = function.get_concrete_function()
            content, _ = tf2onnx.convert.from_function(function, function.input_signature)
        finally:
            tf.config.run_functions_eagerly(apart)
        graph = content.graph
        # Tensors that a layer holds, such as the mean of Normalization, arrive as further inputs, without values.
        held = {inner.name: outer for outer, inner in found.graph.captures if outer.dtype != tf.resource}
        used = set(_read_names(graph))
        for entry in [entry for entry in graph.input if entry.name in held]:
            if entry.name in used:
                graph.initializer.append(onnx.numpy_helper.from_array(np.array(held[entry.name]), entry.name))
            graph.input.remove(entry)
        strange = [entry.name for entry in graph.input if entry.name not in self.names]
        if strange:
            raise TfnormError(f"it has no tables to look up words in ({', '.join(strange)})")
        foreign = sorted({node.op_type for node in graph.node if node.domain not in ("", "ai.onnx.ml")})
        known = {schema.name for schema in onnx.defs.get_all_schemas_with_history()}
        foreign += sorted({node.op_type for node in graph.node if not node.domain and node.op_type not in known})
        if foreign:
            raise TfnormError(f"it has no operations for {', '.join(foreign)}")
        _name_sizes(graph)
        place.write_bytes(content.SerializeToString())

    @contextlib.contextmanager
    def explained(self, cannot: str = "be written as") -> Iterator[None]:
        """Turn whatever a converter, or what runs its file, raises into a sentence."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except OSError:
            raise
        except ImportError as error:
            missing = re.findall(r"`?pip install ([\w-]+)", str(error)) or [error.name or first_line(error)]
            raise TfnormError(missing_packages(self.form, missing)) from error
        except Exception as error:
            quantized = sorted({layer.name for layer in self.model._flatten_layers() if _is_quantized(layer)})
            if quantized:
                raise TfnormError(
                    f"{FORMATS[self.form]} does not have what model.quantize made of the layers {', '.join(quantized)} "
                    f"({_cause(error)}). Export the model as it was before, for example with quantize='int8' to a "
                    ".tflite file."
                ) from error
            raise TfnormError(
                f"The model {self.model.name!r} cannot {cannot} {FORMATS[self.form]}: {_cause(error)}. Another "
                "format may do."
            ) from error

    # Checking.

    def difference(self, place: Path, given: list[np.ndarray] | None) -> tuple[float | None, str]:
        """Return the largest difference from Keras as a share of the largest output, and how it was measured."""
        with self.explained("be run as"):
            run, program = RUNNERS[self.form](place, self)
        if run is None:
            return None, program
        size = self.batch_size or _CHECKED
        if given is not None:
            starts = np.linspace(0, max(len(given[0]) - size, 0), 4).astype(int)
            batches = [[batch_of(array, start, size) for array in given] for start in sorted(set(starts))]
            kind = "inputs that you gave"
        elif any(str(spec.dtype) == "string" for spec in self.specs):
            return None, "its inputs are text; give some as `representative`"
        else:
            rng = np.random.default_rng(0)
            batches = [
                [random_inputs(spec, self.model, rng, large, size) for spec in self.specs] for large in (False, True)
            ]
            kind = "random inputs"
        worst = 0.0
        with screen_closed():
            for batch in batches:
                try:
                    results = self.named(self.model(self.packed(tensors_of(batch)), training=False))
                except Exception as error:  # whatever the machine cannot do, or an open size that does not fit
                    return None, f"Keras cannot run the model here ({_cause(error)})"
                right = {name: keras.ops.convert_to_numpy(result) for name, result in results.items()}
                if not all(is_finite(array) for array in right.values()):
                    return None, f"the model gives numbers that are not finite on {kind}"
                try:
                    with self.explained("be run as"):
                        found = run(batch)
                except TfnormError as error:
                    if "Flex" in str(error):
                        return None, "the LiteRT interpreter here is without the Flex delegate"
                    raise
                worst = max(worst, *(share_of(found[name], right[name]) for name in right))
        return worst, f"on {len(batches) * size} {kind}, run by {program}"


# Models, names and files.


def _input_structure(model: Any, batch_size: int | None) -> Any:
    """Return a `keras.InputSpec` for each input of a model, in the structure that the model takes."""

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
        name = plain = _plain(name or otherwise)
        number = 0
        while name in found or name in taken:
            number += 1
            name = f"{plain}_{number}"
        found.append(name)
    return found


def _is_quantized(layer: Any) -> bool:
    return getattr(layer.dtype_policy, "quantization_mode", None) is not None


def _sixteen_bits(model: Any) -> list[str]:
    """Return the types of 16 bits that a model computes in or keeps its weights in."""
    found = {layer.compute_dtype for layer in model._flatten_layers()} | {each.dtype for each in model.variables}
    return sorted(found & set(_SIXTEEN_BITS))


def _float32_copy(model: Any) -> Any:
    """Return a model of the same weights and state whose layers compute in float32."""

    def widened(part: Any, of_policy: bool = False) -> Any:
        if isinstance(part, list):
            return [widened(each) for each in part]
        if not isinstance(part, dict):
            return part
        policy = str(part.get("class_name")).endswith("DTypePolicy")
        return {
            key: "float32"
            if value in names and (key == "dtype" or of_policy)
            else widened(value, of_policy=policy and key == "config")
            for key, value in part.items()
        }

    names = [*_SIXTEEN_BITS, *(f"mixed_{bits}" for bits in _SIXTEEN_BITS)]
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder, "before.keras"), Path(folder, "after.keras")
        model.save(before)
        with zipfile.ZipFile(before) as source, zipfile.ZipFile(after, "w") as target:
            for name in source.namelist():
                data = source.read(name)
                target.writestr(name, json.dumps(widened(json.loads(data))) if name == "config.json" else data)
        return keras.models.load_model(after, compile=False, safe_mode=False)


def _read_names(graph: Any) -> Iterator[str]:
    """Yield the names that the nodes of an ONNX graph read, those of graphs inside nodes included."""
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _read_names(inner)


def _rename(graph: Any, names: dict[str, str]) -> None:
    """Give inputs and outputs of an ONNX graph other names; what had one of those gets an underscore."""
    names = {**{new: f"{new}_" for old, new in names.items() if old != new}, **names}
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for entry in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        entry.name = names.get(entry.name, entry.name)


def _first_size(entry: Any) -> int:
    """Return the batch size of an input or output of an ONNX graph, 0 where it is open."""
    sizes = entry.type.tensor_type.shape.dim
    return sizes[0].dim_value if sizes else 0


def _name_sizes(graph: Any) -> None:
    """Call the batch size of an ONNX graph "batch", in place of a name with a number."""
    opened = {
        entry.type.tensor_type.shape.dim[0].dim_param
        for entry in [*graph.input, *graph.output]
        if entry.type.tensor_type.shape.dim
    }
    for entry in [*graph.input, *graph.output, *graph.value_info]:
        for size in entry.type.tensor_type.shape.dim[:1]:
            if size.dim_param and size.dim_param in opened:
                size.dim_param = "batch"


@contextlib.contextmanager
def _whole_folder(path: Path) -> Iterator[Path]:
    """Give the name of a folder to fill, which takes the place of ``path`` at the end, or is deleted if that fails.

    Where ``path`` is a link, the folder that it points to is replaced.
    """
    given, path = path, Path(os.path.realpath(path))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True, exist_ok=True)
        yield temporary
        old = path.with_name(f".{path.name}.{os.getpid()}.old.tmp")
        if path.exists():
            os.replace(path, old)
        try:
            os.replace(temporary, path)
        except OSError:
            if old.exists():
                os.replace(old, path)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(given)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _operations(error: Exception) -> list[str]:
    """Return the operations that TensorFlow's converter says it cannot write."""
    return sorted(set(re.findall(r"'tf\.(\w+)' op is neither", str(error))))


def _cause(error: Exception) -> str:
    """Return what a converter's error says, without the places in its graph."""
    text = str(error)
    if found := _operations(error):
        return f"it has no operations for {', '.join(found)}"
    text = re.sub(r"\x1b\[\d*m|\{\{.*?\}\} ?", "", text)  # colours, and nodes of a graph
    lines = [re.sub(r"^.*\berror: ", "", line).strip() for line in text.splitlines()]
    places = ("loc(", "<unknown>", "Exception encountered")
    lines = [line for line in lines if line and not line.startswith(places)] or [type(error).__name__]
    return lines[0].rstrip(".")[:300]
