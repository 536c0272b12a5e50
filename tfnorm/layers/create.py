"""Makes the norm layer of a spec."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from tfnorm.layers.normalization.base import NormSettings
from tfnorm.norms import NORMS, NormInfo
from tfnorm.registry import Registry
from tfnorm.spec import NormSpec


@dataclass(frozen=True)
class Convention:
    """The constants that two frameworks set differently, as in `NormSettings`."""

    epsilon: float
    momentum: float
    unbiased_moving_variance: bool
    kernel_initializer: str


CONVENTIONS: Registry[Convention] = Registry("convention")
CONVENTIONS.add("keras", Convention(1e-3, 0.99, unbiased_moving_variance=False, kernel_initializer="he_normal"))
CONVENTIONS.add("torch", Convention(1e-5, 0.9, unbiased_moving_variance=True, kernel_initializer="torch"))


def norm_layer(
    spec: NormSpec,
    *,
    name: str | None = None,
    convention: str = "keras",
    epsilon: float | None = None,
    momentum: float | None = None,
    regularizer=None,
    rank: int = 4,
    axis: int = -1,
):
    """Return the norm layer of a spec, for inputs (batch, height, width, channels).

    Args:
        spec: The normalization; not ``none``.
        name: The layer's name.
        convention: "keras" or "torch", for the constants that are not passed. A norm with an epsilon of its own in the
            registry keeps that in both.
        epsilon: Added to the variance. Defaults to the convention's.
        momentum: The momentum of moving statistics. Defaults to the convention's.
        regularizer: Penalty on each weight of the layer. Defaults to None.
        rank: Number of axes of the input. Defaults to 4.
        axis: The channel axis. Defaults to -1.
    """
    constants, info = CONVENTIONS[convention], spec.info
    if not info.layer:
        raise ValueError(f"The spec {str(spec)!r} has no norm layer.")
    if epsilon is None:
        epsilon = constants.epsilon if info.epsilon is None else info.epsilon
    settings = NormSettings(
        name=name,
        axis=axis,
        rank=rank,
        epsilon=epsilon,
        momentum=constants.momentum if momentum is None else momentum,
        unbiased_moving_variance=constants.unbiased_moving_variance,
        regularizer=regularizer,
    )
    return norm_class(info).from_spec(spec, settings)


def norm_class(info: NormInfo) -> Any:
    """Return the class of the layer of a norm."""
    if not isinstance(info.layer, str):
        return info.layer
    module, _, name = info.layer.rpartition(".")
    return getattr(import_module(module), name)


def norm_info(layer: Any) -> NormInfo | None:
    """Return what the registry says of the norm that ``layer`` is, or None if it is none of the registry."""
    return next((info for info in NORMS.values() if info.layer and type(layer) is norm_class(info)), None)


def norm_classes() -> tuple[type, ...]:
    """Return the classes of the layers of all norms in the registry."""
    return tuple(norm_class(info) for info in NORMS.values() if info.layer)
