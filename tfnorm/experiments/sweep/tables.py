"""The tables on the page of a sweep."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfnorm.experiments.statistics import Difference
from tfnorm.experiments.sweep.best import Best
from tfnorm.experiments.sweep.rows import SHORT, Ended, Row, interval
from tfnorm.text import DASH, interval_text, number, p_text, signed

if TYPE_CHECKING:
    from tfnorm.experiments.sweep.result import Sweep
    from tfnorm.reporting.html import Cell, Column

# What the table says of a combination: key, heading, digits, explanation.
MEASURES = (
    ("last_accuracy", "test accuracy, %", 2, "After the last epoch; mean ± standard deviation over seeds"),
    ("best_accuracy", "best epoch, %", 2, "Chosen on the images it is measured on, so that it flatters"),
    ("gap", "gap, points", 2, "Training minus test accuracy after the last epoch"),
    ("test_data_loss", "test loss", 4, "Cross-entropy without penalty after the last epoch, in nats"),
    ("misclassified", "wrong", 1, "Misclassified test images"),
    ("parameters", "parameters", 0, "Trainable ones"),
    ("seconds", "seconds", 1, "A run, all of its epochs"),
)


class Tables:
    """Makes the rows of tables.

    Args:
        sweep: The sweep.
        axes: Its axes.
        colours: Of each norm.
        folder: Where links start from.
    """

    def __init__(self, sweep: Sweep, axes: Sequence[str], colours: Mapping[str, str], folder: Path) -> None:
        self.sweep, self.axes, self.colours, self.folder = sweep, axes, colours, folder

    def of_all(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Return the table of combinations, each with its seeds."""
        from tfnorm.reporting.html import Cell, Column

        measures = [Column(self._name(title), True, self._name(hint)) for _, title, _, hint in MEASURES]
        norm, *others = self._axis_columns(rows)
        # The accuracy stands beside the norm, where a phone shows it without scrolling.
        columns = [norm, measures[0], *others, *measures[1:], Column("seeds", True, "Finished; unfold a row for each")]
        cells, details = [], []
        for row in rows:
            seeds = len(row.ended)
            lost = sum(each.run.status == "diverged" for each in row.ended)
            missing = row.combination.planned - seeds
            note = ", ".join([f"{lost} diverged"] * bool(lost) + [f"{missing} missing"] * bool(missing))
            numbers = [_number(row.measures, key, digits) for key, _, digits, _ in MEASURES]
            norm_cell, *values = self._axis_cells(row)
            cells.append([norm_cell, numbers[0], *values, *numbers[1:], Cell(str(seeds), seeds, note)])
            details.append([self._seed(each) for each in row.ended])
        data = [
            {"norm": row.values["norm"], "text": f"{label} {row.folder}".lower(), "label": label}
            for row in rows
            for label in [row.combination.label]
        ]
        return {"columns": columns, "rows": cells, "details": details, "data": data}

    def of_best(self, best: Best, rows: Sequence[Row]) -> dict[str, Any]:
        """Return the table of the best combination of each norm."""
        from tfnorm.reporting.html import Cell, Column

        unequal = any(c.learned is not None and c.learned.unequal for c in best.chosen)
        balanced = Column("balanced accuracy, %", True, "Mean over the classes of the share that is recognized")
        norm, *others = self._axis_columns(rows)
        columns = [
            norm,
            Column(self._name(MEASURES[0][1]), True, MEASURES[0][3]),
            *([balanced] if unequal else []),
            *others,
            Column("95 % interval", True, "Of the mean over seeds"),
            Column("seeds", True, "That ended with an accuracy"),
            Column("best of", True, "How many combinations of this norm it was chosen from"),
        ]
        cells = []
        for combination in best.chosen:
            # Labels may be alike: values are written with a dozen digits.
            row = next(row for row in rows if row.combination is combination)
            among = best.among[combination.norm]
            low, high = interval(row)
            said = interval_text(low, high, " to ") if math.isfinite(low) else "one seed"
            beyond = row.measures["last_accuracy_low"] < low or row.measures["last_accuracy_high"] > high
            seeds = len(combination.finite)
            share = combination.learned.balanced if combination.learned else math.nan
            norm_cell, *values = self._axis_cells(row)
            cells.append(
                [
                    norm_cell,
                    _number(row.measures, "last_accuracy", 2),
                    *([Cell(number(share), share)] if unequal else []),
                    *values,
                    Cell(said, low, "cut at 0 or 100" if beyond else ""),
                    Cell(str(seeds), seeds),
                    Cell(str(among), among),
                ]
            )
        return {"columns": columns, "rows": cells}

    def _name(self, text: str) -> str:
        return text.replace("test", self.sweep.images)

    def _axis_columns(self, rows: Sequence[Row]) -> list[Column]:
        from tfnorm.reporting.html import Column

        return [
            Column(SHORT.get(key, key), all(isinstance(row.values[key], int | float | None) for row in rows))
            for key in self.axes
        ]

    def _axis_cells(self, row: Row) -> list[Cell]:
        """Return the values of the axes, the norm with a link to the folder of the combination."""
        from tfnorm.reporting.html import Cell
        from tfnorm.reporting.pictures.heat import tick

        cells = []
        for key in self.axes:
            value = row.values[key]
            if key == "norm":
                cells.append(Cell(value, href=self._link(self.sweep.path / row.folder), colour=self.colours[value]))
            elif isinstance(value, int | float):
                cells.append(Cell(tick(value), float(value)))
            else:
                cells.append(Cell(DASH if value is None else str(value)))
        return cells

    def _seed(self, each: Ended) -> list[Cell]:
        """Return the row of one run, whose first cell links to its record."""
        from tfnorm.reporting.html import Cell, link

        tracked = each.run.record.startswith(("https://", "http://"))
        address = link(each.run.record) if tracked else self._link(each.run.path)
        numbers = [
            _number(each.measures, key, 0 if key == "misclassified" else digits) for key, _, digits, _ in MEASURES
        ]
        first = Cell(f"seed {each.run.seed}", each.run.seed, note="tracked" if tracked else "", href=address)
        return [first, numbers[0], *(Cell("") for _ in self.axes[1:]), *numbers[1:], Cell(each.run.status)]

    def _link(self, path: Path) -> str | None:
        from tfnorm.reporting.html import link

        return link(os.path.relpath(path, self.folder))


def _number(measures: Mapping[str, Any], key: str, digits: int) -> Cell:
    from tfnorm.reporting.html import Cell

    # A run that diverged has None for what it did not come to.
    value, std = (math.nan if (found := measures.get(name)) is None else float(found) for name in (key, f"{key}_std"))
    if not math.isfinite(value):
        return Cell(DASH, value)
    return Cell(f"{value:,.{digits}f}", value, note=f"± {std:.{digits}f}" if math.isfinite(std) else "")


def pair_table(pairs: Sequence[Difference]) -> dict[str, Any]:
    """Return the table of the differences between the best of each norm."""
    from tfnorm.reporting.html import Cell, Column

    columns = [
        Column("first"),
        Column("second"),
        Column("first minus second, points", True, "Mean over the seeds that both have, with its 95 % interval"),
        Column("p", True, "Student's paired test, corrected over all pairs (Holm)"),
        Column("what it says"),
    ]
    rows = []
    for pair in pairs:
        several = math.isfinite(pair.p_adjusted)
        said = f"{pair.better} is better" if pair.is_real() else "no difference shown" if several else "cannot be told"
        width = f"± {pair.half_width:.2f}" if several else "one seed" if math.isfinite(pair.mean) else ""
        p = p_text(pair.p_adjusted).removeprefix("= ") if several else DASH
        rows.append([Cell(pair.first), Cell(pair.second), Cell(signed(pair.mean), pair.mean, width)])
        rows[-1] += [Cell(p, pair.p_adjusted), Cell(said)]
    return {"columns": columns, "rows": rows}
