"""Where norms of a spec go, with groups and shapes that fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from tfnorm.convert.graph import Network, Where
from tfnorm.convert.report import Change
from tfnorm.errors import SpecError
from tfnorm.spec import NormSpec, divisors

Shape = tuple[Any, ...]


@dataclass(frozen=True)
class Place:
    """Where a norm goes: in place of the norm ``layer``, or after that layer.

    The groups of ``spec`` fit, and ``note`` says how they differ from those asked for. ``shape`` and ``axis`` are the
    shape of its inputs and their channel axis, counted from the front.
    """

    layer: Any
    spec: NormSpec
    shape: Shape
    axis: int
    note: str

    @property
    def groups(self) -> int | None:
        """The number of groups of a group normalization."""
        return self.spec.groups_of(self.shape[self.axis]) if self.spec.info.groups else None


def find_places(
    network: Network,
    spec: NormSpec,
    where: Where,
    candidates: Iterable[tuple[Any, str]],
    kind: str,
    shapes_of: Callable[[Any], list[Shape]],
    axis_of: Callable[[Any, int], int],
) -> tuple[dict[int, Place], list[Change]]:
    """Return the places of norms by the ids of layers, and the layers where none goes that were not chosen by name.

    ``candidates`` are layers with the reason why no norm goes there, or "". Messages call them ``kind``. ``shapes_of``
    returns the different shapes of the norm's inputs, ``axis_of`` their channel axis from a layer and the number of
    axes. If a shape does not allow the norm, a `SpecError` says so.
    """
    places: dict[int, Place] = {}
    kept: list[Change] = []
    possible = []
    for layer, reason in candidates:
        if not reason:
            possible.append(layer)
        elif where is None:
            kept.append(network.change(layer, note=reason))
    for layer in network.choose(possible, where, kind):
        shapes = shapes_of(layer)
        axis = axis_of(layer, len(shapes[0]))
        _check_shapes(spec, shapes, network.path(layer))
        fitting, note = _fitted(spec, shapes[0][axis])
        if any(_is_constant(fitting, shape, axis) for shape in shapes):
            kept.append(network.change(layer, note=f"{fitting} would see one number at a time, and make it constant"))
        else:
            places[id(layer)] = Place(layer, fitting, shapes[0], axis, note)
    return places, kept


def _fitted(spec: NormSpec, channels: int) -> tuple[NormSpec, str]:
    """Return ``spec`` with the largest groups, not above those asked for, that divide ``channels``, and a note."""
    for word, unit in (("groups", "groups"), ("group_size", "channels a group")):
        asked = getattr(spec, word)
        if asked is not None and channels % asked:
            found = max(d for d in divisors(channels) if d <= asked)
            return replace(spec, **{word: found}), f"{asked} {unit} do not divide {channels} channels"
    return spec, ""


def _check_shapes(spec: NormSpec, shapes: list[Shape], name: str) -> None:
    """Raise a `SpecError` if a norm with a weight for each pixel is not possible for inputs of ``shapes``."""
    if spec.info.weight_per_pixel and (len(shapes) > 1 or None in shapes[0][1:]):
        raise SpecError(
            f"The norm {spec.kind!r} keeps a weight for each pixel and channel, so each layer needs inputs of one "
            f"known size. Received: {' and '.join(map(str, shapes))} at layer {name!r}. Use 'gn:1', which has a weight "
            "a channel, or give the model a fixed input shape."
        )


def _is_constant(spec: NormSpec, shape: Shape, axis: int) -> bool:
    """Return whether a norm of ``spec`` would see a single number at a time, and give beta whatever it is.

    A norm that subtracts no mean gives the sign of a single number, which is not constant.
    """
    info, channels = spec.info, shape[axis]
    if not info.subtracts_mean or "batch" in info.statistics:
        return False
    one_pixel = all(size == 1 for place, size in enumerate(shape) if place not in (0, axis))
    seen = channels if "channels" in info.statistics else 1
    if "group" in info.statistics:
        seen = channels // spec.groups_of(channels)
    return seen == 1 and (one_pixel or "height" not in info.statistics)
