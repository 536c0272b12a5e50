"""The tables of a comparison: results, the dots above them, and differences."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tfnorm.errors import TfnormError
from tfnorm.experiments.comparison.result import Result
from tfnorm.experiments.rows import OF_A_RUN, measure_cells, measures, run_measures
from tfnorm.experiments.statistics import Difference
from tfnorm.norms import NORMS
from tfnorm.reporting.html import link
from tfnorm.reporting.palette import styles
from tfnorm.spec import parse
from tfnorm.table import Cell, Column, Table, cells_of
from tfnorm.text import DASH, p_text, signed, with_spread
from tfnorm.training.runs import Run

MOST_DOTS = 12
# The accuracy stands beside the spec, where a phone shows it without scrolling.
RESULT_COLUMNS = {
    "spec": Column("spec"),
    **measures(
        "last_accuracy", "balanced_accuracy", "interval", "seeds", "misclassified", "test_data_loss", "parameters",
        "seconds", "images_per_second", "best_accuracy",
    ),
    "norm": Column("norm"),
    "penalized": Column("regular\u00adization", hint="The penalty on the weights, and its factor"),
    **measures("penalty"),
}  # fmt: skip


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
    titles = {"l1": "L1", "l2": "L2", "l2norm": "L2 norm"}
    parts = [part.split("=") for part in label.split("+")[1:] if "=" in part]
    penalties = [f"{titles[key]} {factor}" for key, factor in parts if key in titles]
    return ", ".join([name, *(words for words, given in marks.items() if given)]), ", ".join(penalties)


def results(result: Result, folder: Path) -> Table:
    """Return the table of specs, each with the lines of its runs, and links that start from a folder."""
    left_out = {"balanced_accuracy": not result.unequal, "seeds": not result.table["diverged"].any()}
    columns = {key: column for key, column in RESULT_COLUMNS.items() if not left_out.get(key)}
    look, rows, details = styles(result.groups), [], []
    records: Any = result.table.to_dict("index")
    for label, row in records.items():
        runs = result.groups[label]
        norm, penalty = norm_words(runs[0].label)
        words = {"spec": Cell(label, colour=look[label].colour), "norm": Cell(norm), "penalized": Cell(penalty or DASH)}
        rows.append({**measure_cells(columns, row), **words})
        details.append([_run_cells(run, folder) for run in runs])
    return Table(columns, rows, details)


def _run_cells(run: Run, folder: Path) -> dict[str, Cell]:
    """Return the line of one run by column, with a link to its folder and, if it has one, to its page on the web."""
    row = run_measures(run)
    del row["parameters"]
    cells = cells_of(OF_A_RUN, row)
    if row["best_epoch"] is not None:
        cells["best_accuracy"] = replace(cells["best_accuracy"], note=f"epoch {row['best_epoch'] + 1}")
    if run.record != str(run.path):
        cells["norm"] = Cell("its record", href=link(run.record))
    return {
        **cells,
        "spec": Cell(f"seed {run.seed}", href=link(os.path.relpath(run.path, folder) + "/")),
        "seeds": Cell("" if run.status == "finished" else run.status),
    }


def dots(result: Result) -> dict[str, Any]:
    """Return where mean, interval and seeds of each label stand on a common scale, in percent of its width.

    Of more than 12 labels these are the best in the mean.
    """
    seeds = {label: list(filter(math.isfinite, values.values())) for label, values in result.accuracies.items()}
    records: Any = result.table.to_dict("index")
    look = styles(result.groups)
    if len(seeds) > MOST_DOTS:
        ranked = sorted(seeds, key=lambda label: -math.inf if not seeds[label] else records[label]["last_accuracy"])
        seeds = {label: seeds[label] for label in ranked[: -MOST_DOTS - 1 : -1]}
    ends: list[float] = []
    for label, values in seeds.items():
        ends += [*values, records[label]["last_accuracy_low"], records[label]["last_accuracy_high"]]
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
                "half": f"± {d.half_width:.2f}" if d.seeds > 1 else "one seed" if d.seeds else "no seed",
                "p": f"p {p_text(d.p_adjusted)}" if math.isfinite(d.p_adjusted) else "",
                "outcome": _outcome(d, mean),
                "side": "above" if mean > 0 else "below",
                "depth": round(10 + 45 * abs(mean) / largest) if d.is_real() else 0,
            }
    return [{"label": row, "cells": [found.get((row, column)) for column in labels]} for row in labels]


def _outcome(d: Difference, mean: float) -> str:
    """Return what a cell of `matrix` says of a difference, seen from the side that has this mean."""
    if d.is_real():
        return "better," if mean > 0 else "worse,"
    if d.is_significant():
        return "some diverged,"
    return "not shown," if d.seeds > 1 else ""
