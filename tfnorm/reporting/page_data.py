"""What the pictures of `tfnorm.reporting` draw, as the JSON that a page's own pictures are drawn from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tfnorm.reporting.html import rounded
from tfnorm.reporting.palette import styles
from tfnorm.reporting.pictures.confusion import confusion_data
from tfnorm.reporting.pictures.curves import accuracy_data, gap_data, loss_data
from tfnorm.reporting.pictures.overlap import overlap_data

# Plotly's names of the markers of `tfnorm.reporting.palette`.
SYMBOLS = {
    "o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "v": "triangle-down", "P": "cross", "X": "x",
    "<": "triangle-left", ">": "triangle-right", "*": "star",
}  # fmt: skip
# Of 1,000 classes a matrix has a million cells.
MOST_CLASSES = 200
MOST_SETS = 24


def looks(labels: Iterable[str]) -> list[dict[str, str]]:
    """Return label, colour and Plotly's marker of each label."""
    return [
        {"label": label, "colour": style.colour, "symbol": SYMBOLS[style.marker]}
        for label, style in styles(labels).items()
    ]


def curves_page(histories: Mapping[str, Sequence[pd.DataFrame]], seeds: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Return loss, accuracy and their gap over the epochs: means, bands, and each of the seeds, as in ``histories``."""
    loss, accuracy, gap = loss_data(histories), accuracy_data(histories), gap_data(histories)
    parts = {"loss": loss.curves, "accuracy": accuracy.curves, "gap": gap.curves.assign(set="gap")}
    means: dict[str, dict[str, Any]] = {label: {} for label in histories}
    for measure, table in parts.items():
        for (label, name), curve in table.groupby(["label", "set"], sort=False):
            columns = {key: rounded(curve[key]) for key in ("mean", "low", "high")}
            means[label].setdefault(measure, {})[name] = {"epoch": curve["epoch"].tolist(), **columns}
    return {
        "specs": looks(histories),
        "means": means,
        "runs": {
            label: [_run_curves(seed, table) for seed, table in zip(seeds[label], tables, strict=True)]
            for label, tables in histories.items()
        },
        "best": {label: [int(epoch), float(value)] for label, epoch, value in accuracy.best.itertuples()},
        "range": accuracy.limits,
        "log": loss.log,
        "gap": {label: rounded(row) for label, *row in gap.last.itertuples()},
    }


def _run_curves(seed: int, table: pd.DataFrame) -> dict[str, Any]:
    columns = {
        "loss": {"train": table["data_loss"], "test": table["val_data_loss"]},
        "accuracy": {"train": 100 * table["accuracy"], "test": 100 * table["val_accuracy"]},
        "gap": {"gap": 100 * (table["accuracy"] - table["val_accuracy"])},
    }
    values = {measure: {name: rounded(v) for name, v in sets.items()} for measure, sets in columns.items()}
    return {"seed": seed, "epoch": (table.index + 1).tolist(), **values}


def confusion_page(
    labels: np.ndarray, logits: Mapping[str, Sequence[np.ndarray]], class_names: Sequence[str]
) -> dict[str, Any] | None:
    """Return the confusion matrix of each label, true classes in rows; None for more than 200 classes."""
    if len(class_names) > MOST_CLASSES:
        return None
    data = confusion_data(labels, logits, class_names)
    return {
        "classes": data.class_names,
        "counts": [
            {"label": label, "seeds": data.seeds[label], "matrix": np.round(matrix, 2)}
            for label, matrix in data.counts.items()
        ],
    }


def overlap_page(labels: np.ndarray, logits: Mapping[str, Sequence[np.ndarray]]) -> dict[str, Any]:
    """Return the largest sets of labels that are wrong together, with the share of the largest as a bar's width."""
    data = overlap_data(labels, logits)
    largest = float(data.sets["images"].max()) if len(data.sets) else 1.0
    return {
        "rows": [
            {"members": members, "images": images, "share": images / largest}
            for members, images in data.sets.head(MOST_SETS).itertuples(index=False)
        ],
        "totals": dict(data.totals),
        "seeds": data.seeds,
        "sets": len(data.sets),
        "pattern": "{:,.0f}" if data.seeds == 1 else "{:,.1f}",
    }
