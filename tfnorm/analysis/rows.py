"""Layers of a network as rows: what they read, what they hold, what they compute and what training keeps of them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from tfnorm.analysis.field import Field
from tfnorm.analysis.trace import Shape, Trace
from tfnorm.errors import TfnormError, unknown

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

AXES = {1: ("steps",), 2: ("height", "width"), 3: ("depth", "height", "width")}


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


@dataclass(frozen=True, eq=False)
class Layers:
    """A network, layer by layer: a sequence of rows, which prints as a table.

    Attributes:
        title: Of the table.
        rows: One for each call of a layer.
        batch_size: Images a training step, for the memory of activations.
        fields_only: Whether the table shows the receptive fields and nothing else.
    """

    title: str
    rows: tuple[Row, ...]
    batch_size: int = 1
    fields_only: bool = False

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        """Return the rows, one after the other."""
        return iter(self.rows)

    def __getitem__(self, layer: str | int) -> Row:
        """Return the first row of a layer, by its name, or the row of a number."""
        if not isinstance(layer, str):
            return self.rows[layer]
        for row in self.rows:
            if row.name == layer:
                return row
        raise TfnormError(unknown("layer", layer, [row.name for row in self.rows]))

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the image's axes, such as height and width."""
        return AXES.get(max((len(row.trace.fields) for row in self.rows), default=0), ())

    @property
    def parameters(self) -> int:
        """Number of trainable parameters."""
        return sum(row.parameters for row in self.rows)

    @property
    def other_parameters(self) -> int:
        """Number of parameters that are not trained."""
        return sum(row.other_parameters for row in self.rows)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds for one image, without the layers of which ``notes`` says that they are not counted."""
        return sum(row.multiply_adds or 0 for row in self.rows)

    @property
    def activation_bytes(self) -> int:
        """Bytes of activations that a training step of ``batch_size`` images keeps, without layers of open shape."""
        return self.batch_size * sum(row.activation_bytes or 0 for row in self.rows)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what is not known, and why, each once."""
        return tuple(dict.fromkeys(note for row in self.rows for note in row.notes))

    def to_frame(self) -> pd.DataFrame:
        """Return one row a call, by layer, with a column for each axis of the image.

        Columns are ``kind``, ``shape``, then for each axis ``receptive_field_height``, ``local_field_height``,
        ``jump_height``, ``start_height``, ``padding_height``; and ``whole_image_statistics``, ``parameters``,
        ``other_parameters``, ``multiply_adds`` and ``activation_bytes`` (of one image).
        """
        import pandas as pd

        records = []
        for row in self.rows:
            record: dict[str, Any] = {"layer": row.name, "kind": row.kind, "shape": row.shape}
            for what in ("receptive_field", "local_field", "jump", "start", "padding"):
                values = getattr(row, what) or (None,) * len(self.axes)
                pairs = zip(self.axes, values, strict=True)
                record |= {f"{what}_{axis}": None if value is None else float(value) for axis, value in pairs}
            for what in ("whole_image_statistics", "parameters", "other_parameters"):
                record[what] = getattr(row, what)
            record |= {"multiply_adds": row.multiply_adds, "activation_bytes": row.activation_bytes}
            records.append(record)
        return pd.DataFrame(records).set_index("layer")

    def __str__(self) -> str:
        """Return the table as text."""
        from tfnorm.analysis.table import as_text

        return as_text(self)

    __repr__ = __str__

    def __rich__(self) -> Table:
        """Return the table for a terminal."""
        from tfnorm.analysis.table import as_rich

        return as_rich(self)

    def _repr_html_(self) -> str:
        """Return the table for a notebook."""
        from tfnorm.analysis.table import as_html

        return as_html(self)
