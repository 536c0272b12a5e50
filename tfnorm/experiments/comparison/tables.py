"""The tables of a comparison's page: results and differences."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfnorm.errors import TfnormError
from tfnorm.experiments.statistics import Difference
from tfnorm.norms import NORMS
from tfnorm.reporting.html import Cell, Column, link
from tfnorm.reporting.palette import Style
from tfnorm.spec import parse
from tfnorm.text import DASH, interval_text, number, p_text, signed, with_spread
from tfnorm.training.runs import Run

if TYPE_CHECKING:
    import pandas as pd

MOST_DOTS = 12

# The accuracy stands beside the spec, where a phone shows it without scrolling.
RESULT_COLUMNS = {
    "spec": Column("spec"),
    "accuracy": Column("test accuracy %", True, "After the last epoch: mean ± standard deviation over seeds"),
    "balanced": Column("balanced accuracy %", True, "Mean over the classes of the share that is recognized"),
    "interval": Column("95 % interval", True, "Of the mean of the accuracy; sorted by its lower end"),
    "diverged": Column("diverged", True, "Runs whose loss stopped being a number"),
    "wrong": Column("wrong", True, "Misclassified test images, mean over seeds"),
    "data loss": Column("data loss", True, "Test loss without the penalty, nats"),
    "parameters": Column("para\u00admeters", True, "Trainable ones"),
    "seconds": Column("seconds", True, "Of training, mean over seeds"),
    "speed": Column("images/s", True, "In training, median"),
    "best": Column("best epoch %", True, "Highest test accuracy of any epoch: chosen on the test set, it flatters"),
    "norm": Column("norm"),
    "penalized": Column("regular\u00adization", hint="The penalty on the weights, and its factor"),
    "penalty": Column("penalty", True, "What the weights add to the loss"),
}


def norm_words(label: str) -> tuple[str, str]:
    """Return what a spec normalizes and what it adds to the loss, in words.

    Example:
        >>> norm_words("gn:2+l1=1e-4")
        ('group, 2 groups', 'L1 1e-4')
    """
    try:
        spec = parse(label)
    except TfnormError:
        return label, ""
    name = "none" if spec.kind == "none" else NORMS[spec.kind].title.removesuffix(" normalization")
    marks = {
        f"{spec.groups} groups": spec.groups,
        f"{spec.group_size} channels a group": spec.group_size,
        **{variant.title: word == spec.variant for word, variant in NORMS[spec.kind].variants.items()},
        "standardized kernels": spec.weight_standardization,
    }
    penalties = {"l1=": "L1 ", "l2=": "L2 ", "l2norm=": "L2 norm "}
    parts = [part for part in label.split("+")[1:] if "=" in part]
    said = [
        f"{words}{part.removeprefix(mark)}"
        for part in parts
        for mark, words in penalties.items()
        if part.startswith(mark)
    ]
    return ", ".join([name, *(words for words, given in marks.items() if given)]), ", ".join(said)


def results(
    table: pd.DataFrame,
    groups: Mapping[str, Sequence[Run]],
    rows: Sequence[Mapping[str, Any]],
    look: Mapping[str, Style],
    page: Path,
    *,
    balanced: bool = False,
) -> dict[str, Any]:
    """Return columns, rows and for each row the lines of its runs.

    Args:
        table: `Comparison.table`.
        groups: Its runs by label.
        rows: For each run, in their order, its history's numbers; see `run_cells`.
        look: Colour of each label.
        page: The folder of the page, for links.
        balanced: Whether balanced accuracies have a column.
    """
    lines, records = iter(rows), _records(table)
    # Some columns are there only if they say anything.
    shown = [
        key
        for key in RESULT_COLUMNS
        if (key != "diverged" or table["diverged"].any()) and (key != "balanced" or balanced)
    ]
    cells, details = [], []
    for label, runs in groups.items():
        row = _spec_cells(label, runs, records[label], look[label])
        cells.append([row[key] for key in shown])
        below = [run_cells(run, next(lines), page) for run in runs]
        details.append([[line.get(key, Cell("")) for key in shown] for line in below])
    return {"columns": [RESULT_COLUMNS[key] for key in shown], "rows": cells, "details": details}


def _spec_cells(label: str, runs: Sequence[Run], row: Mapping[str, Any], look: Style) -> dict[str, Cell]:
    """Return the line of one spec, by column."""
    norm, penalty = norm_words(runs[0].label)
    low, high = row["last_accuracy_low"], row["last_accuracy_high"]
    return {
        "spec": Cell(label, colour=look.colour),
        "accuracy": Cell(with_spread(row["last_accuracy"], row["last_accuracy_std"]), float(row["last_accuracy"])),
        "balanced": _cell(row["balanced_accuracy"]),
        "interval": Cell(interval_text(low, high), float(low)),
        "diverged": Cell(f"{row['diverged']:.0f} of {row['seeds']:.0f}", float(row["diverged"])),
        "wrong": _cell(row["misclassified"], ",.0f" if len(runs) == 1 else ",.1f"),
        "data loss": _cell(row["test_data_loss"], ".4f"),
        "parameters": Cell(f"{row['parameters']:,.0f}", float(row["parameters"])),
        "seconds": _cell(row["seconds"], ",.1f"),
        "speed": _cell(row["images_per_second"], ",.0f"),
        "best": Cell(with_spread(row["best_accuracy"], row["best_accuracy_std"]), float(row["best_accuracy"])),
        "norm": Cell(norm),
        "penalized": Cell(penalty or DASH),
        "penalty": _cell(row["penalty"], ".4f"),
    }


def run_cells(run: Run, row: Mapping[str, Any], page: Path) -> dict[str, Cell]:
    """Return the line of one run by column, with a link to its folder and, if it has one, to its page on the web."""
    web = run.record if run.record != str(run.path) else None
    epoch = "" if row["best_epoch"] is None else f"epoch {row['best_epoch'] + 1}"
    return {
        "spec": Cell(f"seed {run.seed}", href=link(os.path.relpath(run.path, page) + "/")),
        "accuracy": _cell(row["last_accuracy"]),
        "diverged": Cell("" if run.status == "finished" else run.status),
        "wrong": _cell(math.nan if row["misclassified"] is None else row["misclassified"], ",.0f"),
        "data loss": _cell(row["test_data_loss"], ".4f"),
        "seconds": _cell(row["seconds"], ",.1f"),
        "speed": _cell(row["images_per_second"], ",.0f"),
        "best": Cell(number(row["best_accuracy"]), note=epoch),
        "norm": Cell("its record" if web else "", href=link(web) if web else None),
        "penalty": _cell(row["penalty"], ".4f"),
    }


def _records(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return the rows of a table, label to column to value."""
    return {
        str(label): {str(key): value for key, value in row.items()} for label, row in table.to_dict("index").items()
    }


def _cell(value: float, pattern: str = ".2f") -> Cell:
    return Cell(number(value, pattern), float(value))


def dots(
    table: pd.DataFrame, accuracies: Mapping[str, Mapping[int, float]], look: Mapping[str, Style]
) -> dict[str, Any]:
    """Return where mean, interval and seeds of each label stand on a common scale, in percent of its width.

    Of more than 12 labels these are the best in the mean.
    """
    seeds = {
        label: [value for value in values.values() if math.isfinite(value)] for label, values in accuracies.items()
    }
    records = _records(table)
    if len(seeds) > MOST_DOTS:
        ranked = sorted(seeds, key=lambda label: -math.inf if not seeds[label] else records[label]["last_accuracy"])
        seeds = {label: seeds[label] for label in ranked[: -MOST_DOTS - 1 : -1]}
    ends = [value for values in seeds.values() for value in values]
    for label in seeds:
        ends += [float(records[label][f"last_accuracy_{end}"]) for end in ("low", "high")]
    ends = [min(100.0, max(0.0, value)) for value in ends if math.isfinite(value)] or [0.0, 100.0]
    low, high = min(ends), max(ends)
    margin = max(0.04 * (high - low), 0.02)
    low, high = max(0.0, low - margin), min(100.0, high + margin)

    def place(value: float) -> float:
        return round(100 * (min(max(value, low), high) - low) / (high - low), 2)

    rows = []
    for label, values in seeds.items():
        row = records[label]
        left, right = row["last_accuracy_low"], row["last_accuracy_high"]
        rows.append(
            {
                "label": label,
                "colour": look[label].colour,
                "mean": place(row["last_accuracy"]) if values else None,
                "seeds": [place(value) for value in values],
                "interval": (place(left), round(place(right) - place(left), 2)) if math.isfinite(left) else None,
                "text": with_spread(row["last_accuracy"], row["last_accuracy_std"]) + (" %" if values else " diverged"),
            }
        )
    marks = [{"place": place(value), "text": f"{value:g}"} for value in _ticks(low, high)]
    return {"rows": rows, "ticks": marks, "several": any(len(values) > 1 for values in seeds.values())}


def _ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers between two, at most so many."""
    step = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(step * factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= most)
    first = math.ceil(low / step)
    return [round(step * i, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def matrix(labels: Sequence[str], pairs: Sequence[Difference]) -> list[dict[str, Any]]:
    """Return the differences, row minus column: text, interval, p, whether it is real, and how deep its shade is."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    largest = max((abs(d.mean) for d in pairs if math.isfinite(d.mean)), default=0.0) or 1.0
    for d in pairs:
        for row, column, sign in ((d.first, d.second, 1), (d.second, d.first, -1)):
            mean = sign * d.mean
            found[row, column] = {
                "text": signed(mean),
                "half": f"± {d.half_width:.2f}"
                if math.isfinite(d.half_width)
                else "one seed"
                if d.seeds
                else "no seed",
                "p": f"p {p_text(d.p_adjusted)}" if math.isfinite(d.p_adjusted) else "",
                "said": ("better," if mean > 0 else "worse,")
                if d.is_real()
                else ("some diverged," if d.is_significant() else "not shown,")
                if d.seeds > 1
                else "",
                "side": "above" if mean > 0 else "below",
                "depth": round(10 + 45 * abs(mean) / largest) if d.is_real() else 0,
            }
    return [{"label": row, "cells": [found.get((row, column)) for column in labels]} for row in labels]
