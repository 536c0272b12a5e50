"""Writing and running an ONNX file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx

from tfnorm.convert.runtimes.check import Runner
from tfnorm.convert.runtimes.served import ServedModel, explained
from tfnorm.errors import TfnormError
from tfnorm.keras_settings import is_installed

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
    import tf2onnx

    from tfnorm.convert.runtimes.saved_model import serving_function


def write(served: ServedModel, place: Path) -> None:
    """Write an ONNX file."""
    with explained(served):
        if keras.backend.backend() == "tensorflow":
            _write_from_tensorflow(served, place)
            return
        served.model.export(str(place), format="onnx", verbose=False, input_signature=[served.structure])
        content = onnx.load(str(place))
        entries = [*content.graph.input, *content.graph.output]
        names = [*served.names, *(port.name for port in served.ports()[1])]
        _rename(content.graph, dict(zip((entry.name for entry in entries), names, strict=True)))
        onnx.save(content, str(place))
    if served.batch_size is None and any(size.dim_value for entry in entries for size in _batch_sizes(entry)):
        raise TfnormError(
            "On PyTorch, this version of Keras writes ONNX files that take a fixed number of inputs. Say how many, "
            "for example batch_size=1, --batch-size 1 on the command line, or update Keras."
        )


def runner(served: ServedModel, place: Path) -> tuple[Runner | None, str]:
    """Return a function that runs the file and the name of the program, or None and why there is none."""
    if not is_installed("onnxruntime"):
        return None, "onnxruntime is not installed; python -m pip install onnxruntime brings it"
    import onnxruntime  # start-up

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(place), options, providers=["CPUExecutionProvider"])
    outputs = [entry.name for entry in session.get_outputs()]

    def run(batch: list[np.ndarray]) -> dict[str, np.ndarray]:
        results = session.run(outputs, dict(zip(served.names, batch, strict=True)))
        return dict(zip(outputs, results, strict=True))

    return run, "onnxruntime"


def _write_from_tensorflow(served: ServedModel, place: Path) -> None:
    function = serving_function(served)
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
    strange = [entry.name for entry in graph.input if entry.name not in served.names]
    if strange:
        raise TfnormError(f"it has no tables to look up words in ({', '.join(strange)})")
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history()}
    foreign = {node.op_type for node in graph.node if node.domain not in ("", "ai.onnx.ml")}
    foreign |= {node.op_type for node in graph.node if not node.domain and node.op_type not in known}
    if foreign:
        raise TfnormError(f"it has no operations for {', '.join(sorted(foreign))}")
    # Call the batch size "batch", in place of a name with a number.
    opened = {size.dim_param for size in _batch_sizes(*graph.input, *graph.output)}
    for size in _batch_sizes(*graph.input, *graph.output, *graph.value_info):
        if size.dim_param and size.dim_param in opened:
            size.dim_param = "batch"
    place.write_bytes(content.SerializeToString())


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


def _batch_sizes(*entries: Any) -> list[Any]:
    """Return the first size of each input, output or tensor inside of an ONNX graph that has one."""
    return [size for entry in entries for size in entry.type.tensor_type.shape.dim[:1]]
