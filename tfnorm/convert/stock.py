"""Putting Keras's own layers in place of tfnorm's."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import keras
from keras import layers

from tfnorm import layers as ours
from tfnorm.convert.clone import clone_with, config_of, is_container, remake
from tfnorm.convert.graph import check_graph
from tfnorm.errors import TfnormError
from tfnorm.layers.image_classifier import ImageClassifier

PACKAGE = "tfnorm>"


def to_keras(model: keras.Model) -> keras.Model:
    """Return the same network in Keras's own layers, with the same weights, names and outputs.

    Its file opens without tfnorm. Weight-standardized convolutions get the standardized kernel. Penalties that Keras
    does not have (`L2Norm`, `Sum`, any on an RMS scale) and the settings `unbiased_moving_variance` and `frozen` of a
    batch norm are left out with a warning: they change training, not outputs. The result is compiled, unless loss,
    optimizer or metrics are tfnorm's.

    Args:
        model: A functional or sequential model; it is not changed.

    Returns:
        A new model.

    Raises:
        TfnormError: If a layer has no counterpart in Keras, or is one of tfnorm inside another layer, or the model
            has no graph or a `call` of its own, or is not built yet.

    Example:
        >>> stock = to_keras(tfnorm.build(norm="gn:2"))
        >>> type(stock.get_layer("conv1_norm")).__module__.split(".")[0]
        'keras'
    """
    check_graph(model)
    strange = _without_counterpart(model)
    if strange:
        raise TfnormError(
            f"Keras has no counterpart of these layers: {', '.join(strange)}. "
            "Keep the model as it is and import tfnorm.layers before loading it."
        )
    dropped: list[str] = []
    not_compiled: list[str] = []

    def compiles(part: keras.Model) -> bool:
        names = dict.fromkeys(_compiled_with(part))
        if names:
            not_compiled.append(f"{part.name} ({', '.join(names)})")
        return not names

    stock, _ = clone_with(
        model,
        lambda layer: _stock_layer(layer, dropped),
        _stock_weights,
        compiles=compiles,
        class_of=lambda part: keras.Model if type(part) is ImageClassifier else type(part),
    )
    for kind in ("penalties", "settings"):
        if names := [name for name in dropped if name.endswith("_regularizer") == (kind == "penalties")]:
            warnings.warn(f"Keras has no counterpart of these {kind}, left out: {', '.join(names)}.", stacklevel=2)
    if not_compiled:
        warnings.warn(
            f"Keras has no counterpart of what these models are compiled with: {', '.join(not_compiled)}. "
            "The result is not compiled.",
            stacklevel=2,
        )
    return stock


def _without_counterpart(model: keras.Model) -> list[str]:
    """Return names and classes of the layers of tfnorm that cannot become Keras's own, those inside others included."""
    everything = list(model._flatten_layers(include_self=False))
    holders: dict[int, Any] = {}
    for layer in everything:
        if not is_container(layer):
            holders |= {id(part): layer for part in layer._flatten_layers(include_self=False)}
    strange = []
    for layer in everything:
        kind = type(layer)
        if any(_names_of_ours(keras.saving.get_registered_name(kind))) and kind is not ImageClassifier:
            if id(layer) in holders:
                strange.append(f"{layer.name} ({kind.__name__} inside the layer {holders[id(layer)].name!r})")
            elif _stock_class(layer) is None:
                strange.append(f"{layer.name} ({kind.__name__})")
        for key in ("activation", "recurrent_activation"):  # tfnorm has activations that old files need
            function = getattr(layer, key, None)
            registered = keras.saving.get_registered_name(function) if isinstance(function, FunctionType) else None
            strange += [f"{layer.name} (with {name})" for name in _names_of_ours(registered)]
    return strange


def _names_of_ours(config: Any) -> Iterator[str]:
    """Yield the classes of tfnorm in a configuration."""
    if isinstance(config, str) and config.startswith(PACKAGE):
        yield config.removeprefix(PACKAGE)
    elif isinstance(config, (dict, list, tuple)):
        for value in config.values() if isinstance(config, dict) else config:
            yield from _names_of_ours(value)


def _compiled_with(model: keras.Model) -> Iterator[str]:
    """Yield the names of tfnorm's classes among the loss, the optimizer and the metrics of a compiled model."""
    compiled = getattr(model, "_compile_config", None)  # not where a class compiles in its own way
    others = keras.tree.flatten(compiled.config) if compiled else []
    for part in (model.optimizer, getattr(model.optimizer, "inner_optimizer", None), *others):
        yield from _names_of_ours(part if isinstance(part, str) else keras.saving.get_registered_name(type(part)))


# Each is a subclass of the layer of Keras that takes its place.
_OF_KERAS = (
    *(ours.Activation, ours.BatchNormalization, ours.Conv2D, ours.Dropout, ours.LayerNormalization),
    *(ours.Normalization, ours.ReLU, ours.RMSNormalization),
)


def _stock_class(layer: Any) -> type | None:
    if isinstance(layer, ours.WeightStandardizedConv2D):
        return layers.Conv2D
    if isinstance(layer, ours.GroupNormalization):
        return layers.GroupNormalization
    if isinstance(layer, ours.RMSNormalization):
        axes, rank = _axes(layer), len(layer.get_build_config()["input_shape"])
        if axes != list(range(rank - len(axes), rank)):
            return None  # Keras applies the scale to the last axes, whichever it belongs to
    return next((kind.__base__ for kind in _OF_KERAS if isinstance(layer, kind)), None)


def _axes(layer: Any) -> list[int]:
    return layer._axes(len(layer.get_build_config()["input_shape"]))


def _stock_weights(layer: Any) -> list[Any]:
    weights = layer.get_weights()
    if isinstance(layer, ours.WeightStandardizedConv2D):
        weights[0] = keras.ops.convert_to_numpy(layer.standardized_kernel())
    return weights


def _stock_layer(layer: Any, dropped: list[str]) -> Any:
    kind = _stock_class(layer) or type(layer)
    config = _without_own_penalties(config_of(layer), layer.name, dropped)
    if isinstance(layer, ours.GroupNormalization):
        config.pop("group_size", None)
        (channels,) = layer.input_spec.axes.values()
        config["groups"] = layer.groups_of(channels)
    if isinstance(layer, ours.LayerNormalization) and isinstance(layer.axis, list):
        # Sorted, as Keras does itself from 3.14 on; it would put -1 before 1.
        config["axis"] = sorted(layer.axis) if max(layer.axis) < 0 else _axes(layer)
    if isinstance(layer, ours.BatchNormalization):
        if config.pop("unbiased_moving_variance", False):
            dropped.append(f"{layer.name}.unbiased_moving_variance")
        if config.pop("frozen", False) and layer.trainable:  # Keras's, not trainable, does the same
            dropped.append(f"{layer.name}.frozen")
    if isinstance(layer, ours.WeightStandardizedConv2D):
        config.pop("epsilon")
    if isinstance(layer, ours.RMSNormalization) and config.pop("scale_regularizer", None):
        dropped.append(f"{layer.name}.scale_regularizer")
    return remake(layer, kind, config)


def _without_own_penalties(config: Any, name: str, dropped: list[str]) -> Any:
    """Return a configuration without the penalties of tfnorm, those of layers inside included."""
    if isinstance(config, list):
        return [_without_own_penalties(part, name, dropped) for part in config]
    if not isinstance(config, dict):
        return config
    rest = {}
    for key, value in config.items():
        if str(key).endswith("_regularizer") and any(_names_of_ours(value)):
            dropped.append(f"{name}.{key}")
            value = None
        inner = f"{name}.{value['name']}" if key == "config" and isinstance(value, dict) and "name" in value else name
        rest[key] = _without_own_penalties(value, inner, dropped)
    return rest
