"""Curves of several models together: ``x_data`` says what is drawn, ``plot_x`` draws it.

Histories are a mapping from label to one table a seed, as ``HistoryRecorder.to_frame`` returns: index epoch, counted
from 0, columns ``data_loss``, ``val_data_loss``, ``accuracy``, ``val_accuracy``. Test curves are those of the
validation data.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tfnorm.errors import RunError
from tfnorm.files import DOTS_PER_INCH, check_picture_path, save_figure
from tfnorm.misclassified import draw_misclassified, find_misclassified
from tfnorm.report.palette import styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Histories = Mapping[str, Sequence[pd.DataFrame]]

DECADES_FOR_LOG = 1.5
# The share of each curve's epochs, its worst, that may lie below the accuracy axis if that doubles the scale.
HIDDEN_SHARE = 1 / 3
COLUMNS = ["label", "set", "epoch", "mean", "low", "high", "seeds"]

misclassified_data = find_misclassified
plot_misclassified = draw_misclassified


@dataclass(frozen=True, eq=False)
class LossData:
    """What `plot_loss` draws.

    Attributes:
        curves: One row for each label, set ("train" or "test") and epoch (from 1) with a finite loss: ``mean``, ``low``
            and ``high`` over the seeds in nats, ``seeds`` how many of them are finite.
        seeds: How many seeds each label has.
        diverged: How many seeds of each label have a training loss that is not finite in some epoch.
        log: Whether the loss axis is logarithmic.
    """

    curves: pd.DataFrame
    seeds: dict[str, int]
    diverged: dict[str, int]
    log: bool


@dataclass(frozen=True, eq=False)
class AccuracyData:
    """What `plot_accuracy` draws.

    Attributes:
        curves: As in `LossData`, in percent.
        seeds: How many seeds each label has.
        diverged: As in `LossData`.
        best: Index label, columns ``epoch`` (from 1) and ``accuracy`` (percent): the highest mean test accuracy, the
            earliest if several, among the epochs that most seeds reached. Chosen on the test set, it is optimistic.
        limits: Lower and upper end of the accuracy axis in percent.
    """

    curves: pd.DataFrame
    seeds: dict[str, int]
    diverged: dict[str, int]
    best: pd.DataFrame
    limits: tuple[float, float]


def loss_data(histories: Histories) -> LossData:
    """Return the losses without penalty of every model, over its seeds.

    Args:
        histories: One table a seed for every label.

    Raises:
        RunError: If there is no history, or one has no column ``data_loss``.
    """
    frames = _check(histories, "data_loss")
    curves = _curves(frames, {"train": "data_loss", "test": "val_data_loss"})
    means = curves["mean"].to_numpy()
    log = len(means) > 0 and bool(means.min() > 0) and bool(np.log10(means.max() / means.min()) > DECADES_FOR_LOG)
    return LossData(curves, *_seeds(frames), log)


def accuracy_data(histories: Histories) -> AccuracyData:
    """Return the accuracies of every model, over its seeds, in percent.

    Args:
        histories: One table a seed for every label.

    Raises:
        RunError: If there is no history, or one has no column ``accuracy``.
    """
    frames = _check(histories, "accuracy")
    curves = _curves(frames, {"train": "accuracy", "test": "val_accuracy"})
    curves[["mean", "low", "high"]] *= 100
    best = {}
    for label, curve in curves[curves["set"] == "test"].groupby("label", sort=False):
        complete = curve[curve["seeds"] == curve["seeds"].max()]
        row = complete.loc[complete["mean"].idxmax()]
        best[label] = (int(row["epoch"]), float(row["mean"]))
    table = pd.DataFrame.from_dict(best, orient="index", columns=["epoch", "accuracy"]).rename_axis("label")
    return AccuracyData(curves, *_seeds(frames), table, _accuracy_limits(curves))


def _check(histories: Histories, column: str) -> dict[str, list[pd.DataFrame]]:
    """Return the tables by label, sorted by epoch and each epoch once; raise a RunError if they cannot be drawn."""
    if not histories:
        raise RunError("There is no history to draw. Pass at least one label with one table.")
    result = {}
    for label, frames in histories.items():
        frames = [frames] if isinstance(frames, pd.DataFrame) else list(frames)
        if not frames:
            raise RunError(f"There is no history of {label!r}. Pass at least one table for each label.")
        for number, frame in enumerate(frames, start=1):
            if column not in frame.columns:
                raise RunError(
                    f"History {number} of {label!r} has no column {column!r}. "
                    f"Received: {', '.join(map(str, frame.columns)) or 'no column'}."
                )
        result[label] = [frame[~frame.index.duplicated(keep="last")].sort_index() for frame in frames]
    return result


def _curves(frames: Mapping[str, Sequence[pd.DataFrame]], columns: Mapping[str, str]) -> pd.DataFrame:
    """Return mean, low and high over the seeds, in one long table."""
    parts = []
    for label, tables in frames.items():
        for name, column in columns.items():
            series = [table[column].astype(float) for table in tables if column in table.columns]
            if not series:
                continue
            values = pd.concat(series, axis=1).sort_index().replace([np.inf, -np.inf], np.nan).dropna(how="all")
            parts.append(
                pd.DataFrame(
                    {
                        "label": label,
                        "set": name,
                        "epoch": values.index.to_numpy(dtype=int) + 1,
                        "mean": values.mean(axis=1).to_numpy(),
                        "low": values.min(axis=1).to_numpy(),
                        "high": values.max(axis=1).to_numpy(),
                        "seeds": values.count(axis=1).to_numpy(dtype=int),
                    }
                )
            )
    parts = [part for part in parts if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS).astype({"mean": float})


def _seeds(frames: Mapping[str, Sequence[pd.DataFrame]]) -> tuple[dict[str, int], dict[str, int]]:
    """Return how many seeds each label has, and how many of them diverged."""

    def diverged(table: pd.DataFrame) -> bool:
        return "data_loss" in table.columns and not np.isfinite(table["data_loss"].astype(float)).all()

    return (
        {label: len(tables) for label, tables in frames.items()},
        {label: sum(map(diverged, tables)) for label, tables in frames.items()},
    )


def _accuracy_limits(curves: pd.DataFrame) -> tuple[float, float]:
    """Return an axis that shows everything, or if that halves it, all but the worst third of every curve's epochs."""
    if not len(curves):
        return 0.0, 100.0
    lows = curves.groupby(["label", "set"])["low"].quantile(HIDDEN_SHARE, interpolation="lower")
    low, high = float(lows.min()), float(curves["high"].max())
    if high - curves["low"].min() < 2 * (high - low):
        low = float(curves["low"].min())
    margin = max(0.06 * (high - low), 0.25)
    return max(low - margin, 0.0 if low > 0 else -2.0), min(high + margin, 100 + margin / 2)


def plot_loss(
    histories: Histories,
    *,
    title: str | None = None,
    ax: Axes | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draw training (dashed) and test loss (solid) without penalty of all models together.

    The axis is logarithmic if the mean losses span more than 1.5 decades.

    Args:
        histories: One table a seed for every label.
        title: Title of the plot.
        ax: Where to draw; by default a new figure of 8 by 4.5 inches or more.
        path: Where to write the picture (.png, .svg or .pdf), or None.

    Returns:
        The figure.

    Raises:
        RunError: If there is no history, or one lacks its columns.
        DataError: If the file type is unknown.
    """
    data = loss_data(histories)
    names = {label: label + _divergence(label, data) for label in data.seeds}
    ax = _prepare(ax, path, names, title or "Loss on training and test images", _explain(data))
    _draw_curves(ax, data.curves, list(data.seeds))
    ax.set_ylabel("cross-entropy loss\nwithout penalty (nats)", fontsize=11)
    if data.log:
        _set_log(ax, data.curves["mean"])
    return _finish(ax, names, path)


def plot_accuracy(
    histories: Histories,
    *,
    title: str | None = None,
    ax: Axes | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draw training (dashed) and test accuracy (solid) of all models together, and mark each one's best epoch.

    The worst third of a curve's epochs, as a rule the first, may lie below the axis if that at least doubles the scale;
    the line under the title then says so.

    Args:
        histories: One table a seed for every label.
        title: Title of the plot.
        ax: Where to draw; by default a new figure of 8 by 4.5 inches or more.
        path: Where to write the picture (.png, .svg or .pdf), or None.

    Returns:
        The figure.

    Raises:
        RunError: If there is no history, or one lacks its columns.
        DataError: If the file type is unknown.
    """
    data = accuracy_data(histories)
    names = {label: label for label in data.seeds}
    for label, epoch, accuracy in data.best.itertuples():
        names[label] += f" — best {accuracy:.2f} % at epoch {epoch}"
    names = {label: name + _divergence(label, data) for label, name in names.items()}
    low, high = data.limits
    note = _explain(data)
    if len(data.curves) and (data.curves["mean"] < low).any():
        note += f"; below {low:.0f} % cut off" if high - low > 5 else f"; below {low:.1f} % cut off"
    ax = _prepare(ax, path, names, title or "Accuracy on training and test images", note)
    _draw_curves(ax, data.curves, list(data.seeds))
    look = styles(data.seeds)
    for label, epoch, accuracy in data.best.itertuples():
        ax.plot(
            [epoch], [accuracy], look[label].marker, color=look[label].colour, markersize=11, markeredgecolor="black",
            markeredgewidth=1.2, zorder=5, clip_on=False,
        )  # fmt: skip
    ax.set_ylabel("accuracy (%)", fontsize=11)
    ax.set_ylim(low, high)
    return _finish(ax, names, path)


def _explain(data: LossData | AccuracyData) -> str:
    """Return the line under the title: what the lines and bands are."""
    sets = set(data.curves["set"])
    test, train = ("filled", "hollow") if data.curves["epoch"].nunique() == 1 else ("solid", "dashed")
    parts = [text for name, text in (("test", f"{test}: test"), ("train", f"{train}: training")) if name in sets]
    most, fewest = max(data.seeds.values()), min(data.seeds.values())
    if most > 1:
        parts.append(f"mean of {most} seeds" if most == fewest else f"mean of {fewest} to {most} seeds")
        if "test" in sets:
            parts.append("bands: test, min to max")
    return "; ".join(parts)


def _divergence(label: str, data: LossData | AccuracyData) -> str:
    """Return a remark for the legend if training diverged."""
    if not data.diverged[label]:
        return ""
    if data.diverged[label] == data.seeds[label]:
        return " (diverged)"
    return f" ({data.diverged[label]} of {data.seeds[label]} seeds diverged)"


def _columns(names: Mapping[str, str]) -> int:
    """Return how many columns of the legend fit below a plot 8 inches wide."""
    return max(1, min(len(names), 105 // (max(map(len, names.values())) + 9)))


def _prepare(
    ax: Axes | None, path: str | os.PathLike[str] | None, names: Mapping[str, str], title: str, note: str
) -> Axes:
    """Return axes with title, note, grid and epoch axis; the file name is checked before anything is drawn."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    if path is not None:
        check_picture_path(path)
    if ax is None:
        rows = -(-len(names) // _columns(names))
        figure = Figure(
            figsize=(8, 4.5 + 0.24 * max(0, rows - 2)), dpi=DOTS_PER_INCH, facecolor="white", layout="constrained"
        )
        ax = figure.add_subplot()
    title = textwrap.fill(title, 75)
    ax.set_title(title, loc="left", fontsize=13, weight="bold", pad=24 if note else 8, parse_math=False)
    remark = ax.annotate(
        note, (0, 1), (0, 7), xycoords="axes fraction", textcoords="offset points", fontsize=10, color="#555555"
    )
    remark.set_in_layout(False)  # the title's pad makes room for it
    ax.set_xlabel("epoch", fontsize=11)
    ax.tick_params(labelsize=10)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=11, integer=True, min_n_ticks=1))
    ax.grid(color="#dddddd", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _draw_curves(ax: Axes, curves: pd.DataFrame, labels: Sequence[str]) -> None:
    """Draw the mean of every label, and the band of its test curve."""
    look = styles(labels)
    for (label, name), curve in curves.groupby(["label", "set"], sort=False):
        test, style = name == "test", look[label]
        line: dict[str, Any] = {"color": style.colour, "linestyle": "-" if test else (0, (4, 2))}
        if len(curve) == 1 or test:
            every = max(1, len(curve) // 8)
            offset = labels.index(label) * every // max(1, len(labels)) if len(curve) > 1 else 0
            line |= {"marker": style.marker, "markersize": 5, "markevery": (offset, every)}
            line |= {} if test else {"markerfacecolor": "white"}
        ax.plot(curve["epoch"], curve["mean"], linewidth=2 if test else 1.4, zorder=4 if test else 3, **line)
        if test and curve["seeds"].max() > 1:
            ax.fill_between(curve["epoch"], curve["low"], curve["high"], color=style.colour, alpha=0.18, linewidth=0)
    last = int(curves["epoch"].max()) if len(curves) else 1
    first = int(curves["epoch"].min()) if len(curves) else 1
    pad = 0.5 if last == first else max(0.02 * (last - first), 0.1)
    ax.set_xlim(first - pad, last + pad)
    if not len(curves):
        ax.text(0.5, 0.5, "no finite value", transform=ax.transAxes, ha="center", fontsize=12, color="#555555")
        ax.set_yticks([])


def _set_log(ax: Axes, values: pd.Series) -> None:
    """Make the vertical axis logarithmic, with ticks at 1, 2 and 5 if it spans few decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.set_yscale("log")
    decades = np.log10(values.max() / values.min())
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 3 else (1,), numticks=12))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())


def _finish(ax: Axes, names: Mapping[str, str], path: str | os.PathLike[str] | None) -> Figure:
    """Add the legend below the axes, where it covers no data, and write the picture."""
    from matplotlib.lines import Line2D

    look = styles(names)
    handles = [Line2D([], [], color=look[k].colour, marker=look[k].marker, markersize=7, linewidth=2) for k in names]
    legend = ax.legend(
        handles,
        list(names.values()),
        loc="upper center",
        bbox_to_anchor=(0.5, -0.13),
        ncols=_columns(names),
        fontsize=10,
        frameon=False,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    figure = ax.figure.figure
    if path is not None:
        save_figure(figure, path, few_colours=True)
    return figure
