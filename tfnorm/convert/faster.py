"""Putting tfnorm's faster layers in place of Keras's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from tfnorm import layers as ours
from tfnorm._keras import renorms
from tfnorm.convert.clone import clone_with, remake
from tfnorm.convert.graph import Network
from tfnorm.convert.kinds import is_relu, norm_kinds
from tfnorm.convert.report import Report, warn_of_no_change


def accelerate(model: keras.Model, *, return_report: bool = False) -> keras.Model | tuple[keras.Model, Report]:
    """Return the same network with tfnorm's faster norms, dropouts and relus in place of Keras's own.

    Keras's own batch, layer, group and RMS normalization, dropout, ReLU, ``Activation("relu")`` and 16-bit convolutions
    become those of `tfnorm.layers`. All other layers stay: subclasses, layers inside layers of your own, and layers
    with settings that ours do not have. Weights, names, outputs, precisions, what is trainable and random seeds are the
    same, but dropout drops other elements. A compiled model stays compiled, and its optimizer goes on. `to_keras` is
    the way back.

    Args:
        model: A functional or sequential model; it is not changed.
        return_report: Whether to return the report too.

    Returns:
        A new model; with ``return_report`` the pair (model, `Report`). Its file opens where `tfnorm.layers` is
        imported.

    Raises:
        TfnormError: If the model has no graph or a `call` of its own, or is not built yet.

    Example:
        >>> model = tfnorm.convert.accelerate(keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3)))
        >>> type(model.get_layer("bn_Conv1"))
        <class 'tfnorm.layers.BatchNormalization'>
    """
    fast, made = clone_with(model, lambda layer: remake(layer, _fast_class(layer)))
    kinds = {id(old): type(new).__name__ for old, new in made.values() if type(new) is _fast_class(old)}
    network = Network(model)
    changes, kept = [], []
    for layer in network.everything:
        if id(layer) in kinds:
            changes.append(network.change(layer, kinds[id(layer)]))
        elif isinstance(layer, norm_kinds()):
            kept.append(network.change(layer, note=_why_kept(network, layer)))
    if not changes:
        warn_of_no_change("accelerate", model.name, kept, "no norm, dropout or relu of Keras's own")
    return (fast, Report(tuple(changes), tuple(kept))) if return_report else fast


def _fast_class(layer: Any) -> type | None:
    """Return our class for a layer, where that gives the same results."""
    kind, serves = FAST.get(type(layer), (None, None))
    return kind if serves and serves(layer) else None


def _why_kept(network: Network, norm: Any) -> str:
    if type(norm) not in norm_kinds():
        return "a class of its own"
    if type(norm) not in FAST:
        return "a layer of tfnorm already"
    return network.inside(norm) or "it has settings that the layer of tfnorm does not have"


def _batch(layer: Any) -> bool:
    return layer.epsilon > 0 and 0 <= layer.momentum <= 1 and not renorms(layer)


def _group(layer: Any) -> bool:
    return layer.epsilon > 0 and type(layer.groups) is int and layer.axis % _rank(layer) != 0


def _layer(layer: Any) -> bool:
    # Keras gives gamma and beta the axes in the order of their numbers, where -1 stands before 1.
    axes = _axes(layer)
    return layer.epsilon > 0 and not layer.rms_scaling and axes == sorted(set(axes) - {0})


def _rms(layer: Any) -> bool:
    # Keras applies the scale to the last axes, whichever it belongs to.
    rank = _rank(layer)
    return layer.epsilon > 0 and _axes(layer) == list(range(max(rank - len(layer.axis), 1), rank))


def _axes(layer: Any) -> list[int]:
    return [axis % _rank(layer) for axis in layer.axis]


def _rank(layer: Any) -> int:
    return len(layer.get_build_config()["input_shape"])


# Keras's class: ours, and whether it gives the same results for a layer.
FAST: dict[type, tuple[type, Callable[[Any], bool]]] = {
    layers.BatchNormalization: (ours.BatchNormalization, _batch),
    layers.LayerNormalization: (ours.LayerNormalization, _layer),
    layers.GroupNormalization: (ours.GroupNormalization, _group),
    layers.RMSNormalization: (ours.RMSNormalization, _rms),
    layers.Conv2D: (ours.Conv2D, lambda layer: layer.compute_dtype in ("bfloat16", "float16")),
    layers.Dropout: (ours.Dropout, lambda layer: True),
    layers.ReLU: (ours.ReLU, is_relu),
    layers.Activation: (ours.Activation, is_relu),
}
