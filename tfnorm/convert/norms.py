"""Making a norm from another one: its axes, its settings and its weights by channel."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from tfnorm import layers as ours
from tfnorm._keras import RENORM_SETTINGS
from tfnorm.convert.clone import arguments_of, remake
from tfnorm.layers.create import norm_layer
from tfnorm.spec import NormSpec

# Settings that a spec decides, or that belong to one kind of norm.
_OF_THE_SPEC = {"axis", "groups", "group_size", "synchronized", "rms_scaling", *RENORM_SETTINGS}
# Of a batch norm that neither another one nor a batch gave its own.
NO_STATISTICS = "its moving statistics are 0 and 1"
# Weights that keep their meaning from one norm to another.
_ROLES = ("gamma", "beta", "moving_mean", "moving_variance", "learned")


def axes_of(layer: Any, rank: int) -> list[int]:
    """Return the axes that gamma and beta of a norm span, counted from the front, in their order."""
    if hasattr(layer, "_axes"):  # tfnorm's, which sorts them by their place
        return layer._axes(rank)
    axes = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    return [axis % rank for axis in sorted(axes)]


def channel_axis(layer: Any, rank: int, channels_first: bool | None = None) -> int:
    """Return the axis of the channels, counted from the front, of a norm over one axis or several.

    Whether the channels come first is by default as in Keras's settings.
    """
    if channels_first is None:
        channels_first = keras.config.image_data_format() == "channels_first"
    axes = axes_of(layer, rank)
    return 1 if channels_first and 1 in axes else max(axes)


def could_be_either(layer: Any, rank: int) -> bool:
    """Return whether a norm spans both the first and the last axis: either may be that of the channels."""
    axes = axes_of(layer, rank)
    return min(axes) == 1 and max(axes) > 1


def make_norm(spec: NormSpec, name: str, shape: tuple[int | None, ...], axis: int):
    """Return a norm layer for inputs of ``shape`` with channels on ``axis``."""
    return norm_layer(spec, name=name, rank=len(shape), axis=-1 if axis == len(shape) - 1 else axis)


def successor(old: Any, spec: NormSpec, shape: tuple[int | None, ...], axis: int):
    """Return a norm of ``spec`` with the name and the settings of ``old`` that it has too, without its weights."""
    new = make_norm(spec, old.name, shape, axis)
    settings, taken = _settings_for(old, type(new)), arguments_of(type(new)) - _OF_THE_SPEC
    if not settings["epsilon"] > 0:
        del settings["epsilon"]
    config = new.get_config() | {key: value for key, value in settings.items() if key in taken}
    return remake(old, type(new), config)


def _settings_for(old: Any, kind: type) -> dict[str, Any]:
    """Return the configuration of ``old``, with the penalty on its gamma called as ``kind`` calls it."""
    settings = old.get_config()
    penalties = [settings.pop(key, None) for key in ("gamma_regularizer", "scale_regularizer")]
    name = "scale_regularizer" if issubclass(kind, ours.RMSNormalization) else "gamma_regularizer"
    return settings | {name: next((penalty for penalty in penalties if penalty is not None), None)}


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
