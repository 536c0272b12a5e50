"""Networks as data: each is a table of blocks, which the builder reads. Imports no Keras.

Five small networks and three ResNets are registered in `ARCHITECTURES`; an `ArchSpec` of your own goes to
`tfnorm.build(arch=...)` as it is, or into the registry with ``ARCHITECTURES.add(name, spec)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

from tfnorm.errors import ArchitectureError, unknown
from tfnorm.registry import Registry

BLOCK = ("norm", "act", "dropout")


def _check_positive(block: object, word: str) -> None:
    value = getattr(block, word)
    if type(value) is not int or value < 1:
        raise ArchitectureError(f"`{word}` must be a positive whole number. Received: {block!r}.")


@dataclass(frozen=True)
class Conv:
    """A convolution and what belongs to it.

    Args:
        filters: Output channels; None for the number of classes.
        kernel: Side of the square kernel, in pixels.
        stride: Step in pixels.
        dilation: Distance between kernel taps, in pixels.
        separable: Whether it is a depthwise convolution followed by a 1x1 one.
        parts: Which of "norm", "act" and "dropout" belong to it; their order is the architecture's.
        bias: Whether it has a bias; None for the architecture's setting.
        name: The layer's name; None to be numbered.
    """

    filters: int | None
    kernel: int = 3
    stride: int = 1
    dilation: int = 1
    separable: bool = False
    parts: tuple[str, ...] = BLOCK
    bias: bool | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        for word in ("kernel", "stride", "dilation"):
            _check_positive(self, word)
        if self.filters is not None:
            _check_positive(self, "filters")


@dataclass(frozen=True)
class Pool:
    """Max or average pooling over ``size`` x ``size`` pixels.

    Args:
        kind: "max" or "avg".
        size: Side of the square, in pixels.
        name: The layer's name; None to be numbered.
        stride: Step in pixels; None for ``size``, without padding. With a stride, the padding is "same".
    """

    kind: Literal["max", "avg"]
    size: int
    name: str | None = None
    stride: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("max", "avg"):
            raise ArchitectureError(unknown("kind of pooling", self.kind, ("max", "avg")))
        _check_positive(self, "size")
        if self.stride is not None:
            _check_positive(self, "stride")


@dataclass(frozen=True)
class GlobalPool:
    """Average over the whole image, kept as 1 x 1 pixel."""

    name: str | None = None


@dataclass(frozen=True)
class Drop:
    """Dropout at a place of its own."""

    name: str | None = None


@dataclass(frozen=True)
class Dense:
    """The classifier on the flattened features; always with bias."""

    name: str | None = None


@dataclass(frozen=True)
class Residual:
    """A sum of a main path and a shortcut.

    Args:
        main: The blocks of the main path.
        shortcut: The blocks of the shortcut; none for the identity, subsampled and padded with zero
            channels where the main path changes the shape (option A of arXiv 1512.03385).
        after: Which of "norm", "act" and "dropout" follow the sum, in this order.
    """

    main: tuple[Conv, ...]
    shortcut: tuple[Conv, ...] = ()
    after: tuple[str, ...] = BLOCK
    name: str | None = None


Block = Conv | Pool | GlobalPool | Drop | Dense | Residual


@dataclass(frozen=True)
class ArchSpec:
    """A convolutional network as data.

    Args:
        name: Its name.
        title: One line for lists.
        input_shape: Default (height, width, channels).
        blocks: The network, input to logits; the last block gives one output a class.
        padding: "same" or "valid", of every convolution.
        conv_bias: Whether convolutions have a bias unless they say otherwise.
        order: The order of norm, activation and dropout after a convolution.
        dropout: Default dropout rate, 0 to 1.
        mean: Default mean of the pixels on the scale 0 to 1, one a channel or one for all.
        std: Default standard deviation, likewise.

    Example:
        >>> tiny = ArchSpec("tiny", "one block", (8, 8, 1), (Conv(4), GlobalPool(), Conv(None, 1, parts=())))
        >>> tiny.padding
        'same'
    """

    name: str
    title: str
    input_shape: tuple[int, int, int]
    blocks: tuple[Block, ...]
    padding: Literal["same", "valid"] = "same"
    conv_bias: bool = False
    order: tuple[str, ...] = BLOCK
    dropout: float = 0.0
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.25,)

    def __post_init__(self) -> None:
        for word in ("mean", "std"):
            if isinstance(value := getattr(self, word), Real):
                object.__setattr__(self, word, (float(value),))
        if self.padding not in ("same", "valid"):
            raise ArchitectureError(f"`padding` must be 'same' or 'valid'. Received: {self.padding!r}.")
        if sorted(self.order) != sorted(BLOCK):
            raise ArchitectureError(f"`order` must hold norm, act and dropout once each. Received: {self.order}.")
        if not self.blocks:
            raise ArchitectureError(f"The architecture {self.name!r} has no blocks. Give at least the classifier.")
        for block in self.blocks:
            if not isinstance(block, Block):
                raise ArchitectureError(
                    f"A block must be a Conv, Pool, GlobalPool, Drop, Dense or Residual. Received: {block!r}."
                )


def _resnet(depth: int) -> tuple[Block, ...]:
    """Return the CIFAR ResNet of arXiv 1512.03385, section 4.2, with option A shortcuts."""
    units = (depth - 2) // 6
    normed = ("norm", "act")
    blocks: list[Block] = [Conv(16, parts=normed)]
    for stage, filters in enumerate((16, 32, 64)):
        for unit in range(units):
            first = Conv(filters, stride=2 if stage and not unit else 1, parts=normed)
            blocks.append(Residual(main=(first, Conv(filters, parts=("norm",))), after=("act",)))
    return (*blocks, GlobalPool(), Dense(name="logits"))


def _resnet_of_imagenet(units: tuple[int, int, int, int], bottleneck: bool) -> tuple[Block, ...]:
    """Return a ResNet of arXiv 1512.03385, table 1, with option B shortcuts: a 1x1 convolution where the shape changes.

    A bottleneck has its stride in the 3x3 convolution, as in torchvision ("v1.5"); the paper has it in the first 1x1.
    """
    normed, last = ("norm", "act"), ("norm",)
    blocks: list[Block] = [Conv(64, 7, stride=2, parts=normed), Pool("max", 3, stride=2)]
    channels = 64
    for stage, count in enumerate(units):
        filters = 64 * 2**stage
        out = 4 * filters if bottleneck else filters
        for unit in range(count):
            stride = 2 if stage and not unit else 1
            main: tuple[Conv, ...] = (Conv(filters, stride=stride, parts=normed), Conv(out, parts=last))
            if bottleneck:
                main = (
                    Conv(filters, 1, parts=normed),
                    Conv(filters, stride=stride, parts=normed),
                    Conv(out, 1, parts=last),
                )
            shortcut = () if stride == 1 and out == channels else (Conv(out, 1, stride=stride, parts=last),)
            blocks.append(Residual(main, shortcut, after=("act",)))
            channels = out
    return (*blocks, GlobalPool(), Dense(name="logits"))


def _named_convolutions(stage: int, filters: int, count: int) -> tuple[Conv, ...]:
    return tuple(Conv(filters, name=f"convblock{stage}_conv{i}") for i in range(1, count + 1))


ARCHITECTURES: Registry[ArchSpec] = Registry("architecture", ArchitectureError)


def _add(name: str, title: str, input_shape: tuple[int, int, int], *blocks: Block, **settings: Any) -> None:
    """Register a network for images of MNIST, of one channel, of CIFAR-10, of 32 pixels, or of ImageNet."""
    pixels = _MNIST if input_shape[2] == 1 else _CIFAR10 if input_shape[0] == 32 else _IMAGENET
    ARCHITECTURES.add(name, ArchSpec(name, title, input_shape, blocks, **pixels, **settings))


_MNIST = {"mean": (0.1307,), "std": (0.3081,)}
_CIFAR10 = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2470, 0.2435, 0.2616)}
_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
_ACT_FIRST = ("act", "norm", "dropout")
_ACT = ("act",)
_LOGITS = Conv(None, 1, parts=(), name="logits")
_RESIDUAL_UNIT = (
    Conv(16, 1, parts=()), Pool("max", 2),
    Residual(main=(Conv(16), Conv(32), Conv(32, parts=())), shortcut=(Conv(32, 1, parts=()),)),
)  # fmt: skip

# fmt: off
_add(
    "mnist_7k", "7,000 parameters: two stages of 3x3 and 1x1 convolutions, average pool, dense", (28, 28, 1),
    Conv(8), Conv(16), Pool("max", 2),
    Conv(8, 1, parts=_ACT), Conv(16), Conv(20), Conv(8, 1, parts=_ACT), Conv(16, parts=_ACT), Pool("avg", 6),
    Dense(name="logits"),
    padding="valid", order=_ACT_FIRST, dropout=0.05,
)
_add(
    "cifar_plain", "50,000 parameters: eight 3x3 convolutions in three stages, 1x1 transitions, global pool",
    (32, 32, 3),
    *_named_convolutions(1, 16, 2),
    Conv(10, 1, parts=_ACT, name="transblock1_conv"), Pool("max", 2, name="transblock1_pool"),
    *_named_convolutions(2, 32, 3),
    Conv(20, 1, parts=_ACT, name="transblock2_conv"), Pool("max", 2, name="transblock2_pool"),
    *_named_convolutions(3, 32, 3),
    GlobalPool(), _LOGITS,
    order=_ACT_FIRST, dropout=0.01,
)
_add(
    "cifar_dilated",
    "dilated and depthwise-separable convolutions, stride 2 instead of pooling, under 200,000 parameters", (32, 32, 3),
    Conv(32), Conv(32), Conv(48, stride=2), Conv(48), Conv(64, dilation=2), Conv(64, separable=True),
    Conv(64, stride=2), Conv(96, separable=True), Conv(128, separable=True), Conv(128, separable=True),
    GlobalPool(), _LOGITS,
    dropout=0.05,
)
_add(
    "mnist_layered", "7,000 parameters: six 3x3 convolutions, padding same, global pool", (28, 28, 1),
    Conv(8), Conv(8), Pool("max", 2),
    Conv(8), Conv(16), Pool("max", 2),
    Conv(16), Conv(16, parts=("act", "norm")), Pool("max", 2),
    Drop(), GlobalPool(), _LOGITS,
    order=_ACT_FIRST, dropout=0.069,
)
_add(
    "cifar_residual", "40,000 parameters: two residual units after 1x1 transitions, convolutions with bias",
    (32, 32, 3),
    Conv(16), Conv(32), *_RESIDUAL_UNIT, *_RESIDUAL_UNIT, GlobalPool(), _LOGITS,
    conv_bias=True, dropout=0.02,
)
_add("resnet20", "the 20-layer residual network for CIFAR-10, 270,000 parameters", (32, 32, 3), *_resnet(20))
_add(
    "resnet18", "the 18-layer residual network for photographs of 224 pixels, 11 million parameters", (224, 224, 3),
    *_resnet_of_imagenet((2, 2, 2, 2), bottleneck=False),
)
_add(
    "resnet50", "the 50-layer residual network for photographs of 224 pixels (v1.5), 24 million parameters",
    (224, 224, 3),
    *_resnet_of_imagenet((3, 4, 6, 3), bottleneck=True),
)
# fmt: on
