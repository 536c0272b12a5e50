"""Which weights a model of Keras 3, given with a file of weights alone, had in Keras 2."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from tfnorm.convert.graph import check_graph
from tfnorm.convert.tfa.files import LAYERS, SavedFile
from tfnorm.convert.tfa.layers import filter_response_part, spectral_part, weight_norm_part
from tfnorm.convert.tfa.weights import Part, numbered, plain_part, snake_case
from tfnorm.errors import TfnormError
from tfnorm.layers import FilterResponseNormalization

GROUP_OR_INSTANCE = {"group_normalization", "instance_normalization"}  # one class in Keras 3
WRAPPED = "weight_normalization"


def given_part(model: keras.Model, file: SavedFile) -> Part:
    """Return the weights of a model of Keras 3 as the file of an equal model of Keras 2 has them."""
    check_graph(model)
    if file.groups is None:
        return _archived(model, f"{LAYERS}/", file)
    groups = iter(file.groups)
    parts = []
    for layer in model.layers:
        _, weights = next(groups, ("", [])) if layer.weights else ("", [])
        parts.append(_grouped(layer, [name for name, _ in weights], file.where))
    return _model_part(model, parts)


def _model_part(model: keras.Model, parts: list[Part]) -> Part:
    return Part(model.name, snake_case(type(model).__name__), layers=parts, trainable=model._trainable)


def _grouped(layer: Any, names: list[str], where: str) -> Part:
    """Return the weights of a layer, or of a model in the model, whose names are in one list."""
    wrapped = sum(bool(re.search(r"(^|/)g:\d+$", name)) for name in names)
    copied = any("data_dep_init/" in name for name in names)
    kernels = []

    def wrap(part: Part) -> Part:
        if not _has_kernel(part):
            return part
        kernels.append(part)
        return weight_norm_part(part, data_init=copied) if wrapped else part

    found = _seen_as(layer, wrap)
    if wrapped and len(kernels) != wrapped:
        raise _unclear(where, layer.name, "had a weight normalization")
    return found


def _archived(model: keras.Model, place: str, file: SavedFile) -> Part:
    """Return the weights of a model whose layers are at a place of an archive, by class and number."""
    paths = [path[len(place) :] for path in file.arrays or {} if path.startswith(place)]
    stored = {re.sub(r"_\d+$", "", path.split("/")[0]) for path in paths}
    parts = [_seen_as(layer) for layer in model.layers]
    norms = [part for part in parts if part.kind in GROUP_OR_INSTANCE]
    kinds = GROUP_OR_INSTANCE & stored
    if norms and len(kinds) > 1:
        raise _unclear(file.where, model.name, "were instance normalizations")
    for part in norms:
        part.kind = min(kinds, default=part.kind)
    wrapped = [part for part in parts if part.layers is None and _has_kernel(part)] if WRAPPED in stored else []
    if any(part.kind in stored for part in wrapped):
        raise _unclear(file.where, model.name, "had a weight normalization")
    for part in wrapped:
        part.kind = WRAPPED
    for index, name in enumerate(numbered(parts, file.doubled)):
        if parts[index] in wrapped:
            copied = any(path.startswith(f"{name}/_naked_clone_layer/") for path in paths)
            parts[index] = weight_norm_part(parts[index], data_init=copied)
        elif isinstance(layer := model.layers[index], keras.Model):
            parts[index] = _archived(layer, f"{place}{name}/{LAYERS}/", file)
    return _model_part(model, parts)


def _seen_as(layer: Any, change: Callable[[Part], Part] = lambda part: part) -> Part:
    """Return the weights of a layer or model, with ``change`` made to the layers that may have been wrapped."""
    if isinstance(layer, keras.Model):
        return _model_part(layer, [_seen_as(each, change) for each in layer.layers])
    if isinstance(layer, FilterResponseNormalization):
        return filter_response_part(layer)
    if isinstance(layer, layers.SpectralNormalization):
        return spectral_part(plain_part(layer.layer), layer)
    return change(plain_part(layer))


def _has_kernel(part: Part) -> bool:
    names = [slot.name for inner in part.walk() for slot in inner.own]
    return names.count("recurrent_kernel") == 1 or names.count("kernel") == 1


def _unclear(where: str, model: str, what: str) -> TfnormError:
    return TfnormError(
        f"{where} does not say which layers of {model!r} {what}. Pass as `model` the file that model.to_json wrote "
        "where the weights were saved."
    )
