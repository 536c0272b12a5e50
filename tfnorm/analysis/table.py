"""The table of a network's layers, in a terminal and in a notebook."""

from __future__ import annotations

import html
import math
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from tfnorm.analysis.rows import Layers, Row

if TYPE_CHECKING:
    from rich.table import Table

CONTEXT = "* every unit also depends on the whole image through the statistics of a norm, which do not count here"
LOCAL = "all (n): the whole image through a gate such as squeeze-and-excitation, n pixels without it"


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


def megabytes(size: int | None) -> str:
    """Return a number of bytes in megabytes (of a million bytes), with three digits."""
    if size is None:
        return "?"
    value = size / 1e6
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


Column = tuple[str, Callable[[Row], str], Callable[[Layers], str] | None]


def _columns(layers: Layers) -> list[Column]:
    """Return heading, cell of a row and total of each column."""
    batch = layers.batch_size
    columns: list[Column] = [
        ("layer", lambda row: row.name, lambda _: "total"),
        ("kind", lambda row: row.kind, None),
        ("output", lambda row: " x ".join("?" if side is None else str(side) for side in row.shape), None),
        ("receptive\nfield", _receptive_field, None),
        ("jump", lambda row: _per_axis(row.jump), None),
    ]
    if layers.fields_only:
        return [
            ("layer", lambda row: row.name, None),
            *columns[1:],
            ("start", lambda row: _per_axis(row.start), None),
            ("padding", lambda row: _per_axis(row.padding), None),
        ]
    images = "image" if batch == 1 else f"{batch} images"
    return [
        *columns,
        ("trainable\nparameters", lambda row: f"{row.parameters:,}", lambda t: f"{t.parameters:,}"),
        ("other", lambda row: f"{row.other_parameters:,}", lambda t: f"{t.other_parameters:,}"),
        ("multiply-adds", lambda row: _count(row.multiply_adds), lambda t: f"{t.multiply_adds:,}"),
        (
            f"activations\n(MB, {images})",
            lambda row: megabytes(None if row.activation_bytes is None else row.activation_bytes * batch),
            lambda t: megabytes(t.activation_bytes),
        ),
    ]


def remarks(layers: Layers) -> list[str]:
    """Return the sentences below the table."""
    lines = []
    if any(row.whole_image_statistics and row.fields for row in layers):
        lines.append(CONTEXT)
    if any(row.local_field != row.receptive_field for row in layers):
        lines.append(LOCAL)
    return [*lines, *layers.notes]


def as_rich(layers: Layers) -> Table:
    """Return the table for a terminal."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    notes = remarks(layers)
    table = Table(
        title=Text(layers.title),
        caption=Text("\n".join(notes)) if notes else None,
        caption_justify="left",
        show_footer=not layers.fields_only,
        box=box.SIMPLE_HEAD,
    )
    columns = _columns(layers)
    for index, (heading, _, total) in enumerate(columns):
        footer = total(layers) if total else ""
        table.add_column(heading, footer=footer, justify="left" if index < 3 else "right", overflow="fold")
    for row in layers:
        table.add_row(*(Text(cell(row)) for _, cell, _ in columns))
    return table


def as_text(layers: Layers) -> str:
    """Return the table as text: as wide as the terminal, or 140 characters where there is none."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:  # a notebook would be shown an empty block, and colours as codes
        console = Console(width=140, force_jupyter=False, color_system=None)
    with console.capture() as capture:
        console.print(as_rich(layers))
    return capture.get().rstrip("\n")


def as_html(layers: Layers) -> str:
    """Return the table for a notebook."""
    columns = _columns(layers)
    style = ' style="text-align: right"'

    def line(tag: str, cells: list[str]) -> str:
        marked = (f"<{tag}{style if index > 2 else ''}>{html.escape(cell)}</{tag}>" for index, cell in enumerate(cells))
        return f"<tr>{''.join(marked)}</tr>"

    body = [line("td", [cell(row) for _, cell, _ in columns]) for row in layers]
    if not layers.fields_only:
        body.append(line("th", [total(layers) if total else "" for _, _, total in columns]))
    return "".join(
        [
            f"<table><caption>{html.escape(layers.title)}</caption>",
            f"<thead>{line('th', [heading.replace(chr(10), ' ') for heading, _, _ in columns])}</thead>",
            f"<tbody>{''.join(body)}</tbody></table>",
            *(f"<p>{html.escape(note)}</p>" for note in remarks(layers)),
        ]
    )
