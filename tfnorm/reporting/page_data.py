"""What the pictures of `tfnorm.reporting` draw, as the JSON that a page's own pictures are drawn from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tfnorm.metrics.metric import ACCURACY, Metric
from tfnorm.reporting.html import rounded
from tfnorm.reporting.palette import styles
from tfnorm.reporting.pictures.confusion import confusion_data
from tfnorm.reporting.pictures.curves import LOSSES, accuracy_data, gap_data, histories_with, loss_data
from tfnorm.reporting.pictures.overlap import overlap_data

# Plotly's names of the markers of `tfnorm.reporting.palette`.
SYMBOLS = {
    "o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "v": "triangle-down", "P": "cross", "X": "x",
    "<": "triangle-left", ">": "triangle-right", "*": "star",
}  # fmt: skip
# Of 1,000 classes a matrix has a million cells.
MOST_CLASSES = 200
MOST_SETS = 24
LOSS_CURVES = ("training", "test")


def looks(labels: Iterable[str]) -> list[dict[str, str]]:
    """Return label, colour and Plotly's marker of each label."""
    return [
        {"label": label, "colour": style.colour, "symbol": SYMBOLS[style.marker]}
        for label, style in styles(labels).items()
    ]


def curves_page(
    histories: Mapping[str, Sequence[pd.DataFrame]],
    seeds: Mapping[str, Sequence[int]],
    metric: Metric = ACCURACY,
    losses: tuple[str, str] = LOSSES,
) -> dict[str, Any]:
    """Return loss, accuracy and their gap over the epochs: means, bands, and each of the seeds, as in ``histories``.

    The accuracy may be another ``metric``. What no history has is left out.
    """
    with_loss = histories_with(histories, losses[0]) if metric.key not in losses else {}
    with_value = histories_with(histories, metric.key)
    with_gap = histories_with(histories, metric.training, metric.key) if metric.training else {}
    loss = loss_data(with_loss, losses) if with_loss else None
    accuracy = accuracy_data(with_value, metric) if with_value else None
    gap = gap_data(with_gap, metric) if with_gap else None
    parts = {
        **({"loss": loss.curves} if loss else {}),
        **({metric.slot: accuracy.curves} if accuracy else {}),
        **({"gap": gap.curves.assign(set="gap")} if gap else {}),
    }
    title = "loss without penalty (nats)" if losses == LOSSES else "loss"
    axes = {metric.slot: metric.axis(metric.name)} if accuracy else {}
    means: dict[str, dict[str, Any]] = {label: {} for label in histories}
    for measure, table in parts.items():
        for (label, name), curve in table.groupby(["label", "set"], sort=False):
            columns = {key: rounded(curve[key]) for key in ("mean", "low", "high")}
            means[label].setdefault(measure, {})[name] = {"epoch": curve["epoch"].tolist(), **columns}
    called = {"loss": LOSS_CURVES if losses == LOSSES else losses, metric.slot: metric.curves()}
    names = {
        measure: {
            set_: name for set_, name in zip(("train", "test"), words, strict=True) if (table["set"] == set_).any()
        }
        for measure, words in called.items()
        if (table := parts.get(measure)) is not None
    }
    return {
        "specs": looks(histories),
        "names": names,
        "means": means,
        "runs": {
            label: [_run_curves(seed, table, metric, losses) for seed, table in zip(seeds[label], tables, strict=True)]
            for label, tables in histories.items()
        },
        "best": {label: [int(epoch), float(value)] for label, epoch, value in accuracy.best.itertuples()}
        if accuracy
        else {},
        "range": accuracy.limits if accuracy else None,
        "log": bool(loss and loss.log),
        "gap": {label: rounded(row) for label, *row in gap.last.itertuples()} if gap else {},
        "axes": {**axes, **({"loss": title} if loss else {})},
        "percent": metric.percent,
        "main": metric.slot,
        "gap_axis": "gap (points)" if metric.percent else "gap",
    }


def _run_curves(seed: int, table: pd.DataFrame, metric: Metric, losses: tuple[str, str]) -> dict[str, Any]:
    scale, (train, test) = metric.scale, (metric.training, metric.key)
    columns = {
        "loss": {name: table[key] for name, key in zip(("train", "test"), losses, strict=True) if key in table},
        metric.slot: {name: scale * table[key] for name, key in (("train", train), ("test", test)) if key in table},
        "gap": {"gap": scale * (table[train] - table[test])} if {train, test} <= set(table) else {},
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
