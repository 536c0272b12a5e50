"""Penalties of a spec on the variables of any model."""

from __future__ import annotations

from typing import Any

import keras

from tfnorm.convert.clone import clone_with, config_of, remake
from tfnorm.regularizers import Sum, from_spec
from tfnorm.spec import NormSpec

# What the kernels of Keras's layers are called in their configurations. Their variables have "kernel" in their names.
_KERNELS = ("kernel", "depthwise", "pointwise", "recurrent")
_ENDING = "_regularizer"


def penalized(model: keras.Model, spec: NormSpec, regularize: str) -> tuple[keras.Model, list[str]]:
    """Return a copy of ``model`` with the penalties of a spec beside its own, and notes about them.

    Args:
        model: A functional or sequential model; it is not changed.
        spec: A spec with penalties.
        regularize: "all" for all trainable variables, "kernels" for those of convolutions, dense and recurrent layers.
    """
    everything = regularize == "all"

    def make(layer: Any) -> Any:
        plain = not isinstance(layer, keras.Layer) or not layer.weights
        return remake(layer) if plain else remake(layer, config=_with_penalties(config_of(layer), spec, everything))

    new, _ = clone_with(model, make)
    reached = [each for each in new.trainable_variables if everything or "kernel" in each.name]
    # The configuration of a layer of one's own may not have a penalty for each variable.
    lacking = [variable for variable in reached if not _has(variable.regularizer, spec)]
    for variable in lacking:
        variable.regularizer = _beside(variable.regularizer, spec)
    penalties = "+".join(str(spec).split("+")[1:]).replace("ws+", "")
    notes = [f"{penalties} on {len(reached)} trainable variables" + ("" if everything else ", the kernels")]
    if lacking:
        names = ", ".join(variable.path for variable in lacking)
        notes.append(
            f"a saved file loses the penalties on {names}, because the configurations of their layers have none"
        )
    return new, notes


def _with_penalties(config: Any, spec: NormSpec, everything: bool) -> Any:
    """Return the configuration of a layer with the penalties, those of layers inside it included."""
    if isinstance(config, (list, tuple)):
        return type(config)(_with_penalties(part, spec, everything) for part in config)
    if not isinstance(config, dict):
        return config
    new = {}
    for key, value in config.items():
        weight = str(key).removesuffix(_ENDING)
        if weight == key or weight == "activity":
            new[key] = _with_penalties(value, spec, everything)
        elif everything or weight in _KERNELS:
            new[key] = keras.regularizers.serialize(_beside(keras.regularizers.get(value), spec))
        else:
            new[key] = value
    return new


def _beside(own: Any, spec: NormSpec) -> Any:
    penalty = from_spec(spec)
    return penalty if own is None else Sum([own, penalty])


def _has(regularizer: Any, spec: NormSpec) -> bool:
    """Return whether a regularizer is, or ends with, the penalties of a spec."""
    wanted = keras.regularizers.serialize(from_spec(spec))
    found = [regularizer, *(regularizer.regularizers[-1:] if isinstance(regularizer, Sum) else [])]
    return any(part is not None and keras.regularizers.serialize(part) == wanted for part in found)
