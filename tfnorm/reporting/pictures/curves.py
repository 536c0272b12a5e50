"""Loss and accuracy over training: ``x_data`` says what is drawn, ``plot_x`` draws it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from tfnorm.files import in_plain_style
from tfnorm.reporting.palette import styles
from tfnorm.reporting.pictures import _frame as frame
from tfnorm.reporting.pictures._histories import Histories, checked, count_seeds, over_seeds

DECADES_FOR_LOG = 1.5
# The share of each curve's epochs, its worst, that may lie below the accuracy axis if that doubles the scale.
HIDDEN_SHARE = 1 / 3
# How many times larger the scale must become where whole curves of networks that learnt nothing lie below the axis.
COLLAPSED_SCALE = 8


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
    frames = checked(histories, "data_loss")
    curves = _curves(frames, {"train": "data_loss", "test": "val_data_loss"})
    means = curves["mean"].to_numpy()
    log = len(means) > 0 and bool(means.min() > 0) and bool(np.log10(means.max() / means.min()) > DECADES_FOR_LOG)
    return LossData(curves, *count_seeds(frames), log)


def accuracy_data(histories: Histories) -> AccuracyData:
    """Return the accuracies of every model, over its seeds, in percent.

    Args:
        histories: One table a seed for every label.

    Raises:
        RunError: If there is no history, or one has no column ``accuracy``.
    """
    frames = checked(histories, "accuracy")
    curves = _curves(frames, {"train": "accuracy", "test": "val_accuracy"})
    curves[["mean", "low", "high"]] *= 100
    best = {}
    for label, curve in curves[curves["set"] == "test"].groupby("label", sort=False):
        complete = curve[curve["seeds"] == curve["seeds"].max()]
        row = complete.loc[complete["mean"].idxmax()]
        best[label] = (int(row["epoch"]), float(row["mean"]))
    table = pd.DataFrame.from_dict(best, orient="index", columns=["epoch", "accuracy"]).rename_axis("label")
    return AccuracyData(curves, *count_seeds(frames), table, _accuracy_limits(curves))


def _curves(frames: Histories, columns: Mapping[str, str]) -> pd.DataFrame:
    """Return mean, low and high over the seeds, in one long table."""
    series = {
        (label, name): [table[column].astype(float) for table in tables if column in table.columns]
        for label, tables in frames.items()
        for name, column in columns.items()
    }
    return over_seeds({key: seeds for key, seeds in series.items() if seeds}, ["label", "set"])


def _accuracy_limits(curves: pd.DataFrame) -> tuple[float, float]:
    """Return an axis that shows every model, but for a minority that learnt nothing if the others need an eighth."""
    if not len(curves):
        return 0.0, 100.0
    low, high = shown = _limits_of_all(curves)
    ranked = curves.groupby("label", sort=False)["mean"].max().sort_values(ascending=False, kind="stable")
    for count in range(len(ranked) - 1, len(ranked) // 2, -1):
        left = _limits_of_all(curves[curves["label"].isin(ranked.index[:count])])
        if (high - low) > COLLAPSED_SCALE * (left[1] - left[0]) and (ranked.iloc[count:] < left[0]).all():
            return left
    return shown


def _limits_of_all(curves: pd.DataFrame) -> tuple[float, float]:
    """Return an axis that shows everything, or if that halves it, all but the worst third of every curve's epochs."""
    lows = curves.groupby(["label", "set"])["low"].quantile(HIDDEN_SHARE, interpolation="lower")
    low, high = float(lows.min()), float(curves["high"].max())
    if high - curves["low"].min() < 2 * (high - low):
        low = float(curves["low"].min())
    margin = max(0.06 * (high - low), 0.25)
    return max(low - margin, 0.0 if low > 0 else -2.0), min(high + margin, 100 + margin / 2)


@in_plain_style
def plot_loss(
    histories: Histories,
    *,
    title: str | None = None,
    images: str = "test",
    ax: Axes | None = None,
    path: frame.PathLike | None = None,
) -> Figure:
    """Draw training (dashed) and test loss (solid) without penalty of all models together.

    The axis is logarithmic if the mean losses span more than 1.5 decades.

    Args:
        histories: One table a seed for every label.
        title: The title of the plot. By default it says what is drawn.
        images: The word for the images that were evaluated on. Defaults to "test".
        ax: The axes to draw in. By default those of a new figure of 8 by 4.5 inches or more.
        path: The file to write the picture to (.png, .svg or .pdf). By default none is written.

    Returns:
        The figure.

    Raises:
        RunError: If there is no history, or one lacks its columns.
        DataError: If the file type is unknown.
    """
    data = loss_data(histories)
    names = {label: label + frame.divergence_note(data.seeds[label], data.diverged[label]) for label in data.seeds}
    ax = frame.open_axes(ax, path, frame.height_with_legend(names))
    frame.set_heading(ax, title or f"Loss on training and {images} images", _explain(data, images))
    _draw_curves(ax, data.curves, list(data.seeds))
    ax.set_ylabel("cross-entropy loss\nwithout penalty (nats)", fontsize=11)
    if data.log:
        _set_log(ax, data.curves["mean"])
    frame.draw_legend_of(ax, names)
    return frame.finish(ax, path)


@in_plain_style
def plot_accuracy(
    histories: Histories,
    *,
    title: str | None = None,
    images: str = "test",
    ax: Axes | None = None,
    path: frame.PathLike | None = None,
) -> Figure:
    """Draw training (dashed) and test accuracy (solid) of all models together, and mark each one's best epoch.

    The worst third of a curve's epochs, as a rule the first, may lie below the axis if that at least doubles the scale;
    the line under the title then says so. So may, of three models or more, the whole curves of a minority that learnt
    nothing, if that makes the scale eight times larger: their best accuracy stands in the legend.

    Args:
        histories: One table a seed for every label.
        title: The title of the plot. By default it says what is drawn.
        images: The word for the images that were evaluated on. Defaults to "test".
        ax: The axes to draw in. By default those of a new figure of 8 by 4.5 inches or more.
        path: The file to write the picture to (.png, .svg or .pdf). By default none is written.

    Returns:
        The figure.

    Raises:
        RunError: If there is no history, or one lacks its columns.
        DataError: If the file type is unknown.
    """
    data = accuracy_data(histories)
    low, high = data.limits
    names = {label: label for label in data.seeds}
    for label, epoch, accuracy in data.best.itertuples():
        below = ", below the axis" if accuracy < low else ""
        names[label] += f" — best {accuracy:.2f} % at epoch {epoch}{below}"
    for label, seeds in data.seeds.items():
        names[label] += frame.divergence_note(seeds, data.diverged[label])
    note = _explain(data, images)
    if len(data.curves) and (data.curves["mean"] < low).any():
        note += f"; below {low:.0f} % cut off" if high - low > 5 else f"; below {low:.1f} % cut off"
    ax = frame.open_axes(ax, path, frame.height_with_legend(names))
    frame.set_heading(ax, title or f"Accuracy on training and {images} images", note)
    _draw_curves(ax, data.curves, list(data.seeds))
    look = styles(data.seeds)
    for label, epoch, accuracy in data.best[data.best["accuracy"] >= low].itertuples():
        ax.plot(
            [epoch], [accuracy], look[label].marker, color=look[label].colour, markersize=11, markeredgecolor="black",
            markeredgewidth=1.2, zorder=5, clip_on=False,
        )  # fmt: skip
    ax.set_ylabel("accuracy (%)", fontsize=11)
    ax.set_ylim(low, high)
    frame.draw_legend_of(ax, names)
    return frame.finish(ax, path)


def _explain(data: LossData | AccuracyData, images: str) -> str:
    """Return the line under the title: what the lines and bands are."""
    sets = set(data.curves["set"])
    test, train = ("filled", "hollow") if data.curves["epoch"].nunique() == 1 else ("solid", "dashed")
    parts = [text for name, text in (("test", f"{test}: {images}"), ("train", f"{train}: training")) if name in sets]
    if max(data.seeds.values()) > 1:
        parts.append(frame.format_seeds(list(data.seeds.values())))
        if "test" in sets:
            parts.append(f"bands: {images}, min to max")
    return "; ".join(parts)


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
    frame.set_frame(ax)
    frame.set_epochs(ax, curves)


def _set_log(ax: Axes, values: pd.Series) -> None:
    """Make the vertical axis logarithmic, with ticks at 1, 2 and 5 if it spans few decades."""
    ax.set_yscale("log")
    decades = np.log10(values.max() / values.min())
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 3 else (1,), numticks=12))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
