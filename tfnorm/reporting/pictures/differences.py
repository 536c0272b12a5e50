"""Differences between pairs of models: ``differences_data`` says what is drawn, ``plot_differences`` draws it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from tfnorm.errors import RunError
from tfnorm.files import in_plain_style
from tfnorm.reporting.palette import styles
from tfnorm.reporting.pictures._frame import (
    NOTE_COLOUR,
    PathLike,
    finish,
    open_axes,
    set_figure_heading,
    set_frame,
    set_heading,
    shortened,
)
from tfnorm.text import p_text, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# How many pairs are drawn.
MOST_PAIRS = 66
# An interval from two seeds may be wider than all that is worth seeing: how often the usual one the axis goes beyond
# the means at most.
WIDEST = 2.5
COLUMNS = ["first", "second", "mean", "half_width", "low", "high", "p_adjusted", "real"]


class Pair(Protocol):
    """A difference, such as a `tfnorm.experiments.statistics.Difference`."""

    @property
    def first(self) -> str:
        """A label."""

    @property
    def second(self) -> str:
        """Another."""

    @property
    def mean(self) -> float:
        """First minus second, in points."""

    @property
    def half_width(self) -> float:
        """Of the 95 % interval around it; NaN for one seed."""

    @property
    def p_adjusted(self) -> float:
        """The p value, corrected for the number of pairs; NaN for one seed."""

    def is_real(self) -> bool:
        """Return whether that is under 5 %."""


def differences_data(pairs: Sequence[Pair]) -> pd.DataFrame:
    """Return one row a pair, in the order given.

    Args:
        pairs: What `tfnorm.experiments.statistics.paired_differences` returns.

    Returns:
        Columns ``first``, ``second``, ``mean`` (first minus second, in points), ``half_width``, ``low`` and ``high``
        (95 % interval, NaN for one seed), ``p_adjusted``, ``real`` (whether that is under 5 %).
    """
    rows = [
        (
            *(pair.first, pair.second, pair.mean, pair.half_width),
            *(pair.mean - pair.half_width, pair.mean + pair.half_width, pair.p_adjusted, pair.is_real()),
        )
        for pair in pairs
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


@in_plain_style
def plot_differences(
    pairs: Sequence[Pair],
    *,
    title: str | None = None,
    images: str = "test",
    ax: Axes | None = None,
    path: PathLike | None = None,
) -> Figure:
    """Draw the difference of every pair with its 95 % interval, a row a pair.

    A real difference, under 5 % after the correction for all pairs, is a filled point in the colour of the better one
    with bold words beside it; others are hollow and grey. Of more than 66 pairs, those of 12 models, the 66 with the
    smallest p values are drawn.

    Args:
        pairs: See `differences_data`.
        title: Title of the plot.
        images: Word for those that were evaluated on, "held-out" if they are not the test set.
        ax: Where to draw; by default a new figure 8 inches wide, as high as the pairs need.
        path: Where to write the picture (.png, .svg or .pdf), or None.

    Returns:
        The figure.

    Raises:
        RunError: If there is no pair.
        DataError: If the file type is unknown.
    """
    data = differences_data(pairs)
    if data.empty:
        raise RunError("There is no pair to draw. Compare at least two specs.")
    note, look = _explain(data), styles([*data["first"], *data["second"]])
    if len(data) > MOST_PAIRS:
        note += f"; the {MOST_PAIRS} of them with the smallest p"
        data = data.loc[data["p_adjusted"].sort_values(kind="stable").index[:MOST_PAIRS].sort_values()]
    heading = title or f"Differences in {images} accuracy", note
    if ax is None:
        ax = open_axes(None, path, 1.45 + 0.3 * len(data))
        set_figure_heading(ax.figure.figure, *heading)
    else:
        set_heading(open_axes(ax, path), *heading)
    rows, (left, right) = data.to_dict("records"), _limits(data)
    for place, row in enumerate(rows):
        better = row["first"] if row["mean"] > 0 else row["second"]
        colour = look[better].colour if row["real"] else NOTE_COLOUR
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
            _words(row), (1, place), (6, 0), xycoords=("axes fraction", "data"), textcoords="offset points", fontsize=9,
            va="center", color="black" if row["real"] else NOTE_COLOUR, weight="bold" if row["real"] else "normal",
        )  # fmt: skip
        if place and row["first"] != rows[place - 1]["first"]:
            ax.axhline(place - 0.5, color="#bbbbbb", linewidth=0.8, zorder=1)
    ax.axvline(0, color="#333333", linewidth=1, zorder=2)
    set_frame(ax, "x")
    names = [f"{shortened(row['first'])} − {shortened(row['second'])}" for row in rows]
    ax.set_yticks(range(len(rows)), names, parse_math=False)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlim(left, right)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(f"difference in {images} accuracy, last epoch (percentage points)", fontsize=11)
    return finish(ax, path)


def _explain(data: pd.DataFrame) -> str:
    """Return the line under the title: what the bars are."""
    if data["half_width"].isna().all():
        return "one seed: no interval, and no ranking justified" if data["mean"].notna().any() else "no seed in common"
    note = "bars: 95 % interval of the mean; filled: real"
    return note + (f", after Holm’s correction for {len(data)} pairs" if len(data) > 1 else "")


def _words(row: dict[str, Any]) -> str:
    """Return the numbers of a row as they stand beside it."""
    if not np.isfinite(row["mean"]):
        return "no seed in common"
    if not np.isfinite(row["half_width"]):
        return signed(row["mean"])
    return f"{signed(row['mean'])} ± {row['half_width']:.2f}, p {p_text(row['p_adjusted'])}"


def _limits(data: pd.DataFrame) -> tuple[float, float]:
    """Return an axis that holds zero, every mean and every interval but those much wider than most."""
    means = np.append(data["mean"].dropna().to_numpy(), 0.0)
    widest = WIDEST * max(float(np.ptp(means)), float(data["half_width"].median()) if len(means) > 1 else 0.0)
    ends = data[["low", "high"]].to_numpy(dtype=float).ravel()
    ends = np.append(np.clip(ends[np.isfinite(ends)], means.min() - widest, means.max() + widest), means)
    margin = 0.05 * float(np.ptp(ends)) or 1.0
    return float(ends.min()) - margin, float(ends.max()) + margin
