"""The kinds of layers that conversions look for."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import layers

from tfnorm import layers as ours
from tfnorm.layers.create import norm_classes


def _of_ranks(*names: str) -> tuple[type, ...]:
    return tuple(getattr(layers, f"{name}{rank}D") for name in names for rank in (1, 2, 3))


CONVOLUTIONS = (*_of_ranks("Conv"), ours.Conv2D, ours.WeightStandardizedConv2D)
DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
TRANSPOSED = tuple(getattr(layers, f"Conv{rank}DTranspose") for rank in (1, 2, 3))
ALL_CONVOLUTIONS = (*CONVOLUTIONS, *DEPTHWISE, *SEPARABLE, *TRANSPOSED)

BATCH_NORMS = (layers.BatchNormalization, ours.BatchNormalization)
_NORMS = (layers.BatchNormalization, layers.LayerNormalization, layers.GroupNormalization, layers.RMSNormalization)

# Layers whose pixels are means, or maxima, of pixels of the same channel. Nothing is mixed in at the border.
MEANS = _of_ranks("AveragePooling", "GlobalAveragePooling", "Cropping", "UpSampling")
MAXIMA = _of_ranks("MaxPooling", "GlobalMaxPooling")

_ACTIVATIONS = (layers.Activation, ours.Activation)
_IDLE = (
    *(layers.Identity, layers.ActivityRegularization, layers.Dropout, *_of_ranks("SpatialDropout"), ours.Dropout),
    *(layers.GaussianDropout, layers.GaussianNoise, layers.AlphaDropout),
)


def norm_kinds() -> tuple[type, ...]:
    """Return the classes of the norms that conversions know: Keras's, and those of tfnorm's registry."""
    return (*_NORMS, *norm_classes())


def is_relu(layer: Any) -> bool:
    """Return whether ``layer`` is max(x, 0) and nothing else."""
    if type(layer) in (layers.ReLU, ours.ReLU):
        return layer.max_value is None and not layer.negative_slope and not layer.threshold
    return type(layer) in _ACTIVATIONS and layer.activation is keras.activations.relu


def is_idle(layer: Any) -> bool:
    """Return whether ``layer`` gives its input at inference."""
    return type(layer) in _IDLE or (type(layer) in _ACTIVATIONS and is_linear(layer))


def is_linear(layer: Any) -> bool:
    """Return whether the activation of ``layer`` does nothing."""
    return layer.activation in (None, keras.activations.linear)


def is_adapted(layer: Any) -> bool:
    """Return whether the weights of ``layer`` are quantized or have a low-rank addition."""
    return bool(getattr(layer, "lora_enabled", False) or layer.quantization_mode)


def can_standardize(layer: Any) -> bool:
    """Return whether a `WeightStandardizedConv2D` can stand in place of ``layer``."""
    plain = type(layer) in (layers.Conv2D, ours.Conv2D) and not is_adapted(layer)
    return plain and math.prod(layer.kernel.shape[:-1]) > 1


def axis_of_channels(layer: Any, rank: int) -> int:
    """Return the channel axis of a convolution, pooling or dense layer, counted from the front."""
    return 1 if getattr(layer, "data_format", None) == "channels_first" else rank - 1
