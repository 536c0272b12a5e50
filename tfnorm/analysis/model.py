"""The layers of a Keras model as rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras

from tfnorm.analysis.costs import multiply_adds_of_call
from tfnorm.analysis.reading import VIEWS, read_call
from tfnorm.analysis.rows import Row, activation_bytes
from tfnorm.analysis.trace import Shape, Trace, image
from tfnorm.analysis.windows import SLIDING
from tfnorm.convert.graph import Call, check_graph, walk
from tfnorm.errors import TfnormError, unknown


def model_rows(
    model: keras.Model,
    *,
    input_shape: Sequence[int] | None = None,
    input_name: str | None = None,
    pointwise: tuple[type, ...] = (),
) -> tuple[Row, ...]:
    """Return one row for each call of a layer of ``model``; see `tfnorm.analysis.summary` for the arguments."""
    check_graph(model)
    chosen = _image_input(model, input_name)
    rows = []
    values = []
    for tensor in model.inputs:
        shape, axes = tuple(tensor.shape[1:]), ()
        if tensor is chosen:
            shape = _closed(shape, input_shape)
            axes = _image_axes(model, len(shape))
        values.append(image(shape, axes, str(tensor.dtype)))
        rows.append(Row(_name(tensor), "InputLayer", values[-1]))

    def visit(call: Call) -> list[Trace]:
        outputs = read_call(call, pointwise)
        rows.append(_row(call, outputs, pointwise))
        return outputs

    walk(model, values, visit)
    return tuple(rows)


def _row(call: Call, outputs: list[Trace], pointwise: tuple[type, ...]) -> Row:
    layer, trace = call.operation, outputs[0]
    kind = type(layer).__name__
    notes = []
    if trace.unknown and not any(one.unknown for one in call.inputs):
        notes.append(f"From {call.name!r} ({kind}) on, the receptive field is not known: {trace.unknown}.")
    multiply_adds = multiply_adds_of_call(call, trace.shape)
    if multiply_adds is None and isinstance(layer, pointwise):
        multiply_adds = 0
    if multiply_adds is None and any(None in one.shape for one in (*call.inputs, trace)):
        notes.append("Multiply-adds and activations of layers with an open shape are not counted: give `input_shape`.")
    elif multiply_adds is None:
        notes.append(f"The multiply-adds of {call.name!r} ({kind}) are not counted: its class is not known here.")
    trainable, others = (
        (_count(layer.trainable_weights), _count(layer.non_trainable_weights))
        if call.first and isinstance(layer, keras.Layer)
        else (0, 0)
    )
    sizes = [activation_bytes(one.shape, one.dtype) for one in outputs]
    kept = None if None in sizes else sum(sizes)
    if isinstance(layer, (*VIEWS, keras.layers.Identity)):
        kept = 0
    return Row(call.name, kind, trace, trainable, others, multiply_adds, kept, tuple(notes))


def _count(weights: list[Any]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


def _image_input(model: keras.Model, name: str | None) -> Any:
    """Return the input called ``name``; by default the first of rank 3 or more, as images have, or the first."""
    if name is None:
        return next((tensor for tensor in model.inputs if len(tensor.shape) > 3), model.inputs[0])
    names = [_name(tensor) for tensor in model.inputs]
    if name not in names:
        raise TfnormError(unknown("input", name, names))
    return model.inputs[names.index(name)]


def _name(tensor: Any) -> str:
    """Return the name of the input layer that gives a tensor."""
    return tensor._keras_history.operation.name


def _closed(shape: Shape, given: Sequence[int] | None) -> Shape:
    """Return the shape with its open sides as given."""
    if given is None:
        return shape
    given = tuple(given)
    fits = len(given) == len(shape) and all(
        isinstance(new, int) and new > 0 and old in (None, new) for old, new in zip(shape, given, strict=False)
    )
    if not fits:
        raise TfnormError(
            f"`input_shape` must give every side of the model's input {shape}, without the batch axis, and change only "
            f"those that are None. Received: {given}."
        )
    return given


def _image_axes(model: keras.Model, rank: int) -> range:
    """Return the axes of an input that are not channels, as the model's first layer with a window sees it."""
    windows = [layer for layer in model._flatten_layers() if isinstance(layer, SLIDING)]
    if not windows:
        return range(max(rank - 1, 0))
    first = windows[0]
    if rank == len(first.strides):
        return range(rank)  # images without a channel axis, which the model adds
    return range(1, rank) if first.data_format == "channels_first" else range(rank - 1)
