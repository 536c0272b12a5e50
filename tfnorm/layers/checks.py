"""Checks and weights that several norm layers share."""

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


def add_gamma_beta(layer, shape: tuple[int, ...], *, scale: bool, center: bool) -> None:
    """Give ``layer`` the weights gamma (``scale``) and beta (``center``) of ``shape``, named as Keras names them."""
    layer.gamma = layer.beta = None
    if scale:
        layer.gamma = layer.add_weight(
            name="gamma",
            shape=shape,
            initializer=layer.gamma_initializer,
            regularizer=layer.gamma_regularizer,
            constraint=layer.gamma_constraint,
            autocast=False,
        )
    if center:
        layer.beta = layer.add_weight(
            name="beta",
            shape=shape,
            initializer=layer.beta_initializer,
            regularizer=layer.beta_regularizer,
            constraint=layer.beta_constraint,
            autocast=False,
        )
