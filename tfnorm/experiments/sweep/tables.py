"""The tables of a sweep."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tfnorm.experiments.rows import MEASURES, OF_A_RUN, measure_cells, measures, run_measures
from tfnorm.experiments.sequential import Decisions
from tfnorm.experiments.statistics import Difference
from tfnorm.experiments.sweep.best import Best
from tfnorm.experiments.sweep.combination import SHORT, Combination
from tfnorm.experiments.sweep.result import SweepResult
from tfnorm.metrics.metric import ACCURACY, Metric
from tfnorm.reporting.html import link
from tfnorm.table import Cell, Column, Table, cells_of
from tfnorm.text import DASH, format_value, p_text
from tfnorm.training.runs import Run

OF_ALL = ("best_accuracy", "gap", "test_data_loss", "misclassified", "parameters", "seconds", "seeds")
PAIR_COLUMNS = {
    "first": Column("first"),
    "second": Column("second"),
    "mean": Column("first minus second", "", "Mean over the seeds that both have, with its 95 % interval"),
    "p": Column("p", "", "Student's paired test, corrected over all pairs (Holm)"),
    "outcome": Column("what it says"),
}


class Tables:
    """Makes the tables of a page, given the colour of each norm and the folder where links start."""

    def __init__(self, sweep: SweepResult, axes: Sequence[str], colours: Mapping[str, str], folder: Path) -> None:
        self.sweep, self.colours, self.folder, self.metric = sweep, colours, folder, sweep.metric
        self.axes: dict[str, Column] = {}
        for axis in axes:
            numbers = all(isinstance(each.values[axis], int | float | None) for each in sweep.combinations)
            self.axes[axis] = Column(SHORT.get(axis, axis), "" if numbers else None)

    def of_all(self, combinations: Sequence[Combination]) -> Table:
        """Return the table of combinations, each with its seeds."""
        # The accuracy is beside the norm, where a phone shows it without scrolling.
        columns = {
            "norm": self.axes["norm"],
            **measures("last_accuracy", images=self.sweep.images, metric=self.metric),
            **self.axes,
            **measures(*OF_ALL, images=self.sweep.images, metric=self.metric),
        }
        known = {key for each in combinations for key in each.known}
        left_out = {"gap", "misclassified"} - known
        left_out |= {"test_data_loss"} if self.metric.key == "val_data_loss" else set()
        columns = {key: column for key, column in columns.items() if key not in left_out}
        rows, seeds, data = [], [], []
        for each in combinations:
            rows.append(self._cells(columns, each))
            seeds.append([self._seed(columns, run) for run in each.runs])
            text = f"{each.label} {each.folder.as_posix()}".lower()
            data.append({"norm": each.norm, "text": text, "label": each.label})
        return Table(columns, rows, seeds, data)

    def of_best(self, best: Best) -> Table:
        """Return the table of the best combination of each norm."""
        unequal = self.metric.is_accuracy and any(
            each.learned is not None and each.learned.unequal for each in best.chosen
        )
        columns = {
            "norm": self.axes["norm"],
            **measures("last_accuracy", *["balanced_accuracy"] * unequal, images=self.sweep.images, metric=self.metric),
            **self.axes,
            **measures("interval", "seeds", metric=self.metric),
            "among": Column("best of", "", "How many combinations of this norm it was chosen from"),
        }
        rows = []
        for each in best.chosen:
            seeds, among = len(each.finite), best.among[each.norm]
            rows.append(
                {
                    **self._cells(columns, each),
                    "balanced_accuracy": MEASURES["balanced_accuracy"].cell(each.learned and each.learned.balanced),
                    "seeds": Cell(str(seeds), seeds),
                    "among": Cell(str(among), among),
                }
            )
        return Table(columns, rows)

    def _cells(self, columns: Mapping[str, Column], each: Combination) -> dict[str, Cell]:
        """Return the cells of a combination, the norm with a link to its folder."""
        cells = measure_cells(columns, each.measures, each.planned, self.metric)
        for axis, value in each.values.items():
            number = float(value) if isinstance(value, int | float) else None
            cells[axis] = Cell(DASH if value is None else format_value(value), number)
        cells["norm"] = Cell(each.norm, href=self._link(self.sweep.path / each.folder), colour=self.colours[each.norm])
        return cells

    def _seed(self, columns: Mapping[str, Column], run: Run) -> dict[str, Cell]:
        """Return the row of one run, whose first cell links to its record."""
        tracked = run.record.startswith(("https://", "http://"))
        address = link(run.record) if tracked else self._link(run.path)
        of_a_run = {**columns, **{key: OF_A_RUN[key] for key in columns if key in ("misclassified", "seconds")}}
        return {
            **cells_of(of_a_run, run_measures(run, self.metric)),
            "norm": Cell(f"seed {run.seed}", run.seed, note="tracked" if tracked else "", href=address),
            "seeds": Cell(run.status),
        }

    def _link(self, path: Path) -> str | None:
        return link(os.path.relpath(path, self.folder))


def decision_table(decisions: Mapping[str, Decisions], metric: Metric = ACCURACY) -> Table:
    """Return the table of what is decided between the specs of each setting of the other axes."""
    words = {"equivalent": "equivalent", "settled": "left open, one is out", "undecided": "open"}
    rows = []
    for name, found in decisions.items():
        for pair in found.pairs:
            low, high = (metric.signed(end) for end in pair.ends())
            better = f"{pair.better} is better" + ", but negligibly" * pair.is_equivalent()
            rows.append(
                {
                    "setting": Cell(name),
                    "first": Cell(pair.first),
                    "second": Cell(pair.second),
                    "mean": Cell(metric.signed(pair.mean), pair.mean, f"{low} to {high}"),
                    "seeds": Cell(str(pair.seeds), pair.seeds),
                    "outcome": Cell(words.get(pair.outcome, better)),
                }
            )
    mean = Column("first minus second" + ", points" * metric.percent, "", "With an interval that holds over all looks")
    columns = {"setting": Column("setting")} if len(decisions) > 1 else {}
    named = {key: PAIR_COLUMNS[key] for key in ("first", "second")}
    seeds = Column("seeds", "", "That both have")
    return Table({**columns, **named, "mean": mean, "seeds": seeds, "outcome": PAIR_COLUMNS["outcome"]}, rows)


def pair_table(pairs: Sequence[Difference], metric: Metric = ACCURACY) -> Table:
    """Return the table of the differences between the best of each norm."""
    rows = []
    for pair in pairs:
        several = math.isfinite(pair.p_adjusted)
        outcome = "no difference shown" if several else "cannot be told"
        width = f"± {metric.number(pair.half_width)}" if several else "one seed" if math.isfinite(pair.mean) else ""
        p = p_text(pair.p_adjusted).removeprefix("= ") if several else DASH
        rows.append(
            {
                "first": Cell(pair.first),
                "second": Cell(pair.second),
                "mean": Cell(metric.signed(pair.mean), pair.mean, width),
                "p": Cell(p, pair.p_adjusted),
                "outcome": Cell(f"{pair.better} is better" if pair.is_real() else outcome),
            }
        )
    mean = replace(PAIR_COLUMNS["mean"], title="first minus second" + ", points" * metric.percent)
    return Table({**PAIR_COLUMNS, "mean": mean}, rows)
