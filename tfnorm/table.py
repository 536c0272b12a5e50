"""Tables: what their columns are called and how their numbers are written, whatever shows them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tfnorm.text import number

if TYPE_CHECKING:
    import pandas as pd


def frame_of(rows: Sequence[Mapping[str, Any]], columns: Iterable[str] = ()) -> pd.DataFrame:
    r"""Return rows as a data frame, with at least ``columns``. Texts stay Python's own.

    pandas 3 gives texts to pyarrow, which refuses names of files that are not text.

    Example:
        >>> frame_of([{"file": "caf\udce9", "images": 3}, {"file": "tea"}])["images"].tolist()
        [3.0, nan]
    """
    import pandas as pd  # start-up

    names = dict.fromkeys([*columns, *(name for row in rows for name in row)])
    values = {name: [row.get(name, math.nan) for row in rows] for name in names}
    texts = {name for name, column in values.items() if any(isinstance(value, str) for value in column)}
    return pd.DataFrame(
        {name: pd.Series(column, dtype=object if name in texts else None) for name, column in values.items()}
    )


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Args:
        text: What it shows.
        value: What it is sorted by, if not its text; a number that is not finite comes last.
        note: Smaller text after it.
        href: An address to link to, or None; see `tfnorm.reporting.html.link`.
        colour: Of a mark before the text, "#RRGGBB", or None.
    """

    text: str
    value: float | None = None
    note: str = ""
    href: str | None = None
    colour: str | None = None


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        title: Its heading, with the unit.
        format: How its numbers are written, as `format` takes it; None for text. Numbers are on the right, and sorted
            from the largest at the first click.
        hint: A longer explanation, shown where the pointer rests.
        spread: The key of the standard deviation of its numbers, or "".
    """

    title: str
    format: str | None = None
    hint: str = ""
    spread: str = ""

    @property
    def numeric(self) -> bool:
        """Whether it holds numbers."""
        return self.format is not None

    def cell(self, value: Any, spread: float = math.nan, note: str = "") -> Cell:
        """Return the cell of a value. A number that is None or not finite is a dash; ``spread`` is its deviation."""
        if self.format is None:
            return Cell("" if value is None or value != value else str(value), note=note)
        value = math.nan if value is None else float(value)
        if math.isfinite(value) and math.isfinite(spread):
            note = f"± {spread:{self.format}}"
        return Cell(number(value, self.format), value, note)


@dataclass(frozen=True)
class Table:
    """A table.

    Args:
        columns: The columns by key, from left to right.
        rows: The cells of each row by the key of their column. A cell that is missing is empty.
        details: For each row further rows, which belong to it.
        data: For each row texts by name, to filter by.
    """

    columns: Mapping[str, Column]
    rows: Sequence[Mapping[str, Cell]]
    details: Sequence[Sequence[Mapping[str, Cell]]] = ()
    data: Sequence[Mapping[str, str]] = ()

    def pick(self, *keys: str) -> Table:
        """Return the table with those of the columns ``keys`` that it has, in their order."""
        return Table({key: self.columns[key] for key in keys if key in self.columns}, self.rows)


def table_of(columns: Mapping[str, Column], records: Iterable[Mapping[str, Any]]) -> Table:
    """Return a table of values, which ``records`` give by the keys of ``columns``.

    Example:
        >>> table = table_of({"spec": Column("spec"), "loss": Column("loss", ".2f")}, [{"spec": "bn", "loss": 0.126}])
        >>> [cell.text for cell in table.rows[0].values()]
        ['bn', '0.13']
    """
    return Table(columns, [cells_of(columns, record) for record in records])


def cells_of(columns: Mapping[str, Column], record: Mapping[str, Any]) -> dict[str, Cell]:
    """Return the cells of a row of values by the keys of their columns; a column without a value has none."""
    return {
        key: column.cell(record[key], record.get(column.spread, math.nan))
        for key, column in columns.items()
        if key in record
    }
