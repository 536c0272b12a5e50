"""What differs between versions of Keras, and every private part of Keras that tfnorm uses.

No other module reads Keras's private package or asks which version is installed. A comment at each name says in which
versions it differs. Import this module before Keras: where Keras or its backend is missing or too old, it says so in a
sentence, and Keras's own import would fail.
"""

# ruff: noqa: E402, F401

from __future__ import annotations

import inspect
import traceback
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tfnorm.keras_settings import check_keras_settings

check_keras_settings()

# isort: split
import keras
from keras import layers, ops
from keras.src.applications.convnext import LayerScale, StochasticDepth
from keras.src.applications.inception_resnet_v2 import CustomScaleLayer
from keras.src.backend.common import global_state
from keras.src.layers.convolutional.base_conv import BaseConv
from keras.src.layers.convolutional.base_conv_transpose import BaseConvTranspose
from keras.src.layers.convolutional.base_depthwise_conv import BaseDepthwiseConv
from keras.src.layers.convolutional.base_separable_conv import BaseSeparableConv
from keras.src.layers.merging.base_merge import Merge
from keras.src.layers.pooling.base_global_pooling import BaseGlobalPooling
from keras.src.layers.pooling.base_pooling import BasePooling
from keras.src.models.functional import Functional, functional_like_constructor
from keras.src.ops import core as CORE
from keras.src.ops import image as IMAGE
from keras.src.ops import math as MATH
from keras.src.ops import nn as NN
from keras.src.ops import numpy as OPS
from keras.src.saving.serialization_lib import SafeModeScope

from tfnorm.errors import TfnormError

#: Pooling to a given size; Keras has it from 3.14 on.
ADAPTIVE_POOLING = tuple(kind for name, kind in vars(layers).items() if name.startswith("Adaptive"))

#: What a batch norm's configuration says of batch renormalization from Keras 3.14 on.
RENORM_SETTINGS = ("renorm", "renorm_clipping", "renorm_momentum")

# Other settings that Keras writes down since 3.13, and their values where nobody asks for them.
_LATER = {
    "input_axes": None,
    "output_axes": None,
    "quantization_config": None,
    "sliding_window": None,
    "use_gate": False,
}
_FUNCTIONS = frozenset(module.__name__ for module in (CORE, IMAGE, MATH, NN, OPS))
# Where Keras keeps the variables that have no memory yet.
_WAITING = "uninitialized_variables"
# Where Keras counts the names that it has given.
_NAMES = "object_name_uids"


def renorms(norm: Any) -> bool:
    """Return whether a batch norm renormalizes, which none does before Keras 3.14."""
    return bool(getattr(norm, "renorm", False))


def known_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a batch norm without those of batch renormalization where Keras does not have them.

    Raises:
        TfnormError: If one of them asks for it.
    """
    if "renorm" in inspect.signature(layers.BatchNormalization.__init__).parameters:
        return settings
    if settings.get("renorm"):
        raise TfnormError(
            f"Batch renormalization needs Keras 3.14 or newer. Received: renorm={settings['renorm']} with Keras "
            f"{keras.__version__}. Leave it out, or update Keras."
        )
    return {name: value for name, value in settings.items() if name not in RENORM_SETTINGS}


def portable(settings: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration without the unused settings, also of layers inside it, that older Keras cannot read.

    Example:
        >>> portable({"units": 2, "quantization_config": None})
        {'units': 2}
    """
    unused = {name for name, default in _LATER.items() if name in settings and settings[name] is default}
    if not settings.get("renorm"):
        unused.update(RENORM_SETTINGS)
    return {name: _portable(value) for name, value in settings.items() if name not in unused}


def _portable(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(map(_portable, value))
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("config"), dict) and str(value.get("module")).partition(".")[0] in ("keras", "tfnorm"):
        return value | {"config": portable(value["config"])}
    return {name: _portable(part) for name, part in value.items()}


def input_config(layer: Any) -> dict[str, Any]:
    """Return the configuration of an input layer. Keras before 3.13 leaves out whether it is optional."""
    return layer.get_config() | {"optional": layer.optional}


def is_function(operation: Any) -> bool:
    """Return whether an operation is that of a function of `keras.ops`, but for linear algebra."""
    return type(operation).__module__ in _FUNCTIONS


def swap_waiting_variables(variables: list[Any]) -> list[Any]:
    """Have Keras wait with memory for ``variables`` alone, and return those that it was waiting for."""
    waiting = global_state.get_global_attribute(_WAITING, [])
    global_state.set_global_attribute(_WAITING, variables)
    return waiting


@contextmanager
def names_from_the_start() -> Iterator[None]:
    """Have Keras name layers as if none had been made before, and go on with its own count afterwards."""
    before = global_state.get_global_attribute(_NAMES)
    global_state.set_global_attribute(_NAMES, defaultdict(int))
    try:
        yield
    finally:
        global_state.set_global_attribute(_NAMES, before)


def builds_a_model() -> bool:
    """Return whether Keras reads a batch before the first epoch to build a model. Nothing public tells."""
    names = {frame.f_code.co_name for frame, _ in traceback.walk_stack(None)}
    return not names.isdisjoint(("_symbolic_build", "_maybe_symbolic_build"))


def compiled_metrics(model: Any, labels: tuple[int | None, ...], outputs: Any) -> list[Any]:
    """Return the metrics that a model is compiled with, as Keras makes them for labels of such a shape."""
    metrics = model._compile_metrics
    if metrics is None:
        return []
    if not metrics.built:
        metrics.build(keras.KerasTensor(labels), outputs)
    return metrics.metrics


def direction_of(metric: Any) -> str | None:
    """Return "max" or "min" for what is better of a metric, None if Keras does not know it."""
    return {"up": "max", "down": "min"}.get(getattr(metric, "_direction", None))


def _depth_to_space(x: Any, block_size: int) -> Any:
    height, width, channels = _known_sides(x)
    blocks = (-1, height, width, block_size, block_size, channels // block_size**2)
    moved = ops.transpose(ops.reshape(x, blocks), (0, 1, 3, 2, 4, 5))
    return ops.reshape(moved, (-1, height * block_size, width * block_size, blocks[-1]))


def _space_to_depth(x: Any, block_size: int) -> Any:
    height, width, channels = _known_sides(x)
    blocks = (-1, height // block_size, block_size, width // block_size, block_size, channels)
    moved = ops.transpose(ops.reshape(x, blocks), (0, 1, 3, 2, 4, 5))
    return ops.reshape(moved, (-1, blocks[1], blocks[3], channels * block_size**2))


def _known_sides(x: Any) -> tuple[int, ...]:
    if None in x.shape[1:]:
        raise ValueError("images of open height and width need the functions of Keras 3.15")
    return tuple(x.shape[1:])


#: Functions of `keras.ops` since Keras 3.15, of images with channels last.
depth_to_space = getattr(ops, "depth_to_space", _depth_to_space)
space_to_depth = getattr(ops, "space_to_depth", _space_to_depth)


class _Muon(keras.optimizers.Muon):
    """Muon of Keras 3.13 on that of 3.12: its defaults, a decay for Adam, states by variable and not by path."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        *,
        weight_decay: float | None = 0.004,
        adam_weight_decay: float | None = 0.004,
        adam_lr_ratio: float = 1,
        ns_steps: int = 5,
        rms_rate: float | None = 0.2,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate, weight_decay=weight_decay, adam_lr_ratio=adam_lr_ratio, ns_steps=ns_steps, **kwargs
        )
        self.adam_weight_decay, self.rms_rate = adam_weight_decay, rms_rate

    def _should_use_adamw(self, variable: Any) -> bool:
        return len(variable.shape) != 2 or super()._should_use_adamw(variable)

    def build(self, var_list: list[Any]) -> None:
        """Make a momentum for each variable, and a velocity for each that is left to Adam."""
        if self.built:
            return
        keras.optimizers.Optimizer.build(self, var_list)
        self.momentums: list[Any] = [None] * len(var_list)
        self.adam_velocities: list[Any] = [None] * len(var_list)
        for variable in var_list:
            place = self._get_variable_index(variable)
            self.momentums[place] = self.add_variable_from_reference(variable, name="momentum")
            if self._should_use_adamw(variable):
                self.adam_velocities[place] = self.add_variable_from_reference(variable, name="velocity")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Take a step of Adam where there is a velocity, and one of Muon elsewhere."""
        place = self._get_variable_index(variable)
        momentum, velocity = self.momentums[place], self.adam_velocities[place]
        if velocity is None:
            self._muon_update_step(gradient, variable, learning_rate, momentum)
            return
        learning_rate = ops.cast(learning_rate * self.adam_lr_ratio, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        step = ops.cast(self.iterations + 1, variable.dtype)
        first, second = (ops.cast(beta, variable.dtype) for beta in (self.adam_beta_1, self.adam_beta_2))
        scale = learning_rate * ops.sqrt(1 - ops.power(second, step)) / (1 - ops.power(first, step))
        self.assign_add(momentum, (gradient - momentum) * (1 - self.adam_beta_1))
        self.assign_add(velocity, (ops.square(gradient) - velocity) * (1 - self.adam_beta_2))
        self.assign_sub(variable, momentum * scale / (ops.sqrt(velocity) + self.epsilon))

    def _apply_weight_decay(self, variables: list[Any]) -> None:
        for variable in variables:
            decay = self.adam_weight_decay if self._should_use_adamw(variable) else self.weight_decay
            if decay is not None and self._use_weight_decay(variable):
                rate = ops.cast(self.learning_rate, variable.dtype)
                variable.assign(variable - variable * ops.cast(decay, variable.dtype) * rate)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return super().get_config() | {"adam_weight_decay": self.adam_weight_decay, "rms_rate": self.rms_rate}


#: Keras's Muon as it is since 3.13.
Muon: Any = keras.optimizers.Muon if hasattr(keras.optimizers.Muon, "lr_adjust") else _Muon
