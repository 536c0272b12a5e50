"""From a spec to a layer, in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tfnorm.errors import unknown
from tfnorm.layers.normalization.batch_normalization import BatchNormalization
from tfnorm.layers.normalization.filter_response_normalization import FilterResponseNormalization
from tfnorm.layers.normalization.group_normalization import GroupNormalization
from tfnorm.layers.normalization.instance_normalization import InstanceNormalization
from tfnorm.layers.normalization.layer_normalization import LayerNormalization
from tfnorm.layers.normalization.rms_normalization import RMSNormalization
from tfnorm.spec import NormSpec


@dataclass(frozen=True)
class Convention:
    """The constants that two frameworks set differently.

    Args:
        epsilon: Added to variances, inside the root.
        momentum: Share of the moving statistics kept at each step.
        unbiased_moving_variance: Whether the moving variance takes the unbiased batch variance.
    """

    epsilon: float
    momentum: float
    unbiased_moving_variance: bool


CONVENTIONS = {
    "keras": Convention(epsilon=1e-3, momentum=0.99, unbiased_moving_variance=False),
    "torch": Convention(epsilon=1e-5, momentum=0.9, unbiased_moving_variance=True),
}


def convention_called(name: str) -> Convention:
    """Return the convention called ``name``."""
    if name not in CONVENTIONS:
        raise ValueError(unknown("convention", name, CONVENTIONS))
    return CONVENTIONS[name]


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
        convention: "keras" or "torch": the constants that are not given. RMS and filter response normalization keep
            their papers' epsilon of 1e-6 in both.
        epsilon: Added to the variance, or None for the convention's.
        momentum: Of moving statistics, or None for the convention's.
        regularizer: Penalty on each weight of the layer, or None.
        rank: Number of axes of the input.
        axis: The channel axis.

    Returns:
        A layer of `tfnorm.layers`.
    """
    constants = convention_called(convention)
    penalties = {"gamma_regularizer": regularizer, "beta_regularizer": regularizer}
    arguments: dict[str, Any] = {"name": name, "epsilon": constants.epsilon if epsilon is None else epsilon}
    if spec.kind == "bn":
        return BatchNormalization(
            axis=axis,
            momentum=constants.momentum if momentum is None else momentum,
            unbiased_moving_variance=constants.unbiased_moving_variance,
            synchronized=spec.synchronized,
            **arguments,
            **penalties,
        )
    if spec.kind == "ln":
        axes = axis if spec.per_pixel else tuple(range(1, rank))
        return LayerNormalization(axis=axes, **arguments, **penalties)
    if spec.kind == "gn":
        return GroupNormalization(spec.groups, axis=axis, group_size=spec.group_size, **arguments, **penalties)
    if spec.kind == "in":
        return InstanceNormalization(axis=axis, **arguments, **penalties)
    arguments["epsilon"] = 1e-6 if epsilon is None else epsilon
    if spec.kind == "rms":
        return RMSNormalization(axis=axis, scale_regularizer=regularizer, **arguments)
    if spec.kind == "frn":
        return FilterResponseNormalization(axis=axis, **arguments, **penalties)
    raise ValueError(f"The spec {str(spec)!r} has no norm layer.")
