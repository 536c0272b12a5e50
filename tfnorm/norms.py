"""The norms that tfnorm knows: one row of `NORMS` each. Imports no Keras.

To add a norm, write its Keras layer in a file of `tfnorm/layers/normalization` and add a row here. Specs, the builder,
`tfnorm list`, the analysis of networks, conversions, pictures and the contract tests take what they need from the row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tfnorm.errors import SpecError
from tfnorm.registry import Registry

# The axes that a weight spans: one number a channel, or one for each pixel and channel.
CHANNELS = ("channels",)
ELEMENTS = ("height", "width", "channels")
GAMMA_BETA = {"gamma": CHANNELS, "beta": CHANNELS}


@dataclass(frozen=True)
class Variant:
    """A form of a norm, which a word after the colon of a spec chooses.

    Args:
        title: What the word changes, in words, such as "over all replicas".
        changes: The fields of `NormInfo` that differ, by name.
    """

    title: str
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NormInfo:
    """What a norm is.

    Args:
        title: Its name in words.
        layer: The dotted name of its Keras layer, which is imported when it is first needed, or the class itself. The
            layer has a class method ``from_spec(spec, settings)``, see `tfnorm.layers.normalization.base`. "" if there
            is none.
        statistics: The axes that its statistics are taken over, of "batch", "height", "width", "channels" and "group",
            which stands for the channels of one group.
        weights: The axes of each trainable weight by its name in Keras, of "height", "width", "channels" and
            "groups". () for a single number.
        moving: The axes of each weight that is not trained, such as a moving mean.
        paper: arXiv number, or "" if there is none.
        example: A valid spec of this norm for a layer of 8 channels.
        groups: Whether a spec says the number of groups or the channels per group.
        variants: The words that may follow the colon of a spec.
        subtracts_mean: Whether a single number in place of its statistics would always give 0.
        whole_image: Whether an output at inference depends on the whole image, and not on its own pixel alone.
        thresholded: Whether a ReLU after it becomes a thresholded linear unit (`tfnorm.layers.TLU`).
        epsilon: Its epsilon whatever the convention, or None for the convention's.
        backends: The backends of Keras that can compute it. () for all.
        of_the_model: Whether it stands for the norms that a model has of its own, which no architecture of tfnorm has.
    """

    title: str
    layer: str | type
    statistics: tuple[str, ...] = ()
    weights: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: GAMMA_BETA)
    moving: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    paper: str = ""
    example: str = ""
    groups: bool = False
    variants: Mapping[str, Variant] = field(default_factory=dict)
    subtracts_mean: bool = True
    whole_image: bool = False
    thresholded: bool = False
    epsilon: float | None = None
    backends: tuple[str, ...] = ()
    of_the_model: bool = False

    @property
    def options(self) -> tuple[str, ...]:
        """What may follow the colon of a spec, as the grammar writes it."""
        return (*(("GROUPS", "size=CHANNELS") if self.groups else ()), *self.variants)

    @property
    def weight_per_pixel(self) -> bool:
        """Whether it has a weight for each pixel, so that the size of the images must be known."""
        return any("height" in axes for axes in self.weights.values())


NORMS: Registry[NormInfo] = Registry("norm", SpecError)
_FOLDER = "tfnorm.layers.normalization"
# fmt: off
NORMS.add("none", NormInfo("no normalization", "", weights={}, subtracts_mean=False, example="none"))
NORMS.add("bn", NormInfo(
    "batch normalization", f"{_FOLDER}.batch_normalization.BatchNormalization", ("batch", "height", "width"),
    moving={"moving_mean": CHANNELS, "moving_variance": CHANNELS}, paper="1502.03167", example="bn",
    variants={
        "sync": Variant("over all replicas", {"backends": ("tensorflow", "jax")}),
        "frozen": Variant("with fixed statistics", {"statistics": ()}),
        "frozen=all": Variant("with nothing trained", {
            "statistics": (), "weights": {},
            "moving": {**GAMMA_BETA, "moving_mean": CHANNELS, "moving_variance": CHANNELS},
        }),
    },
))
NORMS.add("ln", NormInfo(
    "layer normalization", f"{_FOLDER}.layer_normalization.LayerNormalization", ("height", "width", "channels"),
    weights={"gamma": ELEMENTS, "beta": ELEMENTS}, whole_image=True, paper="1607.06450", example="ln",
    variants={"channel": Variant(
        "each pixel", {"statistics": CHANNELS, "weights": GAMMA_BETA, "whole_image": False}
    )},
))
NORMS.add("gn", NormInfo(
    "group normalization", f"{_FOLDER}.group_normalization.GroupNormalization", ("height", "width", "group"),
    groups=True, whole_image=True, paper="1803.08494", example="gn:4",
))
NORMS.add("in", NormInfo(
    "instance normalization", f"{_FOLDER}.instance_normalization.InstanceNormalization", ("height", "width"),
    whole_image=True, paper="1607.08022", example="in",
))
NORMS.add("rms", NormInfo(
    "root mean square normalization", f"{_FOLDER}.rms_normalization.RMSNormalization", CHANNELS,
    weights={"scale": CHANNELS}, subtracts_mean=False, epsilon=1e-6, paper="1910.07467", example="rms",
))
NORMS.add("frn", NormInfo(
    "filter response normalization", f"{_FOLDER}.filter_response_normalization.FilterResponseNormalization",
    ("height", "width"), subtracts_mean=False, whole_image=True, thresholded=True, epsilon=1e-6,
    paper="1911.09737", example="frn",
))
NORMS.add("keep", NormInfo(
    "the norms that the model has", "", weights={}, subtracts_mean=False, of_the_model=True, example="keep",
))
# fmt: on
