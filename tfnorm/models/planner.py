"""Plans the layers of a network without Keras: their names, shapes and weights, and errors in them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
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


class _TooSmallError(Exception):
    """An input that runs out of pixels. It holds the name of the layer, the pixels a side it needs, and its input."""


class _Planner:
    """Walks over the blocks of an architecture and collects layers. Each method returns the name of the last one."""

    def __init__(
        self, arch: ArchSpec, spec: NormSpec, num_classes: int, dropout: float, zero_gamma: bool = False
    ) -> None:
        self.arch, self.spec, self.num_classes, self.dropout = arch, spec, num_classes, dropout
        self.zero_gamma = zero_gamma
        self.layers: dict[str, LayerPlan] = {}
        self.counts: dict[str, int] = {}

    def run(self, shape: Shape) -> NetworkPlan:
        """Return the plan for an input of ``shape``."""
        self.add("image", "input", (), shape)
        last = self.chain(self.arch.blocks, self.add("pixels", "normalization", ("image",), shape))
        head = self.layers[last].shape
        if head not in ((self.num_classes,), (1, 1, self.num_classes)):
            raise ArchitectureError(
                f"The architecture {self.arch.name!r} must end in one value for each of {self.num_classes} classes. "
                f"Its last layer {last!r} gives the shape {head}. End with GlobalPool() and Conv(None, 1), or Dense()."
            )
        if len(head) > 1:
            self.add("flatten", "flatten", (last,), head[2:])
        return NetworkPlan(self.arch, self.spec, tuple(self.layers.values()))

    def add(self, name: str, kind: str, inputs: tuple[str, ...], shape: Shape, **more: Any) -> str:
        """Add a layer. ``more`` are its options and weights."""
        if name in self.layers:
            raise ArchitectureError(f"Two layers of {self.arch.name!r} are called {name!r}. Give each its own name.")
        self.layers[name] = LayerPlan(name, kind, inputs, shape, **more)
        return name

    def numbered(self, word: str, name: str | None) -> str:
        """Return ``name``, or ``word`` with the next number."""
        if name is not None:
            return name
        self.counts[word] = self.counts.get(word, 0) + 1
        return f"{word}{self.counts[word]}"

    def chain(self, blocks: Iterable[Block], source: str) -> str:
        for block in blocks:
            source = self.block(block, source)
        return source

    def block(self, block: Block, source: str) -> str:
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
            window: dict[str, Any] = {"size": block.size, "stride": block.stride or block.size, "padding": "same"}
            if block.stride is None:
                window["padding"] = "valid"
                if min(shape[:2]) < block.size:
                    raise _TooSmallError(name, block.size, shape)
            trim = block.size - 1 if block.stride is None else 0
            sides = tuple(-(-(side - trim) // window["stride"]) for side in shape[:2])
            return self.add(name, f"{block.kind}_pool", (source,), (*sides, shape[2]), options=window)
        if isinstance(block, GlobalPool):
            return self.add(self.numbered("global_pool", block.name), "global_pool", (source,), (1, 1, shape[2]))
        if isinstance(block, Drop):
            return self.drop(self.numbered("dropout", block.name), source)
        if len(shape) > 1:
            source = self.add("flatten", "flatten", (source,), (math.prod(shape),))
        weights = {"kernel": (math.prod(shape), self.num_classes), "bias": (self.num_classes,)}
        return self.add(self.numbered("dense", block.name), "dense", (source,), (self.num_classes,), weights=weights)

    def conv(self, block: Conv, source: str) -> str:
        height, width, channels = shape = self.layers[source].shape
        filters = self.num_classes if block.filters is None else block.filters
        name = self.numbered("conv", block.name)
        needed = block.dilation * (block.kernel - 1) + 1
        if self.arch.padding == "valid" and min(height, width) < needed:
            raise _TooSmallError(name, needed, shape)
        if block.stride > 1 and block.dilation > 1:
            raise ArchitectureError(f"A convolution has a stride or a dilation, not both. Received: {block!r}.")
        trim = needed - 1 if self.arch.padding == "valid" else 0
        sides = tuple(-(-(side - trim) // block.stride) for side in (height, width))
        bias = self.arch.conv_bias if block.bias is None else block.bias
        window: dict[str, Any] = {word: getattr(block, word) for word in ("kernel", "stride", "dilation")}
        window["padding"] = self.arch.padding
        standardized = self.spec.weight_standardization and "norm" in block.parts
        if block.separable:
            depthwise = {"options": window, "weights": {"kernel": (block.kernel, block.kernel, channels, 1)}}
            source = self.add(f"{name}_depthwise", "depthwise", (source,), (*sides, channels), **depthwise)
            window = {"kernel": 1, "stride": 1, "dilation": 1, "padding": "same"}
        weights: dict[str, Shape] = {"kernel": (window["kernel"], window["kernel"], channels, filters)}
        if bias:
            weights["bias"] = (filters,)
        options = {**window, "filters": filters, "bias": bias, "standardized": standardized}
        out = self.add(name, "conv", (source,), (*sides, filters), options=options, weights=weights)
        return self.parts(block.parts, name, out, self.arch.order)

    def residual(self, block: Residual, source: str) -> str:
        name = self.numbered("residual", block.name)
        main = self.chain(block.main, source)
        if self.zero_gamma and self.layers[main].kind == "norm":
            self.layers[main].options["zero_gamma"] = True
        shortcut = source
        for index, conv in enumerate(block.shortcut):
            suffix = f"_shortcut{index + 1}" if len(block.shortcut) > 1 else "_shortcut"
            shortcut = self.conv(replace(conv, name=conv.name or name + suffix), shortcut)
        if not block.shortcut:
            shortcut = self.identity(name, shortcut, self.layers[main].shape)
        shape = self.layers[main].shape
        if self.layers[shortcut].shape != shape:
            raise ArchitectureError(
                f"The two paths of {name!r} in {self.arch.name!r} must give one shape. Received: main path {shape}, "
                f"shortcut {self.layers[shortcut].shape}. Give the shortcut the same filters and strides."
            )
        out = self.add(f"{name}_add", "add", (shortcut, main), shape)
        return self.parts(block.after, name, out, block.after)

    def identity(self, name: str, source: str, target: Shape) -> str:
        """Subsample and pad a shortcut with zero channels, without parameters."""
        height, width, channels = self.layers[source].shape
        stride = max(-(-height // target[0]), -(-width // target[1]))  # a side of 1 stays 1 under any stride
        if stride > 1:
            height, width = -(-height // stride), -(-width // stride)
            shape = (height, width, channels)
            source = self.add(f"{name}_subsample", "subsample", (source,), shape, options={"stride": stride})
        if target[2] > channels:
            before = (target[2] - channels) // 2
            options = {"before": before, "after": target[2] - channels - before}
            source = self.add(f"{name}_pad", "pad_channels", (source,), (height, width, target[2]), options=options)
        return source

    def parts(self, parts: Sequence[str], owner: str, source: str, order: Sequence[str]) -> str:
        """Add ``parts``, which are norm, activation and dropout, in an order."""
        for part in parts:
            if part not in BLOCK:
                raise ArchitectureError(f"A part must be norm, act or dropout. Received: {part!r} at {owner!r}.")
        parts = [part for part in order if part in parts]
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
        if not self.spec.info.layer:
            return source
        shape = self.layers[source].shape
        check_groups(self.spec, shape[-1], name)
        return self.add(name, "norm", (source,), shape, weights=self.spec.weight_shapes(shape))

    def drop(self, name: str, source: str) -> str:
        if not self.dropout:
            return source
        return self.add(name, "dropout", (source,), self.layers[source].shape, options={"rate": self.dropout})


def plan(
    arch: str | ArchSpec,
    spec: NormSpec,
    *,
    input_shape: Sequence[int] | None = None,
    num_classes: int = 10,
    dropout: float | None = None,
    zero_gamma: bool = False,
) -> NetworkPlan:
    """Work out the layers of a network.

    Args:
        arch: A name in `ARCHITECTURES` or an `ArchSpec`.
        spec: The normalization.
        input_shape: (height, width, channels). Defaults to the architecture's.
        num_classes: Number of logits. Defaults to 10.
        dropout: Dropout rate from 0 to below 1. Defaults to the architecture's.
        zero_gamma: Whether the gamma of the last norm of each residual unit starts with 0.

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
    if spec.info.of_the_model:
        raise SpecError(
            f"'{spec}' keeps the norms of a model of your own, and the architecture {arch.name!r} has none before "
            "a spec says so. Name a norm, such as 'bn'."
        )
    shape = _checked_shape(input_shape if input_shape is not None else arch.input_shape)
    num_classes = whole_number("num_classes", num_classes, error=ArchitectureError)
    rate = arch.dropout if dropout is None else dropout
    if not isinstance(rate, Real) or not 0 <= rate < 1:
        raise ArchitectureError(f"`dropout` must be a rate from 0 to below 1. Received: {rate!r}.")
    try:
        network = _Planner(arch, spec, num_classes, float(rate), zero_gamma).run(shape)
    except _TooSmallError as error:
        layer, needed, (height, width, _) = error.args
        side = _smallest_side(arch, shape[2], num_classes)
        mend = f"Use an input_shape of at least ({side}, {side}, {shape[2]})." if side else "Use fewer pools."
        raise ArchitectureError(
            f"The input is too small for {arch.name}. Received: input_shape={shape}; layer {layer!r} needs "
            f"{needed} pixels a side and gets {height} x {width}. {mend}"
        ) from None
    except SpecError as error:
        one_group = _Planner(arch, replace(spec, groups=1, group_size=None), num_classes, 0.0).run(shape)
        common = math.gcd(*(layer.shape[-1] for layer in one_group.layers if layer.kind == "norm"))
        what = "group sizes" if spec.group_size else "groups"
        fitting = ", ".join(map(str, divisors(common)))
        raise SpecError(f"{error} Valid {what} for every layer of {arch.name}: {fitting}.") from None
    if dropout and not any(layer.kind == "dropout" for layer in network.layers):
        raise ArchitectureError(f"{arch.name} has no dropout, so that `dropout` must be 0. Received: {dropout!r}.")
    norms = [layer for layer in network.layers if layer.kind == "norm"]
    if zero_gamma and norms and not any("zero_gamma" in layer.options for layer in norms):
        raise ArchitectureError(
            f"{arch.name} has no residual unit whose last layer is a norm. Received: zero_gamma=True. Leave it out, or "
            "use a network that has, such as resnet18."
        )
    return network


def _checked_shape(value: Sequence[int]) -> Shape:
    try:
        shape = tuple(map(int, value))
    except (TypeError, ValueError):
        shape = ()
    if len(shape) != 3 or min(shape) < 1 or shape != tuple(value):
        raise ArchitectureError(
            f"`input_shape` must be (height, width, channels), three positive whole numbers. Received: {value!r}."
        )
    return shape


def _smallest_side(arch: ArchSpec, channels: int, num_classes: int) -> int | None:
    for side in range(1, 1025):
        try:
            _Planner(arch, NormSpec("none"), num_classes, 0.0).run((side, side, channels))
        except _TooSmallError:
            continue
        return side
    return None
