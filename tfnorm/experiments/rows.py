"""What tables say of runs: one row a run, or one row for those that differ in the seed alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tfnorm.experiments.statistics import summarize
from tfnorm.training.runs import Run

if TYPE_CHECKING:
    import pandas as pd


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


def summary_row(runs: Sequence[Run]) -> dict[str, Any]:
    """Return what a table says of runs that differ in the seed alone; see `Comparison.table`."""
    import pandas as pd

    histories = [run.history for run in runs]
    ended = [history for run, history in zip(runs, histories, strict=True) if run.status == "finished"]
    accuracies = [100 * history["val_accuracy"] for history in ended]
    best, last = (
        pd.Series(values, dtype="float64")
        for values in ([a.max() for a in accuracies], [a.iloc[-1] for a in accuracies])
    )
    # The first epoch's time holds the tracing of the graph.
    speeds = pd.Series(
        [history["images_per_second"].iloc[min(1, len(history) - 1) :].median() for history in histories]
    )
    wrong = pd.Series([run.result["misclassified"] for run in runs if run.status == "finished"], dtype="float64")
    interval = summarize(list(last)) if len(last) else None
    return {
        "parameters": runs[0].config["trainable_parameters"],
        "seeds": len(runs),
        "best_accuracy": best.mean(),
        "best_accuracy_std": best.std(),
        "last_accuracy": last.mean(),
        "last_accuracy_std": last.std(),
        "last_accuracy_low": interval.low if interval else math.nan,
        "last_accuracy_high": interval.high if interval else math.nan,
        "test_data_loss": _mean_at_the_end(ended, "val_data_loss"),
        "penalty": _mean_at_the_end(ended, "penalty"),
        "misclassified": wrong.mean(),
        "seconds": pd.Series([history["seconds"].sum() for history in histories]).mean(),
        "images_per_second": speeds.median(),
        "diverged": sum(run.status == "diverged" for run in runs),
    }


def _mean_at_the_end(histories: Sequence[pd.DataFrame], column: str) -> float:
    values = [float(history[column].iloc[-1]) for history in histories]
    return math.fsum(values) / len(values) if values else math.nan
