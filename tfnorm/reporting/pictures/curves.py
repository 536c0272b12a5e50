"""Loss, accuracy and their gap over training: ``x_data`` says what is drawn, ``plot_x`` draws it.

Histories are a mapping from label to one table a seed, as ``HistoryRecorder.to_frame`` returns: index epoch, counted
from 0, columns ``data_loss``, ``val_data_loss``, ``accuracy``, ``val_accuracy``. Test curves are those of the
validation data. ``x_data`` takes them and fails as ``plot_x`` does. Another ``metric`` than accuracy has its own
columns, and its own unit in place of percent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from tfnorm.errors import RunError
from tfnorm.files import in_plain_style
from tfnorm.metrics.metric import ACCURACY, Metric
from tfnorm.reporting.palette import styles
from tfnorm.reporting.pictures import _frame as frame

Histories = Mapping[str, Sequence[pd.DataFrame]]

DECADES_FOR_LOG = 1.5
# The share of the epochs, each curve's worst or the first ones of the gap, that may lie beyond the axis if that doubles
# the scale.
HIDDEN_SHARE = 1 / 3
# Training and test loss without penalty.
LOSSES = ("data_loss", "val_data_loss")
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
        best: Index label, columns ``epoch`` (from 1) and ``accuracy`` (percent): the best mean test accuracy, the
            earliest if several, among the epochs that most seeds reached. Chosen on the test set, it is optimistic.
        limits: Lower and upper end of the accuracy axis in percent.
    """

    curves: pd.DataFrame
    seeds: dict[str, int]
    diverged: dict[str, int]
    best: pd.DataFrame
    limits: tuple[float, float]


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


def histories_with(histories: Histories, *columns: str) -> dict[str, list[pd.DataFrame]]:
    """Return the tables that have some columns, by label; a label without any is left out."""
    found = {label: [table for table in tables if set(columns) <= set(table)] for label, tables in histories.items()}
    return {label: tables for label, tables in found.items() if tables}


def loss_data(histories: Histories, losses: tuple[str, str] = LOSSES) -> LossData:
    """Return the losses of every model, over its seeds: training and test, by default without penalty."""
    frames = _checked(histories, *losses[:1] * (losses == LOSSES))
    curves = _curves(frames, dict(zip(("train", "test"), losses, strict=True)))
    means = curves["mean"].to_numpy()
    log = len(means) > 0 and bool(means.min() > 0) and bool(np.log10(means.max() / means.min()) > DECADES_FOR_LOG)
    return LossData(curves, *_count_seeds(frames), log)


def accuracy_data(histories: Histories, metric: Metric = ACCURACY) -> AccuracyData:
    """Return the accuracies of every model, or the values of another metric, over its seeds, in the unit of tables."""
    frames = _checked(histories)
    if not metric.is_accuracy:
        _checked(frames, metric.key)
    elif not all({metric.training, metric.key} & set(table) for tables in frames.values() for table in tables):
        _checked(frames, metric.training)
    sets = {"train": metric.training, "test": metric.key}
    curves = _curves(frames, {name: column for name, column in sets.items() if column})
    curves[["mean", "low", "high"]] *= metric.scale
    best = {}
    for label, curve in curves[curves["set"] == "test"].groupby("label", sort=False):
        complete = curve[curve["seeds"] == curve["seeds"].max()]
        row = complete.loc[(metric.sign * complete["mean"]).idxmax()]
        best[label] = (int(row["epoch"]), float(row["mean"]))
    table = pd.DataFrame.from_dict(best, orient="index", columns=["epoch", "accuracy"]).rename_axis("label")
    return AccuracyData(curves, *_count_seeds(frames), table, _accuracy_limits(curves, metric))


def gap_data(histories: Histories, metric: Metric = ACCURACY) -> GapData:
    """Return the training minus the test accuracy of every model, over its seeds, in points.

    The training accuracy is that of the epoch while it runs: on augmented images, with dropout, by weights that still
    move. The gap may be negative for that.
    """
    frames = _checked(histories, metric.training, metric.key)
    gaps = {
        (label, "gap"): [metric.scale * (table[metric.training] - table[metric.key]).astype(float) for table in tables]
        for label, tables in frames.items()
    }
    last = {}
    for label, tables in frames.items():
        ended = zip(gaps[label, "gap"], tables, strict=True)
        ends = pd.Series([gap.iloc[-1] for gap, table in ended if len(gap) and not _diverged(table)], dtype=float)
        last[label] = (ends.mean(), ends.std())
    table = pd.DataFrame.from_dict(last, orient="index", columns=["mean", "std"]).rename_axis("label")
    curves = _over_seeds(gaps).drop(columns="set")
    return GapData(curves, table, *_count_seeds(frames), _gap_limits(curves, metric))


def _checked(histories: Histories, *columns: str) -> dict[str, list[pd.DataFrame]]:
    """Return the tables by label, sorted by epoch and each epoch once, if there are any and they have the columns."""
    if not histories:
        raise RunError("There is no history to draw. Pass at least one label with one table.")
    result = {}
    for label, tables in histories.items():
        tables = [tables] if isinstance(tables, pd.DataFrame) else list(tables)
        if not tables:
            raise RunError(f"There is no history of {label!r}. Pass at least one table for each label.")
        for number, table in enumerate(tables, start=1):
            for column in columns:
                if column not in table.columns:
                    raise RunError(
                        f"History {number} of {label!r} has no column {column!r}. "
                        f"Received: {', '.join(map(str, table.columns)) or 'no column'}."
                    )
        result[label] = [table[~table.index.duplicated(keep="last")].sort_index() for table in tables]
    return result


def _curves(frames: Histories, columns: Mapping[str, str]) -> pd.DataFrame:
    """Return the curves of some columns, by the name of their set."""
    series = {
        (label, name): [table[column].astype(float) for table in tables if column in table.columns]
        for label, tables in frames.items()
        for name, column in columns.items()
    }
    return _over_seeds({key: seeds for key, seeds in series.items() if seeds})


def _over_seeds(series: Mapping[tuple[str, str], Sequence[pd.Series]]) -> pd.DataFrame:
    """Return mean, low and high over the seeds that have a number, for each epoch (from 1) with any.

    ``series`` has for each label and set one series a seed, by epoch from 0.
    """
    parts = []
    for (label, name), seeds in series.items():
        values = pd.concat(seeds, axis=1).sort_index().replace([np.inf, -np.inf], np.nan).dropna(how="all")
        columns = {
            "label": label,
            "set": name,
            "epoch": values.index.to_numpy(dtype=int) + 1,
            "mean": values.mean(axis=1).to_numpy(),
            "low": values.min(axis=1).to_numpy(),
            "high": values.max(axis=1).to_numpy(),
            "seeds": values.count(axis=1).to_numpy(dtype=int),
        }
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def _diverged(table: pd.DataFrame) -> bool:
    """Return whether the training loss of one seed is not finite in some epoch."""
    return "data_loss" in table.columns and not np.isfinite(table["data_loss"].astype(float)).all()


def _count_seeds(frames: Histories) -> tuple[dict[str, int], dict[str, int]]:
    """Return how many seeds each label has, and how many of them diverged."""
    return (
        {label: len(tables) for label, tables in frames.items()},
        {label: sum(map(_diverged, tables)) for label, tables in frames.items()},
    )


def _accuracy_limits(curves: pd.DataFrame, metric: Metric) -> tuple[float, float]:
    """Return an axis that shows every model, but for a minority that learnt nothing if the others need an eighth."""
    if not len(curves):
        return 0.0, metric.scale
    if metric.sign < 0:  # the same, upside down
        mirrored = curves.assign(mean=-curves["mean"], low=-curves["high"], high=-curves["low"])
        low, high = _accuracy_limits(mirrored, replace(metric, direction="max"))
        return -high, -low
    low, high = shown = _limits_of_all(curves, metric)
    ranked = curves.groupby("label", sort=False)["mean"].max().sort_values(ascending=False, kind="stable")
    for count in range(len(ranked) - 1, len(ranked) // 2, -1):
        left = _limits_of_all(curves[curves["label"].isin(ranked.index[:count])], metric)
        if (high - low) > COLLAPSED_SCALE * (left[1] - left[0]) and (ranked.iloc[count:] < left[0]).all():
            return left
    return shown


def _limits_of_all(curves: pd.DataFrame, metric: Metric) -> tuple[float, float]:
    """Return an axis that shows everything, or if that halves it, all but the worst third of every curve's epochs."""
    lows = curves.groupby(["label", "set"])["low"].quantile(HIDDEN_SHARE, interpolation="lower")
    low, high = float(lows.min()), float(curves["high"].max())
    if high - curves["low"].min() < 2 * (high - low):
        low = float(curves["low"].min())
    if not metric.percent:
        margin = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
        return low - margin, high + margin
    margin = max(0.06 * (high - low), 0.25)
    return max(low - margin, 0.0 if low > 0 else -2.0), min(high + margin, 100 + margin / 2)


def _gap_limits(curves: pd.DataFrame, metric: Metric) -> tuple[float, float]:
    """Return an axis that shows everything, or if that halves it, all but the first third of the epochs."""
    if not len(curves):
        return -1.0, 1.0
    later = curves[curves["epoch"] > curves["epoch"].max() * HIDDEN_SHARE]
    low, high = min(float(later["low"].min()), 0.0), max(float(later["high"].max()), 0.0)
    whole = min(float(curves["low"].min()), 0.0), max(float(curves["high"].max()), 0.0)
    if whole[1] - whole[0] < 2 * (high - low):
        low, high = whole
    margin = max(0.08 * (high - low), 0.1) if metric.percent else 0.08 * (high - low) or 1.0
    return low - margin, high + margin


@in_plain_style
def plot_loss(
    histories: Histories,
    *,
    title: str | None = None,
    images: str = "test",
    losses: tuple[str, str] = LOSSES,
    ax: Axes | None = None,
    path: frame.PathLike | None = None,
) -> Figure:
    """Draw training (dashed) and test loss (solid) without penalty of all models together.

    The axis is logarithmic if the mean losses span more than 1.5 decades.

    Args:
        histories: One table a seed for every label.
        title: The title of the plot. By default it says what is drawn.
        images: The word for the images that were evaluated on. Defaults to "test".
        losses: The columns of training and test loss. Defaults to those without penalty.
        ax: The axes to draw in. By default those of a new figure of 8 by 4.5 inches or more.
        path: The file to write the picture to (.png, .svg or .pdf). By default none is written.

    Raises:
        RunError: If there is no history, or one has no column ``data_loss``.
        DataError: If the file type is unknown.
    """
    data = loss_data(histories, losses)
    names, names_of_curves = _names(data, {}), ("training", images) if losses == LOSSES else losses
    ax = frame.open_axes(ax, path, frame.height_with_legend(names))
    frame.set_heading(ax, title or f"Loss on training and {images} images", _explain(data, names_of_curves))
    _draw_curves(ax, data.curves, list(data.seeds))
    ax.set_ylabel("cross-entropy loss\nwithout penalty (nats)" if losses == LOSSES else "loss", fontsize=11)
    if data.log:
        decades = np.log10(data.curves["mean"].max() / data.curves["mean"].min())
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 3 else (1,), numticks=12))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
    frame.draw_legend_of(ax, names)
    return frame.finish(ax, path)


@in_plain_style
def plot_accuracy(
    histories: Histories,
    *,
    title: str | None = None,
    images: str = "test",
    metric: Metric = ACCURACY,
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
        metric: What to draw. Defaults to the accuracy.
        ax: The axes to draw in. By default those of a new figure of 8 by 4.5 inches or more.
        path: The file to write the picture to (.png, .svg or .pdf). By default none is written.

    Raises:
        RunError: If there is no history, or one has neither a column ``accuracy`` nor ``val_accuracy``.
        DataError: If the file type is unknown.
    """
    data = accuracy_data(histories, metric)
    low, high = data.limits
    worst = high if metric.sign < 0 else low
    best = {}
    for label, epoch, value in data.best.itertuples():
        below = f", {metric.below} the axis" if metric.sign * value < metric.sign * worst else ""
        best[label] = f"best {metric.text(value)} at epoch {epoch}{below}"
    names, note = _names(data, best), _explain(data, metric.curves(images))
    if len(data.curves) and (metric.sign * data.curves["mean"] < metric.sign * worst).any():
        digits = metric.decimals if not metric.percent else 0 if high - low > 5 else 1
        note += f"; {metric.below} {worst:.{digits}f}{metric.unit} cut off"
    ax = frame.open_axes(ax, path, frame.height_with_legend(names))
    frame.set_heading(ax, title or f"{metric.name[0].upper()}{metric.name[1:]} on training and {images} images", note)
    _draw_curves(ax, data.curves, list(data.seeds))
    look = styles(data.seeds)
    for label, epoch, value in data.best[data.best["accuracy"].between(low, high)].itertuples():
        ax.plot(
            [epoch], [value], look[label].marker, color=look[label].colour, markersize=11, markeredgecolor="black",
            markeredgewidth=1.2, zorder=5, clip_on=False,
        )  # fmt: skip
    ax.set_ylabel(metric.axis(metric.name), fontsize=11, parse_math=False)
    ax.set_ylim(low, high)
    frame.draw_legend_of(ax, names)
    return frame.finish(ax, path)


@in_plain_style
def plot_gap(
    histories: Histories,
    *,
    title: str | None = None,
    images: str = "test",
    metric: Metric = ACCURACY,
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
        metric: What to draw the gap of. Defaults to the accuracy.
        ax: The axes to draw in. By default those of a new figure of 8 by 4.5 inches or more.
        path: The file to write the picture to (.png, .svg or .pdf). By default none is written.

    Raises:
        RunError: If there is no history, or one lacks ``accuracy`` or ``val_accuracy``.
        DataError: If the file type is unknown.
    """
    data = gap_data(histories, metric)
    last = {}
    for label, mean, std in data.last.dropna(subset="mean").itertuples():
        last[label] = f"last {metric.signed(mean)}" + ("" if pd.isna(std) else f" ± {metric.number(std)}")
    names = _names(data, last)
    low, high = data.limits
    parts = [frame.format_seeds(list(data.seeds.values()))]
    if max(data.seeds.values()) > 1:
        parts.append("bands: min to max")
    if len(data.curves) and ((data.curves["mean"] < low) | (data.curves["mean"] > high)).any():
        parts.append("first epochs cut off")
    ax = frame.open_axes(ax, path, frame.height_with_legend(names))
    frame.set_heading(ax, title or "Generalization gap", "; ".join(parts))
    _draw_curves(ax, data.curves.assign(set="test"), list(data.seeds), staggered=False)
    ax.axhline(0, color="#333333", linewidth=1, zorder=2)
    ax.set_ylim(low, high)
    unit = "\n(percentage points)" if metric.percent else ""
    ax.set_ylabel(f"{metric.gap(images)}{unit}", fontsize=11, parse_math=False)
    frame.draw_legend_of(ax, names)
    return frame.finish(ax, path)


def _names(data: LossData | AccuracyData | GapData, said: Mapping[str, str]) -> dict[str, str]:
    """Return what the legend calls each label, with what is ``said`` of some, and how many of its seeds diverged."""
    names = {}
    for label, seeds in data.seeds.items():
        lost = data.diverged[label]
        remark = " (diverged)" if lost == seeds else f" ({lost} of {seeds} seeds diverged)"
        names[label] = label + (f" — {said[label]}" if label in said else "") + (remark if lost else "")
    return names


def _explain(data: LossData | AccuracyData, called: tuple[str, str]) -> str:
    """Return the line under the title: what the lines and bands are, given what training and test are called."""
    training, images = called
    sets = set(data.curves["set"])
    test, train = ("filled", "hollow") if data.curves["epoch"].nunique() == 1 else ("solid", "dashed")
    parts = [text for name, text in (("test", f"{test}: {images}"), ("train", f"{train}: {training}")) if name in sets]
    if max(data.seeds.values()) > 1:
        parts.append(frame.format_seeds(list(data.seeds.values())))
        if "test" in sets:
            parts.append(f"bands: {images}, min to max")
    return "; ".join(parts)


def _draw_curves(ax: Axes, curves: pd.DataFrame, labels: Sequence[str], *, staggered: bool = True) -> None:
    """Draw the mean of every label, and the band of its test curve. ``staggered`` markers do not cover each other."""
    look = styles(labels)
    for (label, name), curve in curves.groupby(["label", "set"], sort=False):
        test, style = name == "test", look[label]
        line: dict[str, Any] = {"color": style.colour, "linestyle": "-" if test else (0, (4, 2))}
        if len(curve) == 1 or test:
            every = max(1, len(curve) // 8)
            offset = labels.index(label) * every // len(labels) if staggered and len(curve) > 1 else 0
            line |= {"marker": style.marker, "markersize": 5, "markevery": (offset, every)}
            line |= {} if test else {"markerfacecolor": "white"}
        ax.plot(curve["epoch"], curve["mean"], linewidth=2 if test else 1.4, zorder=4 if test else 3, **line)
        if test and curve["seeds"].max() > 1:
            ax.fill_between(curve["epoch"], curve["low"], curve["high"], color=style.colour, alpha=0.18, linewidth=0)
    frame.set_frame(ax)
    first, last = (int(curves["epoch"].min()), int(curves["epoch"].max())) if len(curves) else (1, 1)
    pad = 0.5 if last == first else max(0.02 * (last - first), 0.1)
    ax.set_xlim(first - pad, last + pad)
    ax.set_xlabel("epoch", fontsize=11)
    frame.set_whole_numbers(ax)
    if not len(curves):
        frame.write_in_the_middle(ax, "no finite value")
