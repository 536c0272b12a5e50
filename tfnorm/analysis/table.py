"""The table of a network's layers, a row a call: as numbers, as text, for a terminal and for a notebook."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from html import escape
from typing import TYPE_CHECKING, Any

from tfnorm.analysis.field import Field
from tfnorm.analysis.trace import Shape, Trace
from tfnorm.errors import TfnormError, unknown

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

AXES = {1: ("steps",), 2: ("height", "width"), 3: ("depth", "height", "width")}
COUNTS = ("whole_image_statistics", "parameters", "other_parameters", "multiply_adds", "activation_bytes")
CONTEXT = "* every unit also depends on the whole image through the statistics of a norm, which do not count here"
LOCAL = "all (n): the whole image through a gate such as squeeze-and-excitation, n pixels without it"


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
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
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
        import pandas as pd  # start-up

        records = []
        for row in self.rows:
            record: dict[str, Any] = {"layer": row.name, "kind": row.kind, "shape": row.shape}
            for what in ("receptive_field", "local_field", "jump", "start", "padding"):
                values = getattr(row, what) or (None,) * len(self.axes)
                pairs = zip(self.axes, values, strict=True)
                record |= {f"{what}_{axis}": None if value is None else float(value) for axis, value in pairs}
            record |= {what: getattr(row, what) for what in COUNTS}
            records.append(record)
        return pd.DataFrame(records).set_index("layer")

    def _headings(self) -> list[str]:
        headings = ["layer", "kind", "output", "receptive\nfield", "jump"]
        if self.fields_only:
            return [*headings, "start", "padding"]
        images = "image" if self.batch_size == 1 else f"{self.batch_size} images"
        return [*headings, "trainable\nparameters", "other", "multiply-adds", f"activations\n(MB, {images})"]

    def _cells(self, row: Row) -> list[str]:
        shape = " x ".join("?" if side is None else str(side) for side in row.shape)
        cells = [row.name, row.kind, shape, _receptive_field(row), _per_axis(row.jump)]
        if self.fields_only:
            return [*cells, _per_axis(row.start), _per_axis(row.padding)]
        memory = None if row.activation_bytes is None else row.activation_bytes * self.batch_size
        return [*cells, _count(row.parameters), _count(row.other_parameters), _count(row.multiply_adds), _mega(memory)]

    def _totals(self) -> list[str]:
        """Return the last line of the table; it is empty where only receptive fields are shown."""
        if self.fields_only:
            return []
        counts = (self.parameters, self.other_parameters, self.multiply_adds)
        return ["total", "", "", "", "", *map(_count, counts), _mega(self.activation_bytes)]

    def _remarks(self) -> list[str]:
        """Return the sentences below the table."""
        context = any(row.whole_image_statistics and row.fields for row in self)
        local = any(row.local_field != row.receptive_field for row in self)
        return [CONTEXT] * context + [LOCAL] * local + list(self.notes)

    def __rich__(self) -> Table:
        from rich import box  # start-up
        from rich.table import Table  # start-up
        from rich.text import Text  # start-up

        totals, remarks = self._totals(), self._remarks()
        table = Table(
            title=Text(self.title),
            caption=Text("\n".join(remarks)) if remarks else None,
            caption_justify="left",
            show_footer=bool(totals),
            box=box.SIMPLE_HEAD,
        )
        for index, heading in enumerate(self._headings()):
            footer = totals[index] if totals else ""
            table.add_column(heading, footer=footer, justify="left" if index < 3 else "right", overflow="fold")
        for row in self:
            table.add_row(*map(Text, self._cells(row)))
        return table

    def __str__(self) -> str:
        """Return the table as text: as wide as the terminal, or 140 characters where there is none."""
        from rich.console import Console  # start-up

        console = Console()
        if not console.is_terminal:  # a notebook would be shown an empty block, and colours as codes
            console = Console(width=140, force_jupyter=False, color_system=None)
        with console.capture() as capture:
            console.print(self)
        return capture.get().rstrip("\n")

    __repr__ = __str__

    def _repr_html_(self) -> str:
        import pandas as pd  # start-up

        totals = self._totals()
        lines = [self._cells(row) for row in self] + ([totals] if totals else [])
        headings = [heading.replace("\n", " ") for heading in self._headings()]
        table = pd.DataFrame(lines, columns=headings).to_html(index=False)
        return "".join([f"<p>{escape(self.title)}</p>", table, *(f"<p>{escape(text)}</p>" for text in self._remarks())])


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


def _per_axis(values: tuple[Any, ...]) -> str:
    """Return one value if it is the same along all axes, else all of them."""
    texts = ["?" if value is None else _number(value) for value in values]
    return texts[0] if len(set(texts)) == 1 else " x ".join(texts)


def _number(value: float | Fraction) -> str:
    if math.isinf(value):
        return "all"
    return str(value) if isinstance(value, int | Fraction) else f"{value:g}"


def _receptive_field(row: Row) -> str:
    if row.trace.unknown:
        return "unknown"
    text = _per_axis(row.receptive_field)
    if row.local_field != row.receptive_field:
        text = f"all ({_per_axis(row.local_field)})"
    return text + "*" * (row.whole_image_statistics and bool(text))


def _count(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _mega(size: int | None) -> str:
    """Return a number of bytes in megabytes (of a million bytes), with three digits."""
    if size is None:
        return "?"
    value = size / 1e6
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
