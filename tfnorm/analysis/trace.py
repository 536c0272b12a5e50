"""What a layer gives, followed through a network: its shape and the receptive field along each axis of the image.

Imports no Keras: plans of networks and Keras's graphs are both followed with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from tfnorm.analysis.field import Field, merged, same_padding

Shape = tuple[int | None, ...]
OPEN = "what it reads depends on the image's size; give `input_shape`"


@dataclass(frozen=True)
class Trace:
    """The output of a layer.

    Attributes:
        shape: Without the batch axis.
        fields: The receptive field along each axis of the image.
        places: The axis of ``shape`` along which each axis of the image lies, None where it is no longer there.
        unknown: Why the fields are not known, or None.
        context: Whether the statistics of a norm, here or before, are over the image's axes.
        dtype: Such as "float32".
    """

    shape: Shape
    fields: tuple[Field, ...] = ()
    places: tuple[int | None, ...] = ()
    unknown: str | None = None
    context: bool = False
    dtype: str = "float32"


@dataclass(frozen=True)
class Window:
    """A window along one axis, as in `Field.window`, with its padding: "same", "valid" or "causal"."""

    size: int
    stride: int = 1
    dilation: int = 1
    padding: str = "valid"

    def over(self, field: Field, length: int | None) -> Field:
        """Return the field of ``length`` units that each read a window of the units of ``field``."""
        before, known = 0, True
        if self.padding == "causal":
            before = self.dilation * (self.size - 1)
        elif self.padding == "same":
            before, known = same_padding(field.length, self.size, self.stride, self.dilation)
        new = field.window(self.size, self.stride, self.dilation, before=before, length=length)
        return new if known else replace(new, placed=False)


def without_batch(axis: int, rank: int) -> int:
    """Return an axis counted with the batch axis as one of ``rank`` axes without it; -1 for the batch."""
    return axis % (rank + 1) - 1


def axes_of(axes: int | Iterable[int] | None, rank: int) -> set[int]:
    """Return what `without_batch` gives for an axis, for several, or, for None, for all."""
    given = range(rank + 1) if axes is None else [axes] if isinstance(axes, int) else axes
    return {without_batch(axis, rank) for axis in given}


def unknown(trace: Trace, shape: Shape, why: str) -> Trace:
    """Return a trace of ``shape`` whose receptive field is not known."""
    return replace(trace, shape=shape, unknown=why)


def image(shape: Shape, axes: Iterable[int], dtype: str = "float32") -> Trace:
    """Return the trace of an image whose ``axes`` are followed."""
    places = tuple(axes)
    return Trace(shape, tuple(Field(length=shape[place]) for place in places), places, dtype=dtype)


def along(trace: Trace, shape: Shape, change: Callable[[int, Field], Field]) -> Trace:
    """Return a trace of ``shape`` whose fields along each axis that is still there are ``change(axis, field)``."""
    fields = [
        field if place is None else replace(change(place, field), length=shape[place])
        for place, field in zip(trace.places, trace.fields, strict=True)
    ]
    return replace(trace, shape=shape, fields=tuple(fields))


def mixed(trace: Trace, shape: Shape, axes: Iterable[int], *, kept: bool = False) -> Trace:
    """Return a trace of ``shape`` in which every unit reads all units along ``axes`` of ``trace``.

    If they are ``kept``, the axes stay, with one unit.
    """
    chosen = set(axes)
    pairs = [
        (field.gathered(), place if kept else None) if place in chosen else (field, place)
        for field, place in zip(trace.fields, trace.places, strict=True)
    ]
    return replace(trace, shape=shape, fields=tuple(f for f, _ in pairs), places=tuple(p for _, p in pairs))


def renumbered(trace: Trace, shape: Shape, number: Callable[[int], int | None]) -> Trace:
    """Return a trace of ``shape`` in which axis ``i`` has become axis ``number(i)``."""
    return replace(trace, shape=shape, places=tuple(None if p is None else number(p) for p in trace.places))


def reshaped(trace: Trace, shape: Shape) -> Trace:
    """Return the trace after a change of shape: flattened axes are read whole, others stay as they are."""
    old = trace.shape

    def before(sides: Shape) -> tuple[int, int]:
        return sides.count(None), math.prod(side for side in sides if side is not None)

    def new_place(place: int) -> int | None:
        same = (i for i, side in enumerate(shape) if side == old[place] and before(shape[:i]) == before(old[:place]))
        return next(same, None)

    lost = [p for p in trace.places if p is not None and new_place(p) is None]
    if any(old[place] != 1 for place in lost) and len(shape) > 1:
        return unknown(trace, shape, "it rearranges the axes of the image")
    return renumbered(mixed(trace, old, lost), shape, new_place)


def joined(traces: Sequence[Trace], shape: Shape) -> Trace:
    """Return the trace of units that read the units at the same place of several traces, which may be broadcast."""
    context = any(trace.context for trace in traces)
    why = next((trace.unknown for trace in traces if trace.unknown), None)
    with_axes = [trace for trace in traces if trace.fields]
    if why or not with_axes:
        return replace(traces[0], shape=shape, unknown=why, context=context)
    fields, places = [], []
    for axis in range(len(with_axes[0].fields)):
        parts = [trace.fields[axis] for trace in with_axes]
        # Shapes are aligned at their last axes.
        pairs = [(trace.places[axis], len(trace.shape)) for trace in with_axes]
        found = [None if place is None else place - rank for place, rank in pairs]
        along_axis = {p for p, part in zip(found, parts, strict=True) if p is not None and part.length != 1}
        if len(along_axis) > 1:
            return unknown(traces[0], shape, "its inputs have the axes of the image in other places")
        if len({part.jump > 0 for part in parts if part.length != 1 and part.size}) > 1:
            return unknown(traces[0], shape, "it joins an image with its mirror image")
        place = next(iter(along_axis or {p for p in found if p is not None}), None)
        places.append(None if place is None else place + len(shape))
        fields.append(merged(parts))
    return replace(with_axes[0], shape=shape, fields=tuple(fields), places=tuple(places), context=context)
