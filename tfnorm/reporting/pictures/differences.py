"""Differences between pairs of models: ``differences_data`` says what is drawn, ``plot_differences`` draws it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfnorm.errors import RunError
from tfnorm.files import in_plain_style
from tfnorm.metrics.metric import ACCURACY, Metric
from tfnorm.reporting.palette import styles
from tfnorm.reporting.pictures import _frame as frame
from tfnorm.text import p_text

# How many pairs are drawn.
MOST_PAIRS = 66
# An interval from two seeds may be wider than all that is worth seeing: how often the usual one the axis goes beyond
# the means at most.
WIDEST = 2.5


def differences_data(differences: pd.DataFrame) -> pd.DataFrame:
    """Return the differences with the ends of their intervals.

    Args:
        differences: One row a pair of labels, as `tfnorm.Comparison.differences` has them: ``first``, ``second``,
            ``mean`` (first minus second, in points), ``half_width`` of the 95 % interval, ``p_adjusted`` (both NaN for
            one seed) and ``real``, whether the difference is shown. Or, in place of the half width and p, ``low`` and
            ``high``, the ends of an interval that holds over many looks, infinite for fewer than 3 seeds, with
            ``margin``, ``equivalent`` and ``at_most``.

    Returns:
        The same rows in the same order, with ``low`` and ``high``, the ends of the interval, and its half width.
    """
    if "half_width" not in differences:
        known = differences.reset_index(drop=True).replace([np.inf, -np.inf], np.nan)
        return known.assign(half_width=(known["high"] - known["low"]) / 2)
    ends = {end: differences["mean"] + sign * differences["half_width"] for end, sign in (("low", -1), ("high", 1))}
    return differences.reset_index(drop=True).assign(**ends)


@in_plain_style
def plot_differences(
    differences: pd.DataFrame,
    *,
    title: str | None = None,
    images: str = "test",
    metric: Metric = ACCURACY,
    ax: Axes | None = None,
    path: frame.PathLike | None = None,
) -> Figure:
    """Draw the difference of every pair with its 95 % interval, a row a pair.

    A real difference, under 5 % after the correction for all pairs, is a filled point in the colour of the better one
    with bold words beside it; others are hollow and grey. Where there are more than 66 pairs, those of 12 models, the
    66 with the smallest p values, or the clearest, are drawn. Intervals over many looks have the margin behind them.

    Args:
        differences: One row a pair of labels, as `tfnorm.Comparison.differences` has them; see `differences_data`.
        title: The title of the plot. By default it names what is drawn.
        images: The word for the images that were evaluated on. Defaults to "test".
        metric: What the differences are of. Defaults to the accuracy.
        ax: The axes to draw in. By default a new figure 8 inches wide, as high as the pairs need.
        path: The file to write the picture to (.png, .svg or .pdf). By default none is written.

    Raises:
        RunError: If there is no pair.
        DataError: If the file type is unknown.
    """
    data = differences_data(differences)
    if data.empty:
        raise RunError("There is no pair to draw. Compare at least two specs.")
    note, look = _explain(data), styles([*data["first"], *data["second"]])
    if len(data) > MOST_PAIRS:
        note += (
            f"; the {MOST_PAIRS} of them with the smallest p"
            if "p_adjusted" in data
            else f"; the clearest {MOST_PAIRS}"
        )
        unclear = data["p_adjusted"] if "p_adjusted" in data else -data["mean"].abs() / data["half_width"]
        data = data.loc[unclear.sort_values(kind="stable").index[:MOST_PAIRS].sort_values()]
    heading = title or f"Differences in {metric.title(images)}", note
    if ax is None:
        ax = frame.open_axes(None, path, 1.45 + 0.3 * len(data))
        frame.set_figure_heading(ax.figure.figure, *heading)
    else:
        frame.set_heading(frame.open_axes(ax, path), *heading)
    rows, (left, right) = data.to_dict("records"), _limits(data)
    for place, row in enumerate(rows):
        better = row["first"] if metric.sign * row["mean"] > 0 else row["second"]
        colour = look[better].colour if row["real"] else frame.NOTE_COLOUR
        if np.isfinite(row["half_width"]):
            ax.hlines(place, row["low"], row["high"], color=colour, linewidth=2, zorder=3)
            for end, arrow in ((left, "<"), (right, ">")):
                if not left <= row["low" if end == left else "high"] <= right:
                    ax.plot([end], [place], arrow, color=colour, markersize=7, clip_on=False, zorder=4)
        ax.plot(
            [row["mean"]], [place], look[better].marker if row["real"] else "o", color=colour, markersize=7,
            markerfacecolor=colour if row["real"] else "white", markeredgewidth=1.5, zorder=4,
        )  # fmt: skip
        ax.annotate(
            _words(row, metric), (1, place), (6, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
            fontsize=9, va="center", color="black" if row["real"] else frame.NOTE_COLOUR,
            weight="bold" if row["real"] else "normal",
        )  # fmt: skip
        if place and row["first"] != rows[place - 1]["first"]:
            ax.axhline(place - 0.5, color="#bbbbbb", linewidth=0.8, zorder=1)
    ax.axvline(0, color="#333333", linewidth=1, zorder=2)
    if "p_adjusted" not in data and (margin := float(data["margin"].iloc[0])):
        ax.axvspan(-margin, margin, color="#eeeeee", zorder=0)
    frame.set_frame(ax, "x")
    names = [f"{frame.shortened(row['first'])} − {frame.shortened(row['second'])}" for row in rows]
    ax.set_yticks(range(len(rows)), names, parse_math=False)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlim(left, right)
    ax.tick_params(axis="y", length=0)
    what = f"difference in {metric.title(images)}, {metric.moment.removeprefix('after the ')}"
    ax.set_xlabel(f"{what} (percentage points)" if metric.percent else what, fontsize=11, parse_math=False)
    return frame.finish(ax, path)


def _explain(data: pd.DataFrame) -> str:
    """Return the line under the title: what the bars are."""
    if data["half_width"].isna().all():
        return "one seed: no interval, and no ranking justified" if data["mean"].notna().any() else "no seed in common"
    if "p_adjusted" not in data:
        margin = f"; grey: the margin of {data['margin'].iloc[0]:g}" if data["margin"].iloc[0] else ""
        return f"bars: intervals that hold over all looks and pairs; filled: real{margin}"
    note = "bars: 95 % interval of the mean; filled: real"
    return note + (f", after Holm’s correction for {len(data)} pairs" if len(data) > 1 else "")


def _words(row: dict[str, Any], metric: Metric) -> str:
    """Return the numbers of a row as they stand beside it."""
    if not np.isfinite(row["mean"]):
        return "no seed in common"
    if not np.isfinite(row["half_width"]):
        return metric.signed(row["mean"])
    if "p_adjusted" not in row and row["equivalent"]:
        return f"{metric.signed(row['mean'])}, at most {metric.number(row['at_most'])} apart"
    if "p_adjusted" not in row:
        return f"{metric.signed(row['mean'])} ({metric.signed(row['low'])} to {metric.signed(row['high'])})"
    return f"{metric.signed(row['mean'])} ± {metric.number(row['half_width'])}, p {p_text(row['p_adjusted'])}"


def _limits(data: pd.DataFrame) -> tuple[float, float]:
    """Return an axis that holds zero, every mean and every interval but those much wider than most."""
    means = np.append(data["mean"].dropna().to_numpy(), 0.0)
    widest = WIDEST * max(float(np.ptp(means)), float(data["half_width"].median()) if len(means) > 1 else 0.0)
    ends = data[["low", "high"]].to_numpy(dtype=float).ravel()
    ends = np.append(np.clip(ends[np.isfinite(ends)], means.min() - widest, means.max() + widest), means)
    margin = 0.05 * float(np.ptp(ends)) or 1.0
    return float(ends.min()) - margin, float(ends.max()) + margin
