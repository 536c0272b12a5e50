"""Makes the Keras layer of a planned layer."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from tfnorm.errors import ArchitectureError
from tfnorm.layers import TLU, Conv2D, Dropout, Normalization, ReLU, WeightStandardizedConv2D
from tfnorm.layers.create import norm_layer
from tfnorm.models.planner import LayerPlan
from tfnorm.regularizers import from_spec
from tfnorm.spec import NormSpec


@dataclass(frozen=True)
class LayerSettings:
    """Settings of all layers of one network; ``norm`` are arguments of `norm_layer`, ``pixels`` of `Normalization`."""

    spec: NormSpec
    everything: bool
    seed: int
    norm: dict[str, Any]
    kernel_initializer: str
    pixels: dict[str, list[float]]

    def seed_of(self, name: str) -> int:
        """Return a seed that depends on ``name`` alone, so that one more layer elsewhere changes nothing here."""
        return zlib.crc32(f"{self.seed}/{name}".encode()) % 2**31

    def initializer(self, name: str, groups: int = 1) -> keras.initializers.Initializer:
        """Return the kernel initializer of the layer ``name``. A depthwise convolution has a group for each channel."""
        scaling = keras.initializers.VarianceScaling
        if self.kernel_initializer == "torch":
            # Uniform in +-1/sqrt(fan in), what PyTorch's Conv2d and Linear draw.
            initializer = scaling(scale=1 / 3, mode="fan_in", distribution="uniform")
        else:
            try:
                initializer = keras.initializers.get(self.kernel_initializer)
            except ValueError:
                raise ArchitectureError(
                    f"Unknown kernel initializer {self.kernel_initializer!r}. Use the name of one of Keras, such as "
                    "'he_normal', or 'torch'."
                ) from None
        kind, config = type(initializer), initializer.get_config()
        if groups > 1 and isinstance(initializer, scaling):
            # Keras counts the channels of all groups as inputs of each output.
            counted = {"fan_in": groups, "fan_avg": (groups + 1) / 2, "fan_out": 1}[initializer.mode]
            kind, scale = scaling, counted * initializer.scale
            config = {"mode": initializer.mode, "distribution": initializer.distribution, "scale": scale}
        if kind is scaling or "seed" in config:
            config["seed"] = self.seed_of(name)
        return kind.from_config(config)

    def penalty(self, kernel: bool = False):
        """Return a penalty for a kernel or another variable, or None."""
        return from_spec(self.spec) if kernel or self.everything else None


def _conv(layer: LayerPlan, settings: LayerSettings):
    options = layer.options
    kind = WeightStandardizedConv2D if options["standardized"] else Conv2D
    return kind(
        options["filters"],
        options["kernel"],
        strides=options["stride"],
        dilation_rate=options["dilation"],
        padding=options["padding"],
        use_bias=options["bias"],
        kernel_initializer=settings.initializer(layer.name),
        kernel_regularizer=settings.penalty(kernel=True),
        bias_regularizer=settings.penalty() if options["bias"] else None,
        name=layer.name,
    )


def _depthwise(layer: LayerPlan, settings: LayerSettings):
    options = layer.options
    return layers.DepthwiseConv2D(
        options["kernel"],
        strides=options["stride"],
        dilation_rate=options["dilation"],
        padding=options["padding"],
        use_bias=False,
        depthwise_initializer=settings.initializer(layer.name, groups=layer.shape[-1]),
        depthwise_regularizer=settings.penalty(kernel=True),
        name=layer.name,
    )


def _dense(layer: LayerPlan, settings: LayerSettings):
    return layers.Dense(
        layer.shape[0],
        kernel_initializer=settings.initializer(layer.name),
        kernel_regularizer=settings.penalty(kernel=True),
        bias_regularizer=settings.penalty(),
        name=layer.name,
    )


def _pool(layer: LayerPlan, settings: LayerSettings):
    kind = layers.MaxPooling2D if layer.kind == "max_pool" else layers.AveragePooling2D
    window = layer.options
    return kind(window["size"], strides=window["stride"], padding=window["padding"], name=layer.name)


def _pad_channels(layer: LayerPlan, settings: LayerSettings):
    # ZeroPadding2D pads the last two axes of "channels first" images: here width, by 0, and channels.
    channels = (layer.options["before"], layer.options["after"])
    return layers.ZeroPadding2D(((0, 0), channels), data_format="channels_first", name=layer.name)


MAKERS: dict[str, Callable[[LayerPlan, LayerSettings], Any]] = {
    # float32 whatever the precision: pixels up to 255 lose their last bits in float16 when scaled.
    "normalization": lambda layer, s: Normalization(name=layer.name, dtype="float32", **s.pixels),
    "conv": _conv,
    "depthwise": _depthwise,
    "dense": _dense,
    "norm": lambda layer, s: norm_layer(s.spec, name=layer.name, regularizer=s.penalty(), **s.norm),
    "dropout": lambda layer, s: Dropout(layer.options["rate"], seed=s.seed_of(layer.name), name=layer.name),
    "relu": lambda layer, s: ReLU(name=layer.name),
    "tlu": lambda layer, s: TLU(tau_regularizer=s.penalty(), name=layer.name),
    "max_pool": _pool,
    "avg_pool": _pool,
    "global_pool": lambda layer, s: layers.GlobalAveragePooling2D(keepdims=True, name=layer.name),
    "flatten": lambda layer, s: layers.Flatten(name=layer.name),
    "add": lambda layer, s: layers.Add(name=layer.name),
    "subsample": lambda layer, s: layers.MaxPooling2D(1, strides=layer.options["stride"], name=layer.name),
    "pad_channels": _pad_channels,
}


def make_layer(layer: LayerPlan, settings: LayerSettings):
    """Return the Keras layer of a planned one."""
    return MAKERS[layer.kind](layer, settings)
