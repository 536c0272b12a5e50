"""Plans the layers of a network without Keras: their names, shapes and weights, and errors in them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from tfnorm.errors import ArchitectureError, SpecError, whole_number
from tfnorm.models.architectures import (
    ARCHITECTURES,
    BLOCK,
    ArchSpec,
    Block,
    Conv,
    Dense,
    Drop,
    GlobalPool,
    Pool,
    Residual,
)
from tfnorm.spec import NormSpec, check_groups, divisors

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LayerPlan:
    """One layer of a network.

    Args:
        name: The Keras layer's name.
        kind: The kind of layer, such as "conv" or "norm".
        inputs: Names of the layers that it reads.
        shape: Output shape without the batch axis.
        options: Further arguments that its kind needs.
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
        """Number of trainable parameters. Moving statistics are not trainable."""
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
        """Raise an error for a part that is not norm, act or dropout."""
        for part in parts:
            if part not in BLOCK:
                raise ArchitectureError(f"A part must be norm, act or dropout. Received: {part!r} at {owner!r}.")

    def parts(self, parts: Sequence[str], owner: str, source: str) -> str:
        """Add norm, activation and dropout after ``source`` in the order of ``parts``."""
        if self.spec.info.thresholded and {"norm", "act"} <= set(parts):
            # The unit follows the norm, whatever the order of the architecture (arXiv 1911.09737, section 3.2).
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
        if not self.spec.info.layer:
            return source
        check_groups(self.spec, shape[-1], name)
        return self.add(name, "norm", (source,), shape, weights=self.spec.weight_shapes(shape))

    def drop(self, name: str, source: str) -> str:
        """Add a dropout, if its rate is not 0."""
        if not self.dropout:
            return source
        return self.add(name, "dropout", (source,), self.layers[source].shape, {"rate": self.dropout})


def _pooled(shape: Shape, size: int) -> Shape:
    return tuple(side // size for side in shape[:2])


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
        input_shape: (height, width, channels). Defaults to the architecture's.
        num_classes: Number of logits. Defaults to 10.
        dropout: Dropout rate from 0 to below 1. Defaults to the architecture's.

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
