"""What tables say of runs: one row a run, or one row for those that differ in the seed alone; and their columns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tfnorm.experiments.statistics import mean_interval
from tfnorm.table import Cell, Column, cells_of
from tfnorm.text import DASH, cut
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


def run_row(run: Run) -> dict[str, Any]:
    """Return what a table says of one run, with the address of its record: a web page if it is tracked, or a folder."""
    history = run.history
    accuracy = 100 * history["val_accuracy"]
    return {
        "norm": run.label,
        "seed": run.seed,
        "status": run.status,
        "epochs": len(history),
        "last_accuracy": accuracy.iloc[-1],
        "best_accuracy": accuracy.max(),
        "best_epoch": run.result["best_epoch"],
        "test_data_loss": history["val_data_loss"].iloc[-1],
        "misclassified": run.result["misclassified"],
        "seconds": history["seconds"].sum(),
        "record": run.record,
    }


def run_measures(run: Run) -> dict[str, Any]:
    """Return the same and more: the penalty, the speed, the parameters, and training minus test accuracy in points."""
    end = run.history.iloc[-1]
    return {
        **run_row(run),
        "penalty": float(end["penalty"]),
        "images_per_second": _speed(run.history),
        "parameters": run.config["trainable_parameters"],
        "gap": 100 * float(end["accuracy"] - end["val_accuracy"]),
    }


def _speed(history: pd.DataFrame) -> float:
    """Return the median of the images a second; the first epoch's time holds the tracing of the graph."""
    return float(history["images_per_second"].iloc[min(1, len(history) - 1) :].median())


def accuracies_of(runs: Sequence[Run]) -> dict[int, float]:
    """Return seed to test accuracy in percent after the last epoch, NaN for a run that diverged."""
    return {
        run.seed: 100 * float(run.history["val_accuracy"].iloc[-1]) if run.status == "finished" else math.nan
        for run in runs
    }


def summary_row(runs: Sequence[Run]) -> dict[str, Any]:
    """Return what a table says of runs that differ in the seed alone; see `Comparison.table`."""
    import pandas as pd  # start-up

    ended = [run for run in runs if run.status == "finished"]
    histories = [run.history for run in ended]
    accuracies = [100 * history["val_accuracy"] for history in histories]
    best = pd.Series([each.max() for each in accuracies], dtype="float64")
    last = pd.Series([each.iloc[-1] for each in accuracies], dtype="float64")
    low, high = mean_interval(list(last))
    return {
        "parameters": runs[0].config["trainable_parameters"],
        "seeds": len(runs),
        "best_accuracy": best.mean(),
        "best_accuracy_std": best.std(),
        "last_accuracy": last.mean(),
        "last_accuracy_std": last.std(),
        "last_accuracy_low": low,
        "last_accuracy_high": high,
        "test_data_loss": mean([float(history["val_data_loss"].iloc[-1]) for history in histories]),
        "penalty": mean([float(history["penalty"].iloc[-1]) for history in histories]),
        "misclassified": pd.Series([run.result["misclassified"] for run in ended], dtype="float64").mean(),
        "seconds": pd.Series([run.history["seconds"].sum() for run in runs]).mean(),
        "images_per_second": pd.Series([_speed(run.history) for run in runs]).median(),
        "diverged": sum(run.status == "diverged" for run in runs),
    }


def mean(values: Sequence[float]) -> float:
    """Return the mean of numbers, NaN for none."""
    return math.fsum(values) / len(values) if values else math.nan


def measures(*keys: str, images: str = "test") -> dict[str, Column]:
    """Return the columns of some `MEASURES`, with the word for the images that were evaluated on."""
    found = {}
    for key in keys:
        title, hint = MEASURES[key].title.replace("test", images), MEASURES[key].hint.replace("test", images)
        found[key] = replace(MEASURES[key], title=title, hint=hint)
    return found


def measure_cells(columns: Mapping[str, Column], row: Mapping[str, Any], planned: int | None = None) -> dict[str, Cell]:
    """Return the cells of a row of `summary_row`, with the interval cut at what an accuracy can be.

    ``planned`` is how many seeds there are to be; default as many as there are.
    """
    cells, seeds = cells_of(columns, row), int(row["seeds"])
    counts = {"diverged": row["diverged"], "missing": (planned or seeds) - seeds}
    cells["seeds"] = Cell(str(seeds), seeds, ", ".join(f"{count} {word}" for word, count in counts.items() if count))
    ends = float(row["last_accuracy_low"]), float(row["last_accuracy_high"])
    low, high = cut(*ends)
    cells["interval"] = Cell("one seed" if seeds - row["diverged"] == 1 else DASH, low)
    if math.isfinite(low):
        cut_off = "" if ends == (low, high) else "cut at 0 or 100"
        cells["interval"] = Cell(f"{low:.2f}{DASH}{high:.2f}", low, cut_off)
    return cells
