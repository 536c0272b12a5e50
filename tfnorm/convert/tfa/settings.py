"""Making the settings of a layer of Keras 3 from those of Keras 2."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field
from typing import Any

import keras
from keras import layers

from tfnorm.convert.clone import arguments_of
from tfnorm.errors import TfnormError
from tfnorm.layers.normalization.keras_2 import gelu_of_tensorflow_addons, hard_sigmoid_of_keras_2


def since(table: str) -> dict[str, tuple[int, ...]]:
    """Return the version of each name in a table whose lines begin with one."""
    rows = [line.split() for line in table.strip().splitlines()]
    return {name: tuple(map(int, version.split("."))) for version, *names in rows for name in names}


# The names of other activations can mean one thing only. Keras 2 had none of version 3.
ACTIVATIONS_SINCE = since(
    """
    2.4 gelu
    2.13 mish
    3 celu glu hard_shrink hard_silu hard_swish hard_tanh log_sigmoid soft_shrink sparse_plus sparse_sigmoid
    3 sparsemax squareplus tanh_shrink threshold
    """
)
# What tensorflow-addons, TensorFlow and Keras 2 called the activations that Keras 3 has, or tfnorm for it.
ACTIVATIONS: dict[str, Any] = {
    "Addons>gelu": gelu_of_tensorflow_addons,
    "Addons>hardshrink": "hard_shrink",
    "Addons>mish": "mish",
    "Addons>softshrink": "soft_shrink",
    "Addons>sparsemax": "sparsemax",
    "Addons>tanhshrink": "tanh_shrink",
    "hard_sigmoid": hard_sigmoid_of_keras_2,
    "log_softmax_v2": "log_softmax",
    "softmax_v2": "softmax",
}
# Settings that change no output, or that Keras 2 wrote down for layers that do not have them.
IGNORED = frozenset(
    """
    batch_input_shape bias_initializer fused implementation input_length kernel_constraint kernel_initializer
    kernel_regularizer key_shape query_shape renorm_clipping renorm_momentum trainable value_shape
    """.split()
)
RENAMED = {(layers.LeakyReLU, "alpha"): "negative_slope", (layers.ReLU, "theta"): "threshold"}
# Values that the layers of Keras 2 took and those of Keras 3 do not, some of which say so only when they are called.
REFUSED = {"interpolation": {"gaussian", "mitchellcubic"}}
MODULES = {"initializer": keras.initializers, "regularizer": keras.regularizers, "constraint": keras.constraints}


@dataclass
class Notes:
    """What is found while a description is read: all of it is told at once."""

    safe_mode: bool  # whether Python code in the file is refused
    version: str | None  # of the Keras that wrote the file, for messages
    # What has no counterpart, with the name by which a class or an activation of your own can take its place; None if
    # only a model of your own helps.
    unknown: dict[str, str | None] = field(default_factory=dict)
    code: list[str] = field(default_factory=list)  # layers that hold Python code
    dropped: list[str] = field(default_factory=list)  # settings without a counterpart that change no output
    told: dict[str, list[str]] = field(default_factory=dict)  # other warnings, with the layers that they are about
    seen: dict[str, Any] = field(default_factory=dict)  # each layer by class and name: one may be in two models

    @property
    def release(self) -> tuple[int, ...]:
        """The release of tf.keras that has the layers of that version of Keras; the latest if it is not known.

        Example:
            >>> Notes(True, "2.2.4-tf").release, Notes(True, "2.2.4").release, Notes(True, None).release
            ((2, 2, 4), (2, 0), (2, 15))
        """
        version = self.version or "2.15"
        numbers = tuple(map(int, re.findall(r"\d+", version)[:3]))
        return numbers if version.endswith("-tf") or numbers >= (2, 4) else (2, 0)

    def check(self, where: str) -> None:
        """Raise a `TfnormError` if the model cannot be made."""
        if self.code and self.safe_mode:
            raise TfnormError(
                f"{where} holds Python code, which is not run unless you ask: {', '.join(self.code)}. "
                "If you trust whoever wrote it, pass safe_mode=False (--allow-lambda on the command line)."
            )
        names = [name for name in dict.fromkeys(self.unknown.values()) if name is not None]
        functions = [what for what, name in self.unknown.items() if name is None]
        advice = ""
        if names:
            scope = ", ".join(f"{name!r}: {name.rpartition('>')[2]}" for name in names)
            advice = (
                f" Write {', '.join(names) if functions else 'each of them'} for Keras 3, with the same settings "
                f"and weights, and open the file inside `with keras.saving.custom_object_scope({{{scope}}}):`."
            )
        if functions:
            advice += (
                f"{' For ' + ', '.join(functions) + ', build' if names else ' Build'} the whole model in Keras 3, with "
                "the same layers in the same order and keras.ops in place of the functions of TensorFlow. Pass it with "
                f"the file, which then gives the weights: load_tfa_model({where!r}, model=model)."
            )
        if self.unknown:
            raise TfnormError(f"{where} holds what cannot be converted: {', '.join(self.unknown)}.{advice}")

    def refuse(self, what: str, name: str | None = None) -> None:
        """Note what cannot be converted; ``name`` as in ``unknown``."""
        self.unknown[what] = name

    def tell(self, label: str, how: str, kind: str) -> None:
        """Note how a layer of a class that others have too is opened."""
        text = (
            f"{how}. If the file is from another {kind}, open it inside "
            f"`with keras.saving.custom_object_scope({{{kind!r}: ...}}):` with that one."
        )
        self.told.setdefault(text, []).append(label)

    def warn(self) -> None:
        """Warn of what is left out."""
        if self.dropped:
            dropped = ", ".join(self.dropped)
            warnings.warn(f"Keras has no counterpart of these settings, left out: {dropped}.", stacklevel=3)
        for text, labels in self.told.items():
            warnings.warn(f"{', '.join(labels)}: {text}", stacklevel=3)


def class_name(entry: dict[str, Any]) -> str:
    """Return the name of an entry's class, with its package if it is not Keras's own."""
    registered = entry.get("registered_name")
    return registered if isinstance(registered, str) and ">" in registered else entry["class_name"]


def settings(kind: type, config: dict[str, Any], label: str, notes: Notes) -> dict[str, Any]:
    """Return the arguments of a class of Keras 3 for a configuration of Keras 2; note what has no counterpart."""
    accepted = arguments_of(kind)
    own = label.split(" ")[0]  # the name of the layer follows in parentheses
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
                notes.refuse(f"{label} with axis={value}", own)
            value = value[0]
        elif isinstance(value, dict) and "class_name" in value:
            notes.refuse(f"{label} with {key}={value['class_name']}", own)
        elif value in REFUSED.get(key, ()) or (kind is layers.SeparableConv1D and value == "causal"):
            notes.refuse(f"{label} with {key}={value}", own)
        if key in accepted:
            found[key] = value
        elif value and key not in IGNORED and (key, value) != ("groups", 1):
            notes.refuse(f"{label} with {key}={value!r}", own)
    if "data_format" in accepted and not found.get("data_format"):
        found["data_format"] = "channels_last"  # Keras 3 would take what is set where the file is read
    return found


def precision(value: Any) -> Any:
    """Return the name of a precision, which is an object in the file where it is mixed."""
    return value["config"]["name"] if isinstance(value, dict) else value


def _activation(key: str, value: Any, label: str, notes: Notes) -> Any:
    """Return an activation as Keras 3 takes it, or note that there is none."""
    if isinstance(value, dict):
        value = value["config"] if value.get("class_name") == "function" else value["class_name"]
    if value is None:
        return None
    if custom := keras.saving.get_registered_object(value):
        return custom
    if notes.release < ACTIVATIONS_SINCE.get(value, ()):
        notes.refuse(f"{label} with {key}={value}, which {writer(notes)} did not have", value)
        return value
    found = ACTIVATIONS.get(value, value)
    try:
        keras.activations.get(found)
    except ValueError:
        notes.refuse(f"{label} with {key}={value}", value)
    return found


def writer(notes: Notes) -> str:
    """Return the version of Keras that wrote a file, as messages call it."""
    return f"Keras {notes.version or 2}"


def _object(module: Any, value: Any, label: str, notes: Notes) -> Any:
    """Return an initializer, a regularizer or a constraint, or note that it is left out and return None."""
    if value is None:
        return None
    try:
        if isinstance(value, dict):
            value = {"class_name": class_name(value), "config": dict(value["config"])}
        return module.get(value)
    except Exception:  # a class of your own, or settings that Keras 3 does not have
        notes.dropped.append(f"{label}={value['class_name'] if isinstance(value, dict) else value}")
        return None
