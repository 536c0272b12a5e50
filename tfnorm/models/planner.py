"""The walk over an architecture's blocks that works out its layers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tfnorm.errors import ArchitectureError
from tfnorm.models.architectures import BLOCK, ArchSpec, Block, Conv, Dense, Drop, GlobalPool, Pool, Residual
from tfnorm.spec import NormSpec, check_groups

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LayerPlan:
    """One layer of a network.

    Args:
        name: The Keras layer's name.
        kind: What it is, such as "conv" or "norm".
        inputs: Names of the layers it reads.
        shape: Output shape without the batch axis.
        options: What its kind needs to be made.
        weights: Shape of each trainable weight by its Keras name.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    shape: Shape
    options: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Shape] = field(default_factory=dict)


@dataclass(frozen=True)
class NetworkPlan:
    """A network, layer by layer, in an order in which it can be built."""

    arch: ArchSpec
    spec: NormSpec
    layers: tuple[LayerPlan, ...]

    @property
    def trainable_parameters(self) -> int:
        """Number of trainable parameters; moving statistics are not among them."""
        return sum(math.prod(shape) for layer in self.layers for shape in layer.weights.values())

    @property
    def input_shape(self) -> Shape:
        """(height, width, channels) of the images."""
        return self.layers[0].shape


class TooSmallError(Exception):
    """An input that runs out of pixels at a layer, which needs ``needed`` a side."""

    def __init__(self, layer: str, needed: int, shape: Shape) -> None:
        super().__init__(layer)
        self.layer, self.needed = layer, needed
        self.height, self.width = shape[:2]


class Planner:
    """Walks over the blocks of an architecture and collects layers."""

    def __init__(self, arch: ArchSpec, spec: NormSpec, num_classes: int, dropout: float) -> None:
        self.arch, self.spec, self.num_classes, self.dropout = arch, spec, num_classes, dropout
        self.layers: dict[str, LayerPlan] = {}
        self.counts: dict[str, int] = {}
        self.channels_before_norms: list[int] = []

    def run(self, shape: Shape) -> NetworkPlan:
        """Return the plan for an input of ``shape``."""
        self.add("image", "input", (), shape)
        last = self.chain(self.arch.blocks, self.add("pixels", "normalization", ("image",), shape))
        head = self.layers[last]
        if len(head.shape) > 1:
            if head.shape[:2] != (1, 1):
                raise ArchitectureError(
                    f"The architecture {self.arch.name!r} must end in one value a class. Its last layer {last!r} "
                    f"gives the shape {head.shape}. Put a GlobalPool before the last Conv, or end with Dense()."
                )
            last = self.add("flatten", "flatten", (last,), (head.shape[2],))
        if self.layers[last].shape != (self.num_classes,):
            raise ArchitectureError(
                f"The architecture {self.arch.name!r} must end in one value a class. Its last layer {last!r} gives "
                f"{self.layers[last].shape[0]} for {self.num_classes} classes. End with Conv(None, 1) or Dense()."
            )
        return NetworkPlan(self.arch, self.spec, tuple(self.layers.values()))

    def norm_channels(self, shape: Shape) -> list[int]:
        """Return the channels of each place for a norm."""
        self.run(shape)
        return self.channels_before_norms

    def add(
        self,
        name: str,
        kind: str,
        inputs: tuple[str, ...],
        shape: Shape,
        options: dict[str, Any] | None = None,
        weights: dict[str, Shape] | None = None,
    ) -> str:
        """Add a layer and return its name."""
        if name in self.layers:
            raise ArchitectureError(f"Two layers of {self.arch.name!r} are called {name!r}. Give each its own name.")
        self.layers[name] = LayerPlan(name, kind, inputs, shape, options or {}, weights or {})
        return name

    def numbered(self, word: str, name: str | None) -> str:
        """Return ``name``, or ``word`` with the next number."""
        if name is not None:
            return name
        self.counts[word] = self.counts.get(word, 0) + 1
        return f"{word}{self.counts[word]}"

    def chain(self, blocks: Iterable[Block], source: str) -> str:
        """Add blocks one after the other and return the last layer's name."""
        for block in blocks:
            source = self.block(block, source)
        return source

    def block(self, block: Block, source: str) -> str:
        """Add a block after ``source`` and return its last layer's name."""
        shape = self.layers[source].shape
        if len(shape) != 3 and not isinstance(block, Dense | Drop):
            raise ArchitectureError(
                f"A {type(block).__name__} takes an image, and {source!r} in {self.arch.name!r} gives {shape[0]} "
                "numbers. Put it before the Dense."
            )
        if isinstance(block, Conv):
            return self.conv(block, source)
        if isinstance(block, Residual):
            return self.residual(block, source)
        if isinstance(block, Pool):
            name = self.numbered(f"{block.kind}_pool", block.name)
            if min(shape[:2]) < block.size:
                raise TooSmallError(name, block.size, shape)
            size = {"size": block.size}
            return self.add(name, f"{block.kind}_pool", (source,), (*_pooled(shape, block.size), shape[2]), size)
        if isinstance(block, GlobalPool):
            return self.add(self.numbered("global_pool", block.name), "global_pool", (source,), (1, 1, shape[2]))
        if isinstance(block, Drop):
            return self.drop(self.numbered("dropout", block.name), source)
        return self.dense(block, source)

    def dense(self, block: Dense, source: str) -> str:
        """Add a classifier on flattened features."""
        shape = self.layers[source].shape
        if len(shape) > 1:
            source = self.add("flatten", "flatten", (source,), (math.prod(shape),))
        inputs, outputs = math.prod(shape), self.num_classes
        weights = {"kernel": (inputs, outputs), "bias": (outputs,)}
        return self.add(self.numbered("dense", block.name), "dense", (source,), (outputs,), weights=weights)

    def conv(self, block: Conv, source: str) -> str:
        """Add a convolution with its parts."""
        height, width, channels = shape = self.layers[source].shape
        filters = self.num_classes if block.filters is None else block.filters
        name = self.numbered("conv", block.name)
        needed = block.dilation * (block.kernel - 1) + 1
        if self.arch.padding == "valid" and min(height, width) < needed:
            raise TooSmallError(name, needed, shape)
        if block.stride > 1 and block.dilation > 1:
            raise ArchitectureError(f"A convolution has a stride or a dilation, not both. Received: {block!r}.")
        trim = needed - 1 if self.arch.padding == "valid" else 0
        sides = tuple(-(-(side - trim) // block.stride) for side in (height, width))
        bias = self.arch.conv_bias if block.bias is None else block.bias
        window: dict[str, Any] = {
            "kernel": block.kernel,
            "stride": block.stride,
            "dilation": block.dilation,
            "padding": self.arch.padding,
        }
        standardized = self.spec.weight_standardization and "norm" in block.parts
        if block.separable:
            kernel: dict[str, Shape] = {"kernel": (block.kernel, block.kernel, channels, 1)}
            source = self.add(f"{name}_depthwise", "depthwise", (source,), (*sides, channels), window, kernel)
            window = {"kernel": 1, "stride": 1, "dilation": 1, "padding": "same"}
        weights: dict[str, Shape] = {"kernel": (window["kernel"], window["kernel"], channels, filters)}
        if bias:
            weights["bias"] = (filters,)
        options = {**window, "filters": filters, "bias": bias, "standardized": standardized}
        out = self.add(name, "conv", (source,), (*sides, filters), options, weights)
        self.check_parts(block.parts, name)
        ordered = [part for part in self.arch.order if part in block.parts]
        return self.parts(ordered, name, out)

    def residual(self, block: Residual, source: str) -> str:
        """Add two paths and their sum."""
        name = self.numbered("residual", block.name)
        main = self.chain(block.main, source)
        shortcut = source
        for index, conv in enumerate(block.shortcut):
            suffix = f"_shortcut{index + 1}" if len(block.shortcut) > 1 else "_shortcut"
            named = conv if conv.name else Conv(**{**vars(conv), "name": name + suffix})
            shortcut = self.conv(named, shortcut)
        if not block.shortcut:
            shortcut = self.identity(name, shortcut, self.layers[main].shape)
        shape = self.layers[main].shape
        if self.layers[shortcut].shape != shape:
            raise ArchitectureError(
                f"The two paths of {name!r} in {self.arch.name!r} must give one shape. Received: main path {shape}, "
                f"shortcut {self.layers[shortcut].shape}. Give the shortcut the same filters and strides."
            )
        out = self.add(f"{name}_add", "add", (shortcut, main), shape)
        self.check_parts(block.after, name)
        return self.parts(block.after, name, out)

    def identity(self, name: str, source: str, target: Shape) -> str:
        """Subsample and pad a shortcut with zero channels, without parameters."""
        height, width, channels = self.layers[source].shape
        stride = max(-(-height // target[0]), -(-width // target[1]))  # a side of 1 stays 1 under any stride
        if stride > 1:
            sides = (-(-height // stride), -(-width // stride))
            options = {"stride": stride}
            source = self.add(f"{name}_subsample", "subsample", (source,), (*sides, channels), options)
        if target[2] > channels:
            before = (target[2] - channels) // 2
            options = {"before": before, "after": target[2] - channels - before}
            shape = (*self.layers[source].shape[:2], target[2])
            source = self.add(f"{name}_pad", "pad_channels", (source,), shape, options)
        return source

    @staticmethod
    def check_parts(parts: Sequence[str], owner: str) -> None:
        """Raise an error for a part that is none."""
        for part in parts:
            if part not in BLOCK:
                raise ArchitectureError(f"A part must be norm, act or dropout. Received: {part!r} at {owner!r}.")

    def parts(self, parts: Sequence[str], owner: str, source: str) -> str:
        """Add norm, activation and dropout after ``source`` in the order of ``parts``."""
        if self.spec.kind == "frn" and {"norm", "act"} <= set(parts):
            # Filter response normalization brings its own activation, after it (arXiv 1911.09737, section 3.2).
            parts = ("norm", "tlu", *(part for part in parts if part == "dropout"))
        for part in parts:
            shape = self.layers[source].shape
            if part == "norm":
                source = self.norm(f"{owner}_norm", source)
            elif part == "dropout":
                source = self.drop(f"{owner}_dropout", source)
            elif part == "tlu":
                source = self.add(f"{owner}_tlu", "tlu", (source,), shape, weights={"tau": shape[-1:]})
            else:
                source = self.add(f"{owner}_relu", "relu", (source,), shape)
        return source

    def norm(self, name: str, source: str) -> str:
        """Add the spec's norm, if it has one."""
        shape = self.layers[source].shape
        self.channels_before_norms.append(shape[-1])
        kind = self.spec.kind
        if kind == "none":
            return source
        check_groups(self.spec, shape[-1], name)
        affine = shape if kind == "ln" and not self.spec.per_pixel else shape[-1:]
        weights = {"scale": affine} if kind == "rms" else {"gamma": affine, "beta": affine}
        return self.add(name, "norm", (source,), shape, weights=weights)

    def drop(self, name: str, source: str) -> str:
        """Add a dropout, if its rate is not 0."""
        if not self.dropout:
            return source
        return self.add(name, "dropout", (source,), self.layers[source].shape, {"rate": self.dropout})


def _pooled(shape: Shape, size: int) -> Shape:
    return tuple(side // size for side in shape[:2])
