"""Copying a Keras model layer by layer, some of them as layers of another class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from tfnorm.errors import TfnormError


def check_cloneable(model: keras.Model) -> None:
    """Raise a `TfnormError` unless ``model`` is a functional or sequential model with weights."""
    if not isinstance(model, (keras.Sequential, keras.src.models.Functional)):
        raise TfnormError(
            f"Only functional and sequential models can be converted. Received: {type(model).__name__} {model.name!r}. "
            "Build it with keras.Input and keras.Model(inputs, outputs)."
        )
    if not model.built:
        raise TfnormError(
            f"The model {model.name!r} has no weights yet. Build it with keras.Input, or call it on a batch first."
        )


def clone_with(
    model: keras.Model,
    make: Callable[[Any], Any],
    weights_of: Callable[[Any], list] = lambda layer: layer.get_weights(),
) -> keras.Model:
    """Return a copy of ``model`` whose layers ``make`` made, with all of its state.

    Weights, random seeds and, if the model was compiled, the optimizer with its state are carried over.

    Args:
        model: A functional or sequential model, nested ones and shared layers included; it is not changed.
        make: Returns the new layer of an old one, with the same name.
        weights_of: Returns the weights for the new layer of an old one, in the order of `get_weights`.
    """
    copy = keras.models.clone_model(model, clone_function=make, recursive=True)
    for old, new in zip(_layers(model), _layers(copy), strict=True):
        if isinstance(old, keras.Model):
            continue
        if old.weights:
            new.set_weights(weights_of(old))
        seeds, new_seeds = (getattr(layer, "seed_generator", None) for layer in (old, new))
        if seeds is not None and new_seeds is not None:
            new_seeds.state.assign(seeds.state)
    if model.compiled:
        copy.compile_from_config(model.get_compile_config())
        if model.optimizer is not None and model.optimizer.built:
            copy.optimizer.build(copy.trainable_variables)
            for old, new in zip(model.optimizer.variables, copy.optimizer.variables, strict=True):
                new.assign(old)
    return copy


def _layers(model: keras.Model) -> list:
    """Return every layer once, in the order of the graph."""
    return list({id(layer): layer for layer in model._flatten_layers(include_self=False)}.values())
