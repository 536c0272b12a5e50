"""Norms of a spec in a model: where they go, with groups that fit, and what they take over from other norms."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from keras import layers

from tfnorm import layers as ours
from tfnorm._keras import RENORM_SETTINGS
from tfnorm.convert.clone import arguments_of, remake
from tfnorm.convert.graph import Network, Where
from tfnorm.convert.report import Change
from tfnorm.errors import SpecError
from tfnorm.layers.create import norm_layer
from tfnorm.spec import NormSpec, divisors

# Settings that a spec decides, or that belong to one kind of norm.
_OF_THE_SPEC = {"axis", "groups", "group_size", "synchronized", "frozen", "rms_scaling", *RENORM_SETTINGS}
# Weights that keep their meaning from one norm to another.
_ROLES = ("gamma", "beta", "moving_mean", "moving_variance", "learned")

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
        fitting, note = fit(spec, shapes, axis, network.path(layer))
        if fitting is None:
            kept.append(network.change(layer, note=note))
        else:
            places[id(layer)] = Place(layer, fitting, shapes[0], axis, note)
    return places, kept


def fit(spec: NormSpec, shapes: list[Shape], axis: int, name: str) -> tuple[NormSpec | None, str]:
    """Return the spec of a norm for inputs of ``shapes`` with groups that divide the channels, and a note about them.

    None, and why, where the norm would make its input constant. ``name`` is what errors call its place.
    """
    _check_shapes(spec, shapes, name)
    fitting, note = _fitted(spec, shapes[0][axis])
    if any(_is_constant(fitting, shape, axis) for shape in shapes):
        return None, f"{fitting} would see one number at a time, and make it constant"
    return fitting, note


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
            f"known size. Received: {' and '.join(map(str, shapes))} at layer {name!r}. Use 'gn:1', or give "
            "the model a fixed input shape."
        )


def _is_constant(spec: NormSpec, shape: Shape, axis: int) -> bool:
    """Return whether a norm of ``spec`` would see a single number at a time, and give beta whatever it is."""
    info, channels = spec.info, shape[axis]
    # Without a mean, the sign of the number is left; statistics of no axis are fixed numbers.
    if not info.subtracts_mean or not info.statistics or "batch" in info.statistics:
        return False
    one_pixel = all(size == 1 for place, size in enumerate(shape) if place not in (0, axis))
    seen = channels if "channels" in info.statistics else 1
    if "group" in info.statistics:
        seen = channels // spec.groups_of(channels)
    return seen == 1 and (one_pixel or "height" not in info.statistics)


def axes_of(layer: Any, rank: int) -> list[int]:
    """Return the axes that gamma and beta of a norm span, counted from the front, in their order."""
    if hasattr(layer, "_axes"):  # tfnorm's, which sorts them by their place
        return layer._axes(rank)
    axes = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    return [axis % rank for axis in sorted(axes)]


def could_be_either(layer: Any, rank: int) -> bool:
    """Return whether a norm spans both the first and the last axis: either may be that of the channels."""
    axes = axes_of(layer, rank)
    return min(axes) == 1 and max(axes) > 1


def make_norm(spec: NormSpec, name: str, shape: Shape, axis: int):
    """Return a norm layer for inputs of ``shape`` with channels on ``axis``."""
    return norm_layer(spec, name=name, rank=len(shape), axis=-1 if axis == len(shape) - 1 else axis)


def successor(old: Any, spec: NormSpec, shape: Shape, axis: int):
    """Return a norm of ``spec`` with the name and the settings of ``old`` that it has too, without its weights."""
    new = make_norm(spec, old.name, shape, axis)
    settings, taken = _settings_for(old, type(new)), arguments_of(type(new)) - _OF_THE_SPEC
    if not settings["epsilon"] > 0:
        del settings["epsilon"]
    config = new.get_config() | {key: value for key, value in settings.items() if key in taken}
    config["trainable"] = old.trainable and new.trainable
    return remake(old, type(new), config)


def _settings_for(old: Any, kind: type) -> dict[str, Any]:
    """Return the configuration of ``old``, with the penalty on its gamma called as ``kind`` calls it."""
    settings = old.get_config()
    penalties = [settings.pop(key, None) for key in ("gamma_regularizer", "scale_regularizer")]
    name = "scale_regularizer" if issubclass(kind, ours.RMSNormalization) else "gamma_regularizer"
    return settings | {name: next((penalty for penalty in penalties if penalty is not None), None)}


def of_statistics(norm: Any, *, fresh: bool) -> str:
    """Return a note about the moving statistics of a norm that was put into a model, or "".

    ``fresh`` says that neither another norm nor a batch gave it its own.
    """
    frozen = ""
    if getattr(norm, "frozen", False) is True:
        frozen = "frozen statistics" if norm.trainable else "frozen statistics, gamma and beta"
    return ", ".join(filter(None, (frozen, "its moving statistics are 0 and 1" if fresh else "")))


def weight_of(layer: Any, role: str) -> Any:
    """Return the weight of a norm that has ``role``, or None; an RMS scale is a gamma."""
    if isinstance(layer, layers.RMSNormalization):
        return layer.scale if role == "gamma" else None
    return getattr(layer, role, None)


def carry_weights(old: Any, new: Any, rank: int, axis: int) -> list[str]:
    """Give ``new`` the weights of ``old`` that it has too, and return notes about what is lost."""
    notes = []
    for role in _ROLES:
        weight, successor_weight = weight_of(old, role), weight_of(new, role)
        if weight is None:
            continue
        value = np.asarray(weight)
        if successor_weight is None:
            if role == "beta" and np.any(value):
                notes.append("its beta is dropped")
        elif role == "learned" or axes_of(old, rank) == axes_of(new, rank):
            successor_weight.assign(value)
        else:
            channels = by_channel(value, old, rank, axis)
            if np.any(along(channels, old, rank, axis, value.shape) != value):
                notes.append(f"its {role} is averaged over the pixels")
            successor_weight.assign(along(channels, new, rank, axis, tuple(successor_weight.shape)))
    taken = arguments_of(type(new))
    for key, value in _settings_for(old, type(new)).items():  # penalties and constraints on weights
        if value is not None and key.endswith(("_regularizer", "_constraint")) and key not in taken:
            notes.append(f"its {key} is dropped")
    return notes


def by_channel(value: np.ndarray, layer: Any, rank: int, axis: int) -> np.ndarray:
    """Return the mean of a weight of ``layer`` for each channel, in float64: exact for equal numbers."""
    others = tuple(place for place, spanned in enumerate(axes_of(layer, rank)) if spanned != axis)
    return np.asarray(value, "float64").mean(axis=others)


def along(channels: np.ndarray, layer: Any, rank: int, axis: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return a number a channel as a weight of ``shape`` of the norm ``layer``."""
    places = [1] * len(shape)
    places[axes_of(layer, rank).index(axis)] = -1
    return np.broadcast_to(channels.reshape(places), shape)
