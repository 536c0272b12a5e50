"""How layers with windows read their input: convolution, pooling, padding, cropping, a change of size."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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
from tfnorm.analysis.trace import Shape, Trace, Window, along, mixed, renumbered, unknown

SLIDING = (BaseConv, BaseDepthwiseConv, BaseSeparableConv, BaseConvTranspose, BasePooling)
Reader = Callable[[Any, Sequence[Trace], Shape], Trace]


def _dimension(layer: Any, place: int, shape: Shape) -> int | None:
    """Return which of a layer's height, width ... lies along an axis; None for the channels."""
    if getattr(layer, "data_format", None) == "channels_first":
        return place - 1 if place else None
    return place if place < len(shape) - 1 else None


def _windowed(size: str) -> Reader:
    """Return the reader of layers with strides, padding, perhaps a dilation, and a window in the attribute ``size``."""

    def read_windows(layer: Any, inputs: Sequence[Trace], shape: Shape) -> Trace:
        (trace,) = inputs

        def change(place: int, field: Field) -> Field:
            index = _dimension(layer, place, trace.shape)
            if index is None:
                return field
            dilations = getattr(layer, "dilation_rate", 1)
            dilation = dilations if isinstance(dilations, int) else dilations[index]
            window = Window(getattr(layer, size)[index], layer.strides[index], dilation, layer.padding)
            return window.over(field, shape[place])

        return along(_without_channels(layer, trace), shape, change)

    return read_windows


def _without_channels(layer: Any, trace: Trace) -> Trace:
    """Return the trace with an axis of the image that is a convolution's channel axis read whole."""
    if isinstance(layer, BasePooling):
        return trace
    lost = [place for place in trace.places if place is not None and _dimension(layer, place, trace.shape) is None]
    return mixed(trace, trace.shape, lost)


def _transposed(layer: Any, inputs: Sequence[Trace], shape: Shape) -> Trace:
    (trace,) = inputs

    def change(place: int, field: Field) -> Field:
        index = _dimension(layer, place, trace.shape)
        size, stride, dilation = (each[index] for each in (layer.kernel_size, layer.strides, layer.dilation_rate))
        before = 0
        if layer.padding == "same":
            # It is the gradient of a convolution with padding "same" over the output, of any number of units.
            extent, units = dilation * (size - 1) + 1, 4
            options = layer.output_padding
            length = units * stride if options is None else (units - 1) * stride + extent % 2 + options[index]
            before, _ = same_padding(length, size, stride, dilation)
        return field.transposed(size, stride, dilation, before=before, length=shape[place])

    return along(_without_channels(layer, trace), shape, change)


def _global_pool(layer: Any, inputs: Sequence[Trace], shape: Shape) -> Trace:
    (trace,) = inputs
    axes = [axis for axis in range(len(trace.shape)) if _dimension(layer, axis, trace.shape) is not None]
    return reduced(trace, shape, axes, layer.keepdims)


def reduced(trace: Trace, shape: Shape, axes: Sequence[int], kept: bool) -> Trace:
    """Return the trace after a reduction over ``axes``, which stay, with one unit, if they are ``kept``."""
    gathered = mixed(trace, shape, axes, kept=kept)
    return gathered if kept else renumbered(gathered, shape, lambda place: place - sum(axis < place for axis in axes))


def _area(unit: int, old: int, new: int) -> range:
    return range(unit * old // new, -(-(unit + 1) * old // new))


def _resampled(layer: Any, inputs: Sequence[Trace], shape: Shape, taps: Callable[[int, int, int], range]) -> Trace:
    """Return the trace after a change of size, in which ``unit`` of ``new`` reads ``taps(unit, old, new)``."""
    (trace,) = inputs
    new = {place: shape[place] for place in trace.places if place is not None}
    moved = [place for place in new if _dimension(layer, place, trace.shape) is not None]
    if any(trace.shape[place] is None or new[place] is None for place in moved):
        return unknown(trace, shape, "what it reads depends on the image's size; give `input_shape`")

    def change(place: int, field: Field) -> Field:
        old = trace.shape[place]
        return field.resampled(old, new[place], lambda unit: taps(unit, old, new[place])) if place in moved else field

    return along(trace, shape, change)


# How far the kernel of an interpolation reaches to either side, in pixels.
RADII = {"bilinear": 1, "bicubic": 2, "lanczos3": 3, "lanczos5": 5}


def _interpolated(interpolation: str, antialias: bool = False) -> Callable[[int, int, int], range] | None:
    """Return what each pixel of an enlarged or reduced image reads; None if the interpolation is not known."""
    if interpolation == "area":
        return _area
    if interpolation != "nearest" and interpolation not in RADII:
        return None

    def taps(unit: int, old: int, new: int) -> range:
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

    return taps


NOT_KNOWN = "what its interpolation {!r} reads is not known"


def _resizing(layer: Any, inputs: Sequence[Trace], shape: Shape) -> Trace:
    if layer.crop_to_aspect_ratio or layer.pad_to_aspect_ratio:
        return unknown(inputs[0], shape, "it keeps the aspect ratio, which is not followed")
    taps = _interpolated(layer.interpolation, layer.antialias)
    if taps is None:
        return unknown(inputs[0], shape, NOT_KNOWN.format(layer.interpolation))
    return _resampled(layer, inputs, shape, taps)


def _up_sampling(layer: Any, inputs: Sequence[Trace], shape: Shape) -> Trace:
    (trace,) = inputs
    factors = (layer.size,) if isinstance(layer.size, int) else layer.size
    taps = _interpolated(getattr(layer, "interpolation", "nearest"))
    if taps is None:
        return unknown(trace, shape, NOT_KNOWN.format(layer.interpolation))

    def change(place: int, field: Field) -> Field:
        index = _dimension(layer, place, trace.shape)
        factor = 1 if index is None else factors[index]
        return field.resampled(1, factor, lambda unit: taps(unit, 1, factor))

    return along(trace, shape, change)


def _moved(sign: int, attribute: str) -> Reader:
    """Return the reader of layers that pad (sign 1) or crop (-1) by the pairs in ``attribute``."""

    def read_moved(layer: Any, inputs: Sequence[Trace], shape: Shape) -> Trace:
        (trace,) = inputs
        amounts = getattr(layer, attribute)
        pairs = (amounts,) if isinstance(amounts[0], int) else amounts

        def change(place: int, field: Field) -> Field:
            index = _dimension(layer, place, trace.shape)
            return field if index is None else field.window(1, before=sign * pairs[index][0])

        return along(trace, shape, change)

    return read_moved


def _center_crop(layer: Any, inputs: Sequence[Trace], shape: Shape) -> Trace:
    (trace,) = inputs
    pairs = [(trace.shape[place], shape[place]) for place in trace.places if place is not None]
    if any(old is None or old < new for old, new in pairs):
        return unknown(trace, shape, "it resizes images that are smaller, which is not followed")
    return along(trace, shape, lambda place, field: field.window(1, before=-((trace.shape[place] - shape[place]) // 2)))


WINDOW_READERS: tuple[tuple[tuple[type, ...], Reader], ...] = (
    ((BaseConv, BaseDepthwiseConv, BaseSeparableConv), _windowed("kernel_size")),
    ((BasePooling,), _windowed("pool_size")),
    ((BaseConvTranspose,), _transposed),
    ((BaseGlobalPooling,), _global_pool),
    (ADAPTIVE_POOLING, lambda layer, inputs, shape: _resampled(layer, inputs, shape, _area)),
    ((layers.Resizing, IMAGE.Resize), _resizing),
    ((layers.CenterCrop,), _center_crop),
    ((layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D), _up_sampling),
    ((layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D), _moved(1, "padding")),
    ((layers.Cropping1D, layers.Cropping2D, layers.Cropping3D), _moved(-1, "cropping")),
)
