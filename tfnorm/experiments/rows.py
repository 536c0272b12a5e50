"""What tables say of runs: one row a run, or one row for those that differ in the seed alone; and their columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tfnorm.experiments.statistics import mean_interval
from tfnorm.metrics.metric import ACCURACY, Metric
from tfnorm.table import Cell, Column, cells_of
from tfnorm.text import DASH
from tfnorm.training.runs import Run

if TYPE_CHECKING:
    import pandas as pd

# What `run_measures` and `summary_row` say, by key.
MEASURES = {
    "last_accuracy": Column("test accuracy %", ".2f", "After the last epoch: mean ± deviation", "last_accuracy_std"),
    "balanced_accuracy": Column("balanced accuracy %", ".2f", "Mean over the classes of the share that is recognized"),
    "interval": Column("95 % interval", "", "Of the mean of the accuracy; sorted by its lower end"),
    "seeds": Column("seeds", ".0f", "Runs that ended"),
    "test_data_loss": Column("data loss", ".4f", "Test loss without the penalty, nats"),
    "misclassified": Column("wrong", ",.1f", "Misclassified test images, mean over seeds"),
    "parameters": Column("para\u00admeters", ",.0f", "Trainable ones"),
    "seconds": Column("seconds", ",.1f", "Of training, mean over seeds"),
    "images_per_second": Column("images/s", ",.0f", "In training, median"),
    "best_accuracy": Column("best epoch %", ".2f", "Chosen on the test set, so that it flatters", "best_accuracy_std"),
    "gap": Column("gap, points", ".2f", "Training minus test accuracy after the last epoch"),
    "penalty": Column("penalty", ".4f", "What the weights add to the loss"),
}
OF_A_RUN = {**MEASURES, "misclassified": replace(MEASURES["misclassified"], format=",.0f")}


def value_of(run: Run, metric: Metric = ACCURACY) -> float:
    """Return what a run reached, in the unit of tables; NaN if it did not end with a number.

    It is the value after the last epoch, or the one that a person's own loop recorded.
    """
    if run.status != "finished":
        return math.nan
    recorded = getattr(run, "recorded", None)
    return metric.scale * float(run.history[metric.key].iloc[-1] if recorded is None else recorded)


def one_image(runs: Sequence[Run], metric: Metric = ACCURACY) -> float:
    """Return one test image in percent, the step in which accuracies move; 0 for a metric that moves in none."""
    images = runs[0].config["data"]["test_images"] if runs else None
    return 100 / images if images and metric.counts_images else 0.0


def best_of(run: Run, metric: Metric = ACCURACY) -> tuple[float, int | None]:
    """Return the value after a run's best epoch, in the unit of tables, and that epoch, counted from 0."""
    history = run.history
    values = history[metric.key].to_numpy(float) if metric.key in history else np.array([])
    if np.isnan(values).all():
        return math.nan, None
    place = int(np.nanargmax(metric.sign * values))
    return metric.scale * float(values[place]), int(history.index[place])


def run_row(run: Run, metric: Metric = ACCURACY) -> dict[str, Any]:
    """Return what a table says of one run, with the address of its record: a web page if it is tracked, or a folder.

    A run of a person's own loop lacks what that loop did not record.
    """
    history = run.history
    row: dict[str, Any] = {"norm": run.label, "seed": run.seed, "status": run.status, "epochs": len(history)}
    if getattr(run, "recorded", None) is None and metric.key in history:
        row[metric.last] = metric.scale * history[metric.key].iloc[-1]
    else:
        row[metric.last] = value_of(run, metric)
    if metric.key in history:
        best, epoch = best_of(run, metric)
        row |= {metric.best: best, "best_epoch": run.result.get("best_epoch", epoch) if metric == run.metric else epoch}
    if "val_data_loss" in history:
        row["test_data_loss"] = history["val_data_loss"].iloc[-1]
    if run.result["misclassified"] is not None or "penalty" in history:
        row["misclassified"] = run.result["misclassified"]
    if "seconds" in history:
        row["seconds"] = history["seconds"].sum()
    return {**row, "record": run.record}


def run_measures(run: Run, metric: Metric = ACCURACY) -> dict[str, Any]:
    """Return the same and more: the penalty, the speed, the parameters, and training minus test value as a gap."""
    row, history = run_row(run, metric), run.history
    if "penalty" in history:
        row["penalty"] = float(history["penalty"].iloc[-1])
    if "images_per_second" in history:
        row["images_per_second"] = _speed(history)
    if "trainable_parameters" in run.config:
        row["parameters"] = run.config["trainable_parameters"]
    if {metric.training, metric.key} <= set(history):
        row["gap"] = metric.scale * float(history[metric.training].iloc[-1] - history[metric.key].iloc[-1])
    return row


def _speed(history: pd.DataFrame) -> float:
    """Return the median of the images a second; the first epoch's time holds the tracing of the graph."""
    return float(history["images_per_second"].iloc[min(1, len(history) - 1) :].median())


def accuracies_of(runs: Sequence[Run], metric: Metric = ACCURACY) -> dict[int, float]:
    """Return seed to what `value_of` says, such as the test accuracy in percent after the last epoch."""
    return {run.seed: value_of(run, metric) for run in runs}


def summary_row(runs: Sequence[Run], metric: Metric = ACCURACY) -> dict[str, Any]:
    """Return what a table says of runs that differ in the seed alone; see `Comparison.table`."""
    import pandas as pd  # start-up

    ended = [run for run in runs if run.status == "finished"]
    histories, rows = [run.history for run in ended], [run_row(run, metric) for run in ended]
    best = pd.Series([row.get(metric.best, math.nan) for row in rows], dtype="float64")
    last = pd.Series([row[metric.last] for row in rows], dtype="float64")
    low, high = mean_interval(list(last))
    return {
        "parameters": runs[0].config.get("trainable_parameters"),
        "seeds": len(runs),
        metric.best: best.mean(),
        f"{metric.best}_std": best.std(),
        metric.last: last.mean(),
        f"{metric.last}_std": last.std(),
        f"{metric.last}_low": low,
        f"{metric.last}_high": high,
        "test_data_loss": mean([float(row.get("test_data_loss", math.nan)) for row in rows]),
        "penalty": mean([float(h["penalty"].iloc[-1]) if "penalty" in h else math.nan for h in histories]),
        "misclassified": pd.Series([run.result["misclassified"] for run in ended], dtype="float64").mean(),
        "seconds": pd.Series([_of(run.history, "seconds", lambda h: h["seconds"].sum()) for run in runs]).mean(),
        "images_per_second": pd.Series([_of(run.history, "images_per_second", _speed) for run in runs]).median(),
        metric.lost: sum(run.status != "finished" for run in runs),
    }


def _of(history: pd.DataFrame, column: str, measure: Callable[[pd.DataFrame], float]) -> float:
    """Return a measure of a history, NaN if it has no such column."""
    return measure(history) if column in history else math.nan


def without_missing(table: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """Return a table of `summary_row` without the measures of which a person's own loop recorded nothing."""
    missing = [key for key in table if key in MEASURES and key != metric.last and table[key].isna().all()]
    if table[metric.best].isna().all():
        missing = list(dict.fromkeys([*missing, metric.best, f"{metric.best}_std"]))
    return table.drop(columns=missing)


def mean(values: Sequence[float]) -> float:
    """Return the mean of numbers, NaN for none."""
    return math.fsum(values) / len(values) if values else math.nan


def measures(*keys: str, images: str = "test", metric: Metric = ACCURACY) -> dict[str, Column]:
    """Return the columns of some `MEASURES`, with the word for the images that were evaluated on.

    Those of accuracy are of the ``metric``, under the keys that `summary_row` has for it.
    """
    found = {}
    for key in keys:
        title, hint = MEASURES[key].title.replace("test", images), MEASURES[key].hint.replace("test", images)
        column = replace(MEASURES[key], title=title, hint=hint)
        if key in ("last_accuracy", "best_accuracy"):
            key = metric.last if key == "last_accuracy" else metric.best
            column = replace(column, format=metric.pattern, spread=f"{key}_std")
            if not metric.is_accuracy and key == metric.last:
                column = replace(column, title=metric.heading(images))
        elif key == "interval" and not metric.is_accuracy:
            column = replace(column, hint="Of the mean; sorted by its lower end")
        elif key == "gap" and not metric.is_accuracy:
            column = replace(column, title="gap", hint=metric.gap(images), format=metric.pattern)
        if key == metric.last:
            column = replace(column, hint=f"{metric.moment[0].upper()}{metric.moment[1:]}: mean ± deviation")
        if key == metric.best and not metric.is_accuracy:
            column = replace(column, title=f"best epoch{metric.unit}")
            if not metric.of_images:
                column = replace(column, hint="The best of all epochs, so that it flatters")
        found[key] = column
    return found


def measure_cells(
    columns: Mapping[str, Column], row: Mapping[str, Any], planned: int | None = None, metric: Metric = ACCURACY
) -> dict[str, Cell]:
    """Return the cells of a row of `summary_row`, with the interval cut at what a share can be.

    ``planned`` is how many seeds there are to be; default as many as there are.
    """
    cells, seeds = cells_of(columns, row), int(row["seeds"])
    counts = {metric.lost: row[metric.lost], "missing": (planned or seeds) - seeds}
    cells["seeds"] = Cell(str(seeds), seeds, ", ".join(f"{count} {word}" for word, count in counts.items() if count))
    ends = float(row[f"{metric.last}_low"]), float(row[f"{metric.last}_high"])
    low, high = metric.cut(*ends)
    cells["interval"] = Cell("one seed" if seeds - row[metric.lost] == 1 else DASH, low)
    if math.isfinite(low):
        cut_off = "" if ends == (low, high) else f"cut at {metric.ends[0]:g} or {metric.ends[1]:g}"
        to = DASH if low >= 0 else " to "
        cells["interval"] = Cell(f"{metric.number(low)}{to}{metric.number(high)}", low, cut_off)
    return cells
