"""The generalization gap over training: ``gap_data`` says what is drawn, ``plot_gap`` draws it."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfnorm.files import in_plain_style
from tfnorm.reporting.palette import styles
from tfnorm.reporting.pictures import _frame as frame
from tfnorm.reporting.pictures._histories import Histories, checked, count_seeds, diverged, over_seeds
from tfnorm.text import signed

# The share of the epochs, the first, that may lie beyond the axis if that doubles the scale.
HIDDEN_SHARE = 1 / 3


@dataclass(frozen=True, eq=False)
class GapData:
    """What `plot_gap` draws.

    Attributes:
        curves: One row for each ``label`` and ``epoch`` (from 1): training minus test accuracy in points, ``mean``,
            ``low`` and ``high`` over the ``seeds`` that have it.
        last: Index label; ``mean`` and ``std`` (n - 1) over the seeds of the gap after each seed's last epoch, without
            seeds that diverged; NaN where none is left, and ``std`` where one is.
        seeds: How many seeds each label has.
        diverged: How many seeds of each label have a training loss that is not finite in some epoch.
        limits: Lower and upper end of the axis in points.
    """

    curves: pd.DataFrame
    last: pd.DataFrame
    seeds: dict[str, int]
    diverged: dict[str, int]
    limits: tuple[float, float]


def gap_data(histories: Histories) -> GapData:
    """Return the training minus the test accuracy of every model, over its seeds, in points.

    The training accuracy is that of the epoch while it runs: on augmented images, with dropout, by weights that still
    move. The gap may be negative for that.

    Args:
        histories: One table a seed for every label.

    Raises:
        RunError: If there is no history, or one lacks ``accuracy`` or ``val_accuracy``.
    """
    frames = checked(histories, "accuracy", "val_accuracy")
    gaps = {
        (label,): [100 * (table["accuracy"] - table["val_accuracy"]).astype(float) for table in tables]
        for label, tables in frames.items()
    }
    last = {}
    for label, tables in frames.items():
        ended = zip(gaps[label,], tables, strict=True)
        ends = pd.Series([gap.iloc[-1] for gap, table in ended if len(gap) and not diverged(table)], dtype=float)
        last[label] = (ends.mean(), ends.std())
    table = pd.DataFrame.from_dict(last, orient="index", columns=["mean", "std"]).rename_axis("label")
    curves = over_seeds(gaps, ["label"])
    return GapData(curves, table, *count_seeds(frames), _limits(curves))


def _limits(curves: pd.DataFrame) -> tuple[float, float]:
    """Return an axis that shows everything, or if that halves it, all but the first third of the epochs."""
    if not len(curves):
        return -1.0, 1.0
    later = curves[curves["epoch"] > curves["epoch"].max() * HIDDEN_SHARE]
    low, high = min(float(later["low"].min()), 0.0), max(float(later["high"].max()), 0.0)
    whole = min(float(curves["low"].min()), 0.0), max(float(curves["high"].max()), 0.0)
    if whole[1] - whole[0] < 2 * (high - low):
        low, high = whole
    margin = max(0.08 * (high - low), 0.1)
    return low - margin, high + margin


@in_plain_style
def plot_gap(
    histories: Histories,
    *,
    title: str | None = None,
    images: str = "test",
    ax: Axes | None = None,
    path: frame.PathLike | None = None,
) -> Figure:
    """Draw the training minus the test accuracy of all models over training.

    The first third of the epochs may lie beyond the axis if that at least doubles the scale; the line under the title
    then says so.

    Args:
        histories: One table a seed for every label.
        title: The title of the plot. By default it says what is drawn.
        images: The word for the images that were evaluated on. Defaults to "test".
        ax: The axes to draw in. By default those of a new figure of 8 by 4.5 inches or more.
        path: The file to write the picture to (.png, .svg or .pdf). By default none is written.

    Returns:
        The figure.

    Raises:
        RunError: If there is no history, or one lacks ``accuracy`` or ``val_accuracy``.
        DataError: If the file type is unknown.
    """
    data = gap_data(histories)
    names = {}
    for label, mean, std in data.last.itertuples():
        spread = "" if pd.isna(std) else f" ± {std:.2f}"
        names[label] = label if pd.isna(mean) else f"{label} — last {signed(mean)}{spread}"
        names[label] += frame.divergence_note(data.seeds[label], data.diverged[label])
    low, high = data.limits
    parts = [frame.format_seeds(list(data.seeds.values()))]
    if max(data.seeds.values()) > 1:
        parts.append("bands: min to max")
    if len(data.curves) and ((data.curves["mean"] < low) | (data.curves["mean"] > high)).any():
        parts.append("first epochs cut off")
    ax = frame.open_axes(ax, path, frame.height_with_legend(names))
    frame.set_heading(ax, title or "Generalization gap", "; ".join(parts))
    look = styles(data.seeds)
    for label, curve in data.curves.groupby("label", sort=False):
        style = look[label]
        ax.plot(
            curve["epoch"], curve["mean"], "-", marker=style.marker, color=style.colour, linewidth=2, markersize=5,
            markevery=max(1, len(curve) // 8), zorder=4,
        )  # fmt: skip
        if curve["seeds"].max() > 1:
            ax.fill_between(curve["epoch"], curve["low"], curve["high"], color=style.colour, alpha=0.18, linewidth=0)
    ax.axhline(0, color="#333333", linewidth=1, zorder=2)
    frame.set_frame(ax)
    frame.set_epochs(ax, data.curves)
    ax.set_ylim(low, high)
    ax.set_ylabel(f"training minus {images} accuracy\n(percentage points)", fontsize=11)
    frame.draw_legend_of(ax, names)
    return frame.finish(ax, path)
