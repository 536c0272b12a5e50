"""How layers with windows read their input: convolution, pooling, padding, cropping, a change of size."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from fractions import Fraction
from typing import Any

from keras import layers

from tfnorm._keras import (
    ADAPTIVE_POOLING,
    IMAGE,
    BaseConv,
    BaseConvTranspose,
    BaseDepthwiseConv,
    BaseGlobalPooling,
    BasePooling,
    BaseSeparableConv,
)
from tfnorm.analysis.field import Field, same_padding
from tfnorm.analysis.trace import OPEN, Shape, Trace, Window, along, mixed, renumbered, unknown

SLIDING = (BaseConv, BaseDepthwiseConv, BaseSeparableConv, BaseConvTranspose, BasePooling)
CROPPING = (layers.Cropping1D, layers.Cropping2D, layers.Cropping3D)
# How far the kernel of an interpolation reaches to either side, in pixels.
RADII = {"bilinear": 1, "bicubic": 2, "lanczos3": 3, "lanczos5": 5}
Reader = Callable[[Any, Sequence[Trace], Shape], Trace]


def _sides(layer: Any, rank: int) -> list[int]:
    """Return the axes along which a layer's height, width ... lie: all but the channels."""
    return list(range(1, rank) if getattr(layer, "data_format", None) == "channels_first" else range(rank - 1))


def _along_sides(layer: Any, trace: Trace, shape: Shape, change: Callable[[int, int, Field], Field]) -> Trace:
    """Return a trace of ``shape`` whose fields along each side are ``change(number, axis, field)``."""
    sides = _sides(layer, len(trace.shape))
    return along(trace, shape, lambda axis, field: change(sides.index(axis), axis, field) if axis in sides else field)


def _without_channels(layer: Any, trace: Trace) -> Trace:
    """Return the trace with an axis of the image that is a convolution's channel axis read whole."""
    rank = len(trace.shape)
    return mixed(trace, trace.shape, set(range(rank)) - set(_sides(layer, rank)))


def _windowed(layer: Any, inputs: Sequence[Trace], shape: Shape) -> Trace:
    (trace,) = inputs
    pools = isinstance(layer, BasePooling)
    sizes, dilations = layer.pool_size if pools else layer.kernel_size, getattr(layer, "dilation_rate", 1)

    def change(side: int, axis: int, field: Field) -> Field:
        dilation = dilations if isinstance(dilations, int) else dilations[side]
        return Window(sizes[side], layer.strides[side], dilation, layer.padding).over(field, shape[axis])

    return _along_sides(layer, trace if pools else _without_channels(layer, trace), shape, change)


def _transposed(layer: Any, inputs: Sequence[Trace], shape: Shape) -> Trace:
    (trace,) = inputs

    def change(side: int, axis: int, field: Field) -> Field:
        size, stride, dilation = (each[side] for each in (layer.kernel_size, layer.strides, layer.dilation_rate))
        before = 0
        if layer.padding == "same":
            # It is the gradient of a convolution with padding "same" over the output, of any number of units.
            extent, units = dilation * (size - 1) + 1, 4
            options = layer.output_padding
            length = units * stride if options is None else (units - 1) * stride + extent % 2 + options[side]
            before, _ = same_padding(length, size, stride, dilation)
        return field.transposed(size, stride, dilation, before=before, length=shape[axis])

    return _along_sides(layer, _without_channels(layer, trace), shape, change)


def _global_pool(layer: Any, inputs: Sequence[Trace], shape: Shape) -> Trace:
    (trace,) = inputs
    return reduced(trace, shape, _sides(layer, len(trace.shape)), layer.keepdims)


def reduced(trace: Trace, shape: Shape, axes: Collection[int], kept: bool) -> Trace:
    """Return the trace after a reduction over ``axes``, which stay, with one unit, if they are ``kept``."""
    gathered = mixed(trace, shape, axes, kept=kept)
    return gathered if kept else renumbered(gathered, shape, lambda place: place - sum(axis < place for axis in axes))


def _resampled(
    layer: Any,
    trace: Trace,
    shape: Shape,
    interpolation: str,
    *,
    antialias: bool = False,
    factors: Sequence[int] | None = None,
) -> Trace:
    """Return the trace after a change of size, to ``shape`` or by ``factors``."""
    if interpolation not in ("area", "nearest", *RADII):
        return unknown(trace, shape, f"what its interpolation {interpolation!r} reads is not known")
    moved = [axis for axis in _sides(layer, len(trace.shape)) if axis in trace.places]
    if factors is None and any(None in (trace.shape[axis], shape[axis]) for axis in moved):
        return unknown(trace, shape, OPEN)

    def change(side: int, axis: int, field: Field) -> Field:
        old, new = (trace.shape[axis], shape[axis]) if factors is None else (1, factors[side])
        return field.resampled(old, new, lambda unit: _taps(unit, old, new, interpolation, antialias))

    return _along_sides(layer, trace, shape, change)


def _taps(unit: int, old: int, new: int, interpolation: str, antialias: bool) -> range:
    """Return which of ``old`` pixels one of ``new`` reads."""
    if interpolation == "area":
        return range(unit * old // new, -(-(unit + 1) * old // new))
    if interpolation == "nearest":
        nearest = (2 * unit + 1) * old // (2 * new)
        return range(nearest, nearest + 1)
    centre = Fraction((2 * unit + 1) * old, 2 * new) - Fraction(1, 2)
    radius = Fraction(RADII[interpolation])
    if antialias and old > new:
        radius *= Fraction(old, new)
    elif centre.denominator == 1:
        return range(int(centre), int(centre) + 1)
    return range(math.floor(centre - radius) + 1, math.ceil(centre + radius))


def _resizing(layer: Any, inputs: Sequence[Trace], shape: Shape) -> Trace:
    if layer.crop_to_aspect_ratio or layer.pad_to_aspect_ratio:
        return unknown(inputs[0], shape, "it keeps the aspect ratio, which is not followed")
    return _resampled(layer, inputs[0], shape, layer.interpolation, antialias=layer.antialias)


def _up_sampling(layer: Any, inputs: Sequence[Trace], shape: Shape) -> Trace:
    factors = (layer.size,) if isinstance(layer.size, int) else layer.size
    return _resampled(layer, inputs[0], shape, getattr(layer, "interpolation", "nearest"), factors=factors)


def _padded_or_cropped(layer: Any, inputs: Sequence[Trace], shape: Shape) -> Trace:
    sign, amounts = (-1, layer.cropping) if isinstance(layer, CROPPING) else (1, layer.padding)
    pairs = (amounts,) if isinstance(amounts[0], int) else amounts
    return _along_sides(
        layer, inputs[0], shape, lambda side, axis, field: field.window(1, before=sign * pairs[side][0])
    )


def _center_crop(layer: Any, inputs: Sequence[Trace], shape: Shape) -> Trace:
    (trace,) = inputs
    pairs = [(trace.shape[place], shape[place]) for place in trace.places if place is not None]
    if any(old is None or old < new for old, new in pairs):
        return unknown(trace, shape, "it resizes images that are smaller, which is not followed")
    return along(trace, shape, lambda place, field: field.window(1, before=-((trace.shape[place] - shape[place]) // 2)))


WINDOW_READERS: tuple[tuple[tuple[type, ...], Reader], ...] = (
    ((BaseConv, BaseDepthwiseConv, BaseSeparableConv, BasePooling), _windowed),
    ((BaseConvTranspose,), _transposed),
    ((BaseGlobalPooling,), _global_pool),
    (ADAPTIVE_POOLING, lambda layer, inputs, shape: _resampled(layer, inputs[0], shape, "area")),
    ((layers.Resizing, IMAGE.Resize), _resizing),
    ((layers.CenterCrop,), _center_crop),
    ((layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D), _up_sampling),
    ((layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D, *CROPPING), _padded_or_cropped),
)
