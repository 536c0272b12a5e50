"""What a network will be made of, worked out before Keras is imported: names, shapes, weights, errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real

from tfnorm.errors import ArchitectureError, SpecError, whole_number
from tfnorm.models.architectures import ARCHITECTURES, ArchSpec
from tfnorm.models.planner import NetworkPlan, Planner, Shape, TooSmallError
from tfnorm.spec import NormSpec, divisors


def plan(
    arch: str | ArchSpec,
    spec: NormSpec,
    *,
    input_shape: Sequence[int] | None = None,
    num_classes: int = 10,
    dropout: float | None = None,
) -> NetworkPlan:
    """Work out the layers of a network.

    Args:
        arch: A name in `ARCHITECTURES` or an `ArchSpec`.
        spec: The normalization.
        input_shape: (height, width, channels); default the architecture's.
        num_classes: Number of logits.
        dropout: Dropout rate from 0 to below 1; default the architecture's.

    Returns:
        The `NetworkPlan`.

    Raises:
        ArchitectureError: If the input is too small, naming the layer where it runs out.
        SpecError: If groups do not divide a layer's channels, naming the layer and the valid counts.

    Example:
        >>> from tfnorm.spec import parse
        >>> plan("mnist_7k", parse("gn:2")).trainable_parameters
        6986
    """
    if not isinstance(arch, ArchSpec):
        arch = ARCHITECTURES[arch]
    shape = _checked_shape(input_shape if input_shape is not None else arch.input_shape)
    num_classes = whole_number("num_classes", num_classes, error=ArchitectureError)
    rate = arch.dropout if dropout is None else dropout
    if not isinstance(rate, Real) or not 0 <= rate < 1:
        raise ArchitectureError(f"`dropout` must be a rate from 0 to below 1. Received: {rate!r}.")
    try:
        network = Planner(arch, spec, num_classes, float(rate)).run(shape)
    except TooSmallError as error:
        smallest = _smallest_side(arch, spec, shape, num_classes)
        mend = (
            f"Use an input_shape of at least ({smallest}, {smallest}, {shape[2]})." if smallest else "Use fewer pools."
        )
        raise ArchitectureError(
            f"The input is too small for {arch.name}. Received: input_shape={shape}; layer {error.layer!r} needs "
            f"{error.needed} pixels a side and gets {error.height} x {error.width}. {mend}"
        ) from None
    except SpecError as error:
        common = math.gcd(*Planner(arch, NormSpec("none"), num_classes, float(rate)).norm_channels(shape))
        what = "group sizes" if spec.group_size else "groups"
        fitting = ", ".join(map(str, divisors(common)))
        raise SpecError(f"{error} Valid {what} for every layer of {arch.name}: {fitting}.") from None
    if dropout and not any(layer.kind == "dropout" for layer in network.layers):
        raise ArchitectureError(f"{arch.name} has no dropout, so that `dropout` must be 0. Received: {dropout!r}.")
    return network


def _checked_shape(value: Sequence[int]) -> Shape:
    try:
        shape = tuple(int(side) for side in value)
        whole = all(int(side) == side for side in value)
    except (TypeError, ValueError):
        shape, whole = (), False
    if len(shape) != 3 or min(shape) < 1 or not whole:
        raise ArchitectureError(
            f"`input_shape` must be (height, width, channels), three positive whole numbers. Received: {value!r}."
        )
    return shape


def _smallest_side(arch: ArchSpec, spec: NormSpec, shape: Shape, num_classes: int) -> int | None:
    for side in range(1, 1025):
        try:
            Planner(arch, NormSpec("none"), num_classes, 0.0).run((side, side, shape[2]))
        except TooSmallError:
            continue
        return side
    return None
