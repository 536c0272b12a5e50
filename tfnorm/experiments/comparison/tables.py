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
from tfnorm.experiments.sequential import Known
from tfnorm.experiments.statistics import Difference
from tfnorm.metrics.metric import ACCURACY, Metric
from tfnorm.norms import NORMS
from tfnorm.reporting.html import link
from tfnorm.reporting.palette import styles
from tfnorm.spec import parse
from tfnorm.table import Cell, Column, Table, cells_of
from tfnorm.text import DASH, counted, p_text
from tfnorm.training.runs import Run

MOST_DOTS = 12


def result_columns(metric: Metric = ACCURACY) -> dict[str, Column]:
    """Return the columns of the results: the metric stands beside the spec, where a phone shows it first."""
    return {
        "spec": Column("spec"),
        **measures(
            "last_accuracy", "balanced_accuracy", "interval", "seeds", "misclassified", "test_data_loss", "parameters",
            "seconds", "images_per_second", "best_accuracy", metric=metric,
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
    metric = result.metric
    left_out = _unknown_columns(result)
    left_out |= {"balanced_accuracy"} if not result.unequal else set()
    left_out |= {"seeds"} if not result.table[metric.lost].any() else set()
    left_out |= {"misclassified"} if all(run.multi_label for run in result.runs) else set()
    left_out |= {"test_data_loss"} if metric.key == "val_data_loss" else set()
    columns = {key: column for key, column in result_columns(metric).items() if key not in left_out}
    look, rows, details = styles(result.groups), [], []
    records: Any = result.table.to_dict("index")
    for label, row in records.items():
        runs = result.groups[label]
        norm, penalty = norm_words(runs[0].label)
        words = {"spec": Cell(label, colour=look[label].colour), "norm": Cell(norm), "penalized": Cell(penalty or DASH)}
        rows.append({**measure_cells(columns, row, metric=metric), **words})
        details.append([_run_cells(run, folder, metric) for run in runs])
    return Table(columns, rows, details)


def _unknown_columns(result: Result) -> set[str]:
    """Return the columns of which a person's own loop recorded nothing; a spec of free text has no penalty in it."""
    if not result.is_study:
        return set()
    made_here = {"spec", "interval", "norm", "penalized"}
    unknown = {key for key in result_columns(result.metric) if key not in made_here and key not in result.table}
    words = [norm_words(runs[0].label) for runs in result.groups.values()]
    if all(norm == label for (norm, _), label in zip(words, result.groups, strict=True)):
        unknown.add("norm")
    return unknown if any(penalty for _, penalty in words) else unknown | {"penalized"}


def _run_cells(run: Run, folder: Path, metric: Metric) -> dict[str, Cell]:
    """Return the line of one run by column, with a link to its folder and, if it has one, to its page on the web."""
    row = run_measures(run, metric)
    row.pop("parameters", None)
    cells = cells_of({**OF_A_RUN, **measures("last_accuracy", "best_accuracy", metric=metric)}, row)
    if row.get("best_epoch") is not None:
        cells[metric.best] = replace(cells[metric.best], note=f"epoch {row['best_epoch'] + 1}")
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
    metric, last = result.metric, result.metric.last
    seeds = {label: list(filter(math.isfinite, values.values())) for label, values in result.accuracies.items()}
    records: Any = result.table.to_dict("index")
    look = styles(result.groups)
    if len(seeds) > MOST_DOTS:
        ranked = sorted(seeds, key=lambda label: metric.sign * records[label][last] if seeds[label] else -math.inf)
        seeds = {label: seeds[label] for label in ranked[: -MOST_DOTS - 1 : -1]}
    ends: list[float] = []
    for label, values in seeds.items():
        ends += [*values, records[label][f"{last}_low"], records[label][f"{last}_high"]]
    floor, ceiling = metric.ends
    ends = [min(ceiling, max(floor, value)) for value in ends if math.isfinite(value)] or [0.0, metric.scale]
    low, high = min(ends), max(ends)
    margin = max(0.04 * (high - low), 0.02 if metric.percent else 0.02 * abs(high) or 0.02)
    low, high = max(floor, low - margin), min(ceiling, high + margin)

    def place(value: float) -> float:
        return round(100 * (min(max(value, low), high) - low) / (high - low), 2)

    rows = []
    for label, values in seeds.items():
        row = records[label]
        left, right = row[f"{last}_low"], row[f"{last}_high"]
        rows.append(
            {
                "label": label,
                "colour": look[label].colour,
                "mean": place(row[last]) if values else None,
                "seeds": [place(value) for value in values],
                "interval": (place(left), round(place(right) - place(left), 2)) if math.isfinite(left) else None,
                "text": metric.with_spread(row[last], row[f"{last}_std"])
                + (metric.unit if values else f" {metric.lost}"),
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


def matrix(labels: Sequence[str], pairs: Sequence[Known], metric: Metric = ACCURACY) -> list[dict[str, Any]]:
    """Return the differences, row minus column: text, interval, p if any, what is shown, and how deep its shade is."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    largest = max((abs(d.mean) for d in pairs if math.isfinite(d.mean)), default=0.0) or 1.0
    for d in pairs:
        for row, column, sign in ((d.first, d.second, 1), (d.second, d.first, -1)):
            mean = sign * d.mean
            found[row, column] = {
                "text": metric.signed(mean),
                "half": _interval(d, sign, metric),
                "p": f"p {p_text(d.p_adjusted)}" if isinstance(d, Difference) and math.isfinite(d.p_adjusted) else "",
                "outcome": _outcome(d, metric.sign * mean, metric),
                "side": "above" if metric.sign * mean > 0 else "below",
                "depth": round(10 + 45 * abs(mean) / largest) if d.is_real() else 0,
            }
    return [{"label": row, "cells": [found.get((row, column)) for column in labels]} for row in labels]


def _interval(d: Known, sign: int, metric: Metric) -> str:
    """Return the interval of a difference, seen from the side with this sign."""
    if isinstance(d, Difference):
        return f"± {metric.number(d.half_width)}" if d.seeds > 1 else "one seed" if d.seeds else "no seed"
    low, high = sorted(sign * end for end in d.ends())
    seeds = counted([d.seeds], "seed") if d.seeds else "no seed"
    if d.is_equivalent():
        return f"at most {metric.number(d.at_most)} apart, {seeds}"
    return f"({metric.signed(low)} to {metric.signed(high)}), {seeds}" if math.isfinite(low) else seeds


def _outcome(d: Known, lead: float, metric: Metric) -> str:
    """Return what a cell of `matrix` says of a difference, seen from the side that has this lead."""
    words = {"settled": "not decided", "equivalent": "equivalent", "undecided": "not shown" if d.seeds > 1 else ""}
    side = "better" if lead > 0 else "worse"
    said = words | {"better": side, "negligible": f"negligibly {side}"}
    word = f"some {metric.lost}" if d.is_significant() and not d.is_real() else said[d.outcome]
    return f"{word}," if word and isinstance(d, Difference) else word
