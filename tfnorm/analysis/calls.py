"""How operations read their input if the arguments decide it: slices, stacks, splits, einsum, products, attention."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
from keras import layers

from tfnorm._keras import CORE, OPS
from tfnorm.analysis.field import Field
from tfnorm.analysis.trace import OPEN, Shape, Trace, along, axes_of, joined, mixed, renumbered, unknown, without_batch
from tfnorm.convert.graph import Call

CallReader = Callable[[Call, Sequence[Shape]], list[Trace]]
BATCH = "it mixes the images of a batch"


def argument_reader(operation: Any) -> CallReader | None:
    """Return what gives the traces of the outputs of a call, of some shapes; None if its arguments decide nothing."""
    return next((reader for kinds, reader in READERS if isinstance(operation, kinds)), None)


def _unknown(trace: Trace, shapes: Sequence[Shape], why: str) -> list[Trace]:
    return [unknown(trace, shape, why) for shape in shapes]


def _taken(field: Field, length: int | None, part: slice) -> Field | None:
    """Return the field of the units that a slice takes of ``length`` units; None if the length must be known for it."""
    start, stop, step = part.start, part.stop, part.step
    if length is None:
        if any(number is not None and number < 0 for number in (start, stop, step)):
            return None
        return field.window(1, step or 1, before=-(start or 0))
    start, stop, step = part.indices(length)
    return field.window(1, step, before=-start, length=len(range(start, stop, step)))


def _sliced(call: Call, shapes: Sequence[Shape]) -> list[Trace]:
    trace, key = (*call.args, *call.kwargs.values())[:2]
    parts = list(key) if isinstance(key, tuple | list) else [key]
    simple = (Integral, slice, type(None), type(Ellipsis))
    if not isinstance(trace, Trace) or not all(isinstance(part, simple) for part in parts):
        return _unknown(call.inputs[0], shapes, "which units it takes is computed, and not known here")
    if Ellipsis not in parts:
        parts.append(Ellipsis)
    named = sum(part is not None and part is not Ellipsis for part in parts)
    at = parts.index(Ellipsis)
    parts[at : at + 1] = [slice(None)] * (len(trace.shape) + 1 - named)
    if parts[0] != slice(None):
        return _unknown(trace, shapes, "it takes some images of a batch")
    fields, places = list(trace.fields), list(trace.places)
    old = new = 0
    for part in parts[1:]:
        if part is None:
            new += 1
            continue
        where = [axis for axis, place in enumerate(trace.places) if place == old]
        for axis in where:
            length = trace.shape[old]
            if isinstance(part, slice):
                found, places[axis] = _taken(fields[axis], length, part), new
            elif length is None and part < 0:
                found = None
            else:
                unit = int(part) % length if length else int(part)
                found, places[axis] = replace(fields[axis], spans=(fields[axis].at(unit),), length=1), None
            if found is None:
                return _unknown(trace, shapes, OPEN)
            fields[axis] = found if places[axis] is None else replace(found, length=shapes[0][new])
        old, new = old + 1, new + isinstance(part, slice)
    return [replace(trace, shape=shapes[0], fields=tuple(fields), places=tuple(places))]


def _stacked(call: Call, shapes: Sequence[Shape]) -> list[Trace]:
    (shape,) = shapes
    axis = without_batch(call.operation.axis, len(shape))
    if axis < 0:
        return _unknown(call.inputs[0], shapes, BATCH)
    moved = [
        renumbered(trace, (*trace.shape[:axis], 1, *trace.shape[axis:]), lambda place: place + (place >= axis))
        for trace in call.inputs
    ]
    return [joined(moved, shape)]


def _parted(call: Call, shapes: Sequence[Shape]) -> list[Trace]:
    """Return the traces of the parts of a split, or of the single units that ``unstack`` gives."""
    trace, operation = call.inputs[0], call.operation
    axis = without_batch(operation.axis, len(trace.shape))
    if axis < 0:
        return _unknown(trace, shapes, BATCH)
    split = isinstance(operation, OPS.Split)
    sizes = [shape[axis] for shape in shapes] if split else [1] * len(shapes)
    if axis in trace.places and None in sizes:
        return _unknown(trace, shapes, OPEN)
    traces, start = [], 0
    for shape, size in zip(shapes, sizes, strict=True):
        end = start + (size or 0)
        fields = [
            _taken(field, trace.shape[axis], slice(start, end)) if place == axis else field
            for field, place in zip(trace.fields, trace.places, strict=True)
        ]
        part = replace(trace, shape=shape, fields=tuple(fields))
        if not split:
            part = renumbered(part, shape, lambda place: None if place == axis else place - (place > axis))
        traces.append(part)
        start = end
    return traces


def _flipped(call: Call, shapes: Sequence[Shape]) -> list[Trace]:
    (trace,), axes = call.inputs, axes_of(call.operation.axis, len(shapes[0]))
    if -1 in axes:
        return _unknown(trace, shapes, BATCH)
    if any(trace.shape[place] is None for place in trace.places if place in axes):
        return _unknown(trace, shapes, OPEN)

    def change(place: int, field: Field) -> Field:
        return _taken(field, trace.shape[place], slice(None, None, -1)) if place in axes else field

    return [along(trace, shapes[0], change)]


def _rolled(call: Call, shapes: Sequence[Shape]) -> list[Trace]:
    (trace,) = call.inputs
    if axes_of(call.operation.axis, len(shapes[0])) & {-1, *trace.places}:
        return _unknown(trace, shapes, "it moves pixels across the edge of the image to the other side")
    return [replace(trace, shape=shapes[0])]


def _repeated(call: Call, shapes: Sequence[Shape]) -> list[Trace]:
    (trace,), operation = call.inputs, call.operation
    times = operation.repeats
    axis = -1 if operation.axis is None else without_batch(operation.axis, len(trace.shape))
    if axis < 0 or not isinstance(times, Integral):
        return _unknown(trace, shapes, "which units it repeats is not followed")

    def change(place: int, field: Field) -> Field:
        return field.resampled(1, times, lambda unit: (unit // times,)) if place == axis else field

    return [along(trace, shapes[0], change)]


def _reordered(call: Call, shapes: Sequence[Shape]) -> list[Trace]:
    (trace,), operation, rank = call.inputs, call.operation, len(shapes[0]) + 1
    axes = np.empty(range(rank))  # each as long as its number, so that the new shape is the new order
    if isinstance(operation, OPS.Transpose):
        axes = np.transpose(axes, operation.axes)
    elif isinstance(operation, OPS.Swapaxes):
        axes = np.swapaxes(axes, operation.axis1, operation.axis2)
    else:
        axes = np.moveaxis(axes, operation.source, operation.destination)
    if axes.shape[0] != 0:
        return _unknown(trace, shapes, BATCH)
    return [renumbered(trace, shapes[0], lambda place: axes.shape.index(place + 1) - 1)]


def einsum_labels(call: Call) -> tuple[list[list[Any]], list[Any]]:
    """Return the labels of the axes of each operand of an einsum, batch axis included, and of its result.

    Axes that "..." stands for are negative numbers, counted from the last.
    """
    terms, arrow, result = call.operation.subscripts.replace(" ", "").partition("->")
    operands = terms.split(",")
    if not arrow:
        once = sorted(label for label in set(terms) - set(".,") if terms.count(label) == 1)
        result = "..." * ("..." in terms) + "".join(once)
    ranks = [len(operand.shape) + isinstance(operand, Trace) for operand in call.args]
    hidden = [rank - len(labels.replace("...", "")) for labels, rank in zip(operands, ranks, strict=True)]

    def spelled(labels: str, count: int) -> list[Any]:
        before, dots, after = labels.partition("...")
        return [*before, *(range(-count, 0) if dots else ()), *after]

    return [spelled(*pair) for pair in zip(operands, hidden, strict=True)], spelled(result, max(hidden))


def _einsum(call: Call, shapes: Sequence[Shape]) -> list[Trace]:
    terms, result = einsum_labels(call)
    moved = []
    for labels, operand in zip(terms, call.args, strict=True):
        if not isinstance(operand, Trace):
            continue
        if not result or len(set(labels)) < len(labels) or result[0] != labels[0]:
            return _unknown(call.inputs[0], shapes, f"what {call.operation.subscripts!r} reads is not followed")
        moved.append(contracted(operand, labels[1:], result[1:], shapes[0]))
    return [joined(moved, shapes[0])]


def contracted(trace: Trace, labels: Sequence[Any], result: Sequence[Any], shape: Shape) -> Trace:
    """Return the trace whose axes are called ``labels`` after a sum over those that are not in ``result``."""
    summed = [place for place, label in enumerate(labels) if label not in result]
    found = mixed(trace, trace.shape, summed)
    return renumbered(found, shape, lambda place: list(result).index(labels[place]))


def _dotted(call: Call, shapes: Sequence[Shape]) -> list[Trace]:
    axes = call.operation.axes
    summed = [
        without_batch(axis, len(trace.shape))
        for axis, trace in zip((axes, axes) if isinstance(axes, int) else axes, call.inputs, strict=True)
    ]
    names = [[(number, axis) for axis in range(len(trace.shape))] for number, trace in enumerate(call.inputs)]
    left = [name for operand in names for name in operand if name[1] != summed[name[0]]]
    moved = [contracted(*pair, left, shapes[0]) for pair in zip(call.inputs, names, strict=True)]
    return [joined(moved, shapes[0])]


def _matmul(call: Call, shapes: Sequence[Shape]) -> list[Trace]:
    (shape,), moved = shapes, []
    for number, operand in enumerate((*call.args, *call.kwargs.values())[:2]):
        if not isinstance(operand, Trace):
            continue
        rank = len(operand.shape)
        if rank != len(shape) or (number == 1 and rank < 2):
            return _unknown(call.inputs[0], shapes, "it joins axes of other numbers, which is not followed")
        moved.append(replace(mixed(operand, operand.shape, [rank - 2 if number else rank - 1]), shape=shape))
    return [joined(moved, shape)]


ATTENTIONS = (layers.Attention, layers.MultiHeadAttention, layers.GroupQueryAttention)


def attention_inputs(call: Call) -> list[Trace]:
    """Return query, value and key of a call of an attention layer, however they were given."""
    if isinstance(call.operation, layers.Attention):
        query, value, *keys = call.args[0] if call.args else call.kwargs["inputs"]
        key = keys[0] if keys else None
    else:
        given = {**dict(zip(("query", "value", "key"), call.args, strict=False)), **call.kwargs}
        query, value, key = given["query"], given["value"], given.get("key")
    found = [query, value, value if key is None else key]
    return [one if isinstance(one, Trace) else Trace(tuple(one.shape[1:])) for one in found]


def _attending(call: Call, shapes: Sequence[Shape]) -> list[Trace]:
    """Return the trace of queries that each read all values: their reach."""
    layer, (query, *others) = call.operation, attention_inputs(call)
    masked = call.kwargs.get("use_causal_mask") or getattr(layer, "sliding_window", None)
    masks = [trace for trace in call.inputs if not any(trace is one for one in (query, *others))]
    if masked or any(trace.fields for trace in masks) or any(len(one.shape) != len(query.shape) for one in others):
        return _unknown(call.inputs[0], shapes, "which of the values a mask lets it read is not followed")
    rank = len(query.shape)
    given = getattr(layer, "_attention_axes", None) or range(1, rank)
    attended = [without_batch(axis, rank) for axis in given]
    sources = [mixed(trace, trace.shape, [*attended, rank - 1]) for trace in others]
    first = joined([mixed(query, query.shape, [rank - 1]), *sources], shapes[0])
    return [first, *(mixed(first, shape, range(len(shapes[0]))) for shape in shapes[1:])]


READERS: tuple[tuple[tuple[type, ...], CallReader], ...] = (
    ((OPS.GetItem,), _sliced),
    ((OPS.Stack,), _stacked),
    ((OPS.Split, CORE.Unstack), _parted),
    ((OPS.Flip,), _flipped),
    ((OPS.Roll,), _rolled),
    ((OPS.Repeat,), _repeated),
    ((OPS.Transpose, OPS.Swapaxes, OPS.Moveaxis), _reordered),
    ((OPS.Einsum,), _einsum),
    ((OPS.Matmul,), _matmul),
    ((layers.Dot,), _dotted),
    (ATTENTIONS, _attending),
)
