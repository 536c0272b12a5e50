"""One row for each call of a layer: what it reads, holds and computes, and what training keeps of it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction

from tfnorm.analysis.field import Field
from tfnorm.analysis.trace import Shape, Trace


@dataclass(frozen=True)
class Row:
    """One call of a layer.

    Attributes:
        name: The layer's name, after those of the models around it: "backbone/conv1".
        kind: Its class, or its kind in a plan.
        trace: Its output: shape and receptive field.
        parameters: Number of trainable parameters; 0 at a further call of a shared layer.
        other_parameters: Number of parameters that are not trained, such as moving statistics.
        multiply_adds: Multiplications, each with an addition, for one image; None if not known.
        activation_bytes: Bytes of the outputs for one image that training keeps for the gradients; None if not known.
        notes: Sentences on what is not known, and why.
    """

    name: str
    kind: str
    trace: Trace
    parameters: int = 0
    other_parameters: int = 0
    multiply_adds: int | None = 0
    activation_bytes: int | None = 0
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> Shape:
        """Output shape without the batch axis."""
        return self.trace.shape

    @property
    def fields(self) -> tuple[Field, ...]:
        """The receptive field along each axis of the image, such as height and width; none if unknown."""
        return () if self.trace.unknown else self.trace.fields

    @property
    def receptive_field(self) -> tuple[int | float, ...]:
        """Size of the receptive field in pixels along each axis; ``math.inf`` for an image of unknown size, whole."""
        return tuple(field.size for field in self.fields)

    @property
    def local_field(self) -> tuple[int | float, ...]:
        """The same without what reaches every unit alike, such as the gate of squeeze-and-excitation."""
        return tuple(field.local for field in self.fields)

    @property
    def jump(self) -> tuple[int | Fraction, ...]:
        """Pixels of the image from one unit to the next (the "effective stride")."""
        return tuple(field.jump for field in self.fields)

    @property
    def start(self) -> tuple[float | None, ...]:
        """Centre of the first unit's field, in pixels from the image's edge."""
        return tuple(field.start for field in self.fields)

    @property
    def padding(self) -> tuple[int | None, ...]:
        """Pixels by which the first unit's field begins beyond the image's edge (the "effective padding")."""
        return tuple(field.padding for field in self.fields)

    @property
    def whole_image_statistics(self) -> bool:
        """Whether a norm, here or before, takes statistics over the image, so that every unit depends on all of it.

        As in the literature they do not count in ``receptive_field``.
        """
        return self.trace.context


def activation_bytes(shape: Shape, dtype: str) -> int | None:
    """Return the bytes of one image's output; None if its shape is open.

    Example:
        >>> activation_bytes((28, 28, 8), "float32")
        25088
    """
    if None in shape:
        return None
    bits = re.search(r"\d+", dtype)  # "bool" has none
    return math.prod(shape) * (int(bits[0]) // 8 if bits else 1)  # type: ignore[arg-type]
