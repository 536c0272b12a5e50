"""Accuracy against a number that a sweep varies: ``axis_data`` says what is drawn, ``plot_axis`` draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from tfnorm.errors import RunError, unknown
from tfnorm.files import in_plain_style
from tfnorm.metrics.metric import ACCURACY, Metric
from tfnorm.reporting.palette import styles
from tfnorm.reporting.pictures import _frame as frame
from tfnorm.spec import parse
from tfnorm.text import counted

# What an axis is called below the plot.
NAMES = {
    "batch_size": "batch size (images)",
    "learning_rate": "peak learning rate",
    "dropout": "dropout rate",
    "norm": "normalization",
    "arch": "network",
    "l1": "L1 factor",
    "l2": "L2 factor",
    "l2norm": "L2 factor, not squared",
}
RATIO_FOR_LOG = 8.0


@dataclass(frozen=True, eq=False)
class AxisData:
    """What `plot_axis` draws.

    Attributes:
        points: One row for each label and value of the axis, by value: ``label``, ``x``, ``mean``, ``low`` and ``high``
            (95 % interval of the mean, NaN for one seed), in percent, and ``seeds``, those that did not diverge.
        diverged: How many runs diverged, those of points without a mean too.
        x: The axis.
        log: Whether its scale is logarithmic.
        limits: Lower and upper end of the accuracy axis in percent.
    """

    points: pd.DataFrame
    diverged: int
    x: str
    log: bool
    limits: tuple[float, float]


def axis_data(table: pd.DataFrame, x: str, others: Sequence[str] = (), metric: Metric = ACCURACY) -> AxisData:
    """Return the metric after the last epoch against an axis of a sweep, given the arguments of `plot_axis`."""
    for column in (x, *others):
        if column not in table.columns and (column, x) != ("groups", "groups"):
            raise RunError(unknown("column", column, ["groups", *map(str, table.columns)]))
    rows: list[dict[str, Any]] = []
    lost = 0
    for row in table.to_dict("records"):
        label, value = str(row["norm"]), row.get(x)
        if x == "groups":
            value = parse(label).groups
            label = label.replace(f"gn:{value}", "gn", 1)
        if pd.isna(value):
            continue
        if not isinstance(value, Real):
            raise RunError(f"An axis needs numbers. Received: the column {x!r}, which holds {value!r}.")
        diverged = int(row.get("diverged", 0))
        lost += diverged
        mean, low, high = (row[f"{metric.last}{end}"] for end in ("", "_low", "_high"))
        if not pd.isna(mean):
            label = " ".join([label, *(f"{key}={row[key]}" for key in others)])
            seeds = row["seeds"] - diverged
            rows.append({"label": label, "x": value, "mean": mean, "low": low, "high": high, "seeds": seeds})
    if not rows:
        raise RunError(f"There is nothing to draw against {x!r}: no row has both a value of it and {metric.value}.")
    order = list(dict.fromkeys(row["label"] for row in rows))
    points = pd.DataFrame(sorted(rows, key=lambda row: (order.index(row["label"]), row["x"])))
    smallest, largest = float(points["x"].min()), float(points["x"].max())
    log = smallest > 0 and largest / smallest >= RATIO_FOR_LOG
    low, high = float(points["mean"].min()), float(points["mean"].max())
    # An interval from two seeds may be wider than all that is worth seeing.
    margin = max(3 * (high - low), 1.0 if metric.percent else 0.02 * abs(high) or 0.02)
    least, most = metric.ends
    low = max(low - margin, min(float(points["low"].min()), low - 0.2 * margin), least)
    high = min(high + margin, max(float(points["high"].max()), high + 0.2 * margin), most + 0.02 * (most - low))
    return AxisData(points, lost, x, log, (low, high))


@in_plain_style
def plot_axis(
    table: pd.DataFrame,
    x: str,
    others: Sequence[str] = (),
    *,
    title: str | None = None,
    images: str = "test",
    metric: Metric = ACCURACY,
    ax: Axes | None = None,
    path: frame.PathLike | None = None,
) -> Figure:
    """Draw the test accuracy after the last epoch against an axis of a sweep, a line and a band a normalization.

    The axis is logarithmic, to base 2, if its numbers span a factor of 8 or more.

    Args:
        table: The columns of `tfnorm.Sweep.table`: norm, the axis, last_accuracy, last_accuracy_low,
            last_accuracy_high (of another metric with its name), seeds and, where some may have diverged, diverged.
        x: The column of numbers to draw against, or "groups", which is read from specs such as gn:4.
        others: Further columns that tell curves apart. Defaults to none.
        title: The title of the plot. By default it says what is drawn.
        images: The word for the images that were evaluated on. Defaults to "test".
        metric: What the runs are about. Defaults to the accuracy.
        ax: The axes to draw in. By default those of a new figure.
        path: The file to write the picture to (.png, .svg or .pdf). By default none is written.

    Raises:
        RunError: If there is nothing to draw, or no such column.
        DataError: If the file type is unknown.
    """
    data = axis_data(table, x, others, metric)
    points, what = data.points, metric.title(images)
    look, name = styles(points["label"]), NAMES.get(x, x)
    note = frame.format_seeds(list(points["seeds"]))
    note += "; bands: 95 % interval of the mean" if points["seeds"].max() > 1 else ", no ranking justified"
    if data.diverged:
        note += f"; without {counted([data.diverged], 'run')} that diverged"
    called = {label: label for label in look}
    ax = frame.open_axes(ax, path, frame.height_with_legend(called))
    frame.set_heading(ax, title or f"{what[0].upper()}{what[1:]} against {name}", note)
    frame.set_frame(ax)
    for label, curve in points.groupby("label", sort=False):
        style = look[str(label)]
        ax.plot(curve["x"], curve["mean"], f"-{style.marker}", color=style.colour, linewidth=2, markersize=6, zorder=4)
        if curve["low"].notna().any():
            ax.fill_between(curve["x"], curve["low"], curve["high"], color=style.colour, alpha=0.15, linewidth=0)
    if data.log:
        ax.set_xscale("log", base=2)
    ax.xaxis.set_major_locator(FixedLocator(sorted(points["x"].unique())))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set_xlabel(name, fontsize=11)
    ax.set_ylabel(metric.axis(f"{what}, last epoch"), fontsize=11, parse_math=False)
    ax.set_ylim(*data.limits)
    frame.draw_legend_of(ax, called)
    return frame.finish(ax, path)
