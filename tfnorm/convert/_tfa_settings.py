"""From the settings of a layer of Keras 2 to those of Keras 3."""

from __future__ import annotations

import inspect
import warnings
from dataclasses import dataclass, field
from typing import Any

import keras
from keras import layers

from tfnorm.errors import TfnormError

# What tensorflow-addons called the activations that Keras 3 has.
ACTIVATIONS = {
    "Addons>hardshrink": "hard_shrink",
    "Addons>mish": "mish",
    "Addons>softshrink": "soft_shrink",
    "Addons>sparsemax": "sparsemax",
    "Addons>tanhshrink": "tanh_shrink",
}
OTHER_ACTIVATIONS = {"hard_sigmoid"}  # of the same name and another slope in Keras 3
# Settings that change no output, or that Keras 2 wrote down for layers that do not have them.
IGNORED = frozenset(
    """
    batch_input_shape bias_initializer fused implementation input_length kernel_constraint kernel_initializer
    kernel_regularizer key_shape query_shape renorm_clipping renorm_momentum trainable value_shape
    """.split()
)
RENAMED = {(layers.LeakyReLU, "alpha"): "negative_slope"}
MODULES = {"initializer": keras.initializers, "regularizer": keras.regularizers, "constraint": keras.constraints}


@dataclass
class Notes:
    """What is found while a description is read: all of it is told at once.

    Attributes:
        safe_mode: Whether Python code in the file is refused.
        unknown: Layers and settings without a counterpart.
        code: Layers that hold Python code.
        dropped: Settings without a counterpart that change no output.
        seen: What was read of each layer, by its class and name: one may be in two models.
    """

    safe_mode: bool
    unknown: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    seen: dict[str, Any] = field(default_factory=dict)

    def check(self, where: str) -> None:
        """Raise a `TfnormError` if the model cannot be made."""
        if self.code and self.safe_mode:
            raise TfnormError(
                f"{where} holds Python code, which is not run unless you ask: {', '.join(self.code)}. "
                "If you trust whoever wrote it, pass safe_mode=False."
            )
        if self.unknown:
            raise TfnormError(
                f"{where} holds what cannot be converted: {', '.join(self.unknown)}. For a layer, write one for Keras "
                "3 and register it under the same name with keras.saving.register_keras_serializable('Addons')."
            )

    def warn(self) -> None:
        """Warn of what is left out."""
        if self.dropped:
            dropped = ", ".join(self.dropped)
            warnings.warn(f"Keras has no counterpart of these settings, left out: {dropped}.", stacklevel=3)


def class_name(entry: dict[str, Any]) -> str:
    """Return the name of an entry's class, with its package if it is not Keras's own."""
    registered = entry.get("registered_name")
    return registered if isinstance(registered, str) and ">" in registered else entry["class_name"]


def settings(kind: type, config: dict[str, Any], label: str, notes: Notes) -> dict[str, Any]:
    """Return the arguments of a class of Keras 3 for a configuration of Keras 2.

    Args:
        kind: The class.
        config: The configuration.
        label: What the layer is called in notes.
        notes: Where settings without a counterpart are noted.
    """
    accepted = _arguments(kind)
    found = {}
    for key, value in config.items():
        key = RENAMED.get((kind, key), key)
        if key == "dtype":
            value = precision(value)
        elif key.endswith("activation"):
            value = _activation(key, value, label, notes)
        elif module := MODULES.get(key.rpartition("_")[2]):
            value = _object(module, value, f"{label} {key}", notes)
            if value is None:
                continue
        elif key == "axis" and kind is layers.BatchNormalization and isinstance(value, list):
            if len(value) != 1:
                notes.unknown.append(f"{label} with axis={value}")
            value = value[0]
        elif isinstance(value, dict) and "class_name" in value:
            notes.unknown.append(f"{label} with {key}={value['class_name']}")
        if key in accepted:
            found[key] = value
        elif value and key not in IGNORED and (key, value) != ("groups", 1):
            notes.unknown.append(f"{label} with {key}={value!r}")
    return found


def precision(value: Any) -> Any:
    """Return the name of a precision, which is an object in the file where it is mixed."""
    return value["config"]["name"] if isinstance(value, dict) else value


def _arguments(kind: type) -> set[str]:
    """Return the names of the arguments of a class, those that it hands to its parents among them."""
    names: set[str] = set()
    for parent in kind.__mro__:
        if "__init__" in vars(parent):
            parameters = inspect.signature(vars(parent)["__init__"]).parameters
            names |= set(parameters)
            if parent is layers.Layer or all(p.kind is not p.VAR_KEYWORD for p in parameters.values()):
                break
    return names


def _activation(key: str, value: Any, label: str, notes: Notes) -> Any:
    if isinstance(value, dict):
        value = value["config"] if value.get("class_name") == "function" else value["class_name"]
    value = ACTIVATIONS.get(value, value)
    if value in OTHER_ACTIVATIONS:
        notes.unknown.append(f"{label} with {key}={value}, which has another slope in Keras 3")
    elif value is not None:
        try:
            keras.activations.get(value)
        except ValueError:
            notes.unknown.append(f"{label} with {key}={value}")
    return value


def _object(module: Any, value: Any, label: str, notes: Notes) -> Any:
    """Return an initializer, a regularizer or a constraint, or note that it is left out and return None."""
    if value is None:
        return None
    try:
        if isinstance(value, dict):
            value = {"class_name": class_name(value), "config": dict(value["config"])}
        return module.get(value)
    except Exception:  # a class of one's own, or settings that Keras 3 does not have
        notes.dropped.append(f"{label}={value['class_name'] if isinstance(value, dict) else value}")
        return None
