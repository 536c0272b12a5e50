"""Checks of the arguments of layers."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral


def positive_epsilon(epsilon: float) -> float:
    """Return ``epsilon`` if it is positive: with 0 a constant input would divide by zero."""
    if not epsilon > 0:
        raise ValueError(f"`epsilon` must be positive. Received: epsilon={epsilon}. Keras uses 1e-3, PyTorch 1e-5.")
    return epsilon


def axis_from_front(axis: int, rank: int, layer: str) -> int:
    """Return ``axis`` counted from 0, for an input of ``rank`` axes."""
    if not isinstance(axis, Integral):
        raise ValueError(f"`axis` must be one integer, the channel axis. Received: axis={axis} at layer {layer!r}.")
    if not -rank <= axis < rank:
        raise ValueError(
            f"`axis` must be from {-rank} to {rank - 1} for an input of {rank} axes. "
            f"Received: axis={axis} at layer {layer!r}."
        )
    return axis % rank


def known_sizes(shape: Sequence[int | None], axes: Sequence[int], layer: str) -> tuple[int, ...]:
    """Return the sizes of ``axes``, which must be known because weights take their shape from them."""
    sizes = tuple(shape[axis] for axis in axes)
    if None in sizes:
        raise ValueError(
            f"The layer {layer!r} keeps one weight an element of axes {list(axes)}, so their sizes must be known. "
            f"Received: input shape {tuple(shape)}. Give the model a fixed input shape there, or normalize over "
            "the channel axis."
        )
    return sizes  # type: ignore[return-value]
