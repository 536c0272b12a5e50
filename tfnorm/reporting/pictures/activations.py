"""Activations before and after norms over training: ``activations_data`` gives what ``plot_activations`` draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure

from tfnorm.errors import RunError, unknown
from tfnorm.files import in_plain_style
from tfnorm.reporting.pictures import _frame

Records = Sequence[Mapping[str, Any]] | pd.DataFrame

MEASURES = {"mean": "mean", "std": "standard deviation", "dead": "dead channels (%)"}
SIDES = {"before": "before the norm", "after": "after the norm"}
MOST_NAMES = 8
RATIO_FOR_LOG = 30.0


@dataclass(frozen=True, eq=False)
class ActivationsData:
    """What `plot_activations` draws.

    Attributes:
        curves: One row for each layer, number of epochs trained, side ("before" or "after") and measure ("mean",
            "std" or "dead", in percent): ``layer``, ``epochs``, ``side``, ``measure``, ``value``.
        layers: The layers, from the first to the last.
        log: Whether the axis of the standard deviations is logarithmic.
    """

    curves: pd.DataFrame
    layers: tuple[str, ...]
    log: bool


def activations_data(records: Records, layers: Sequence[str] | None = None) -> ActivationsData:
    """Return the curves of activation statistics over training, given the arguments of `plot_activations`."""
    frame = records if isinstance(records, pd.DataFrame) else pd.DataFrame(list(records))
    if not len(frame):
        raise RunError("There are no activation statistics to draw. Pass the callback to model.fit first.")
    found = list(frame["layer"].unique())
    for layer in layers or ():
        if layer not in found:
            raise RunError(unknown("layer", layer, found))
    chosen = found if layers is None else [layer for layer in found if layer in layers]
    frame = frame[frame["layer"].isin(chosen)]
    curves = pd.concat(
        frame[["layer", "epochs"]].assign(side=side, measure=measure, value=frame[f"{side}_{measure}"])
        for side in SIDES
        for measure in MEASURES
    )
    curves["value"] = curves["value"].astype(float) * np.where(curves["measure"] == "dead", 100.0, 1.0)
    curves = curves.dropna(subset="value").reset_index(drop=True)
    if not len(curves):
        raise RunError("There is nothing to draw: no layer is chosen, or no statistic of one is a finite number.")
    spread = curves.loc[curves["measure"] == "std", "value"]
    log = bool(len(spread) and spread.min() > 0 and spread.max() / spread.min() > RATIO_FOR_LOG)
    return ActivationsData(curves, tuple(chosen), log)


@in_plain_style
def plot_activations(
    records: Records,
    layers: Sequence[str] | None = None,
    *,
    title: str | None = None,
    path: _frame.PathLike | None = None,
) -> Figure:
    """Draw mean, standard deviation and dead channels before (left) and after (right) each norm, over training.

    Both sides have one scale, so that the picture shows what the norms hold steady. Colours go from the first layer,
    dark, to the last, bright; of more than 8 the legend names some.

    Args:
        records: The ``records`` or ``to_frame()`` of a `tfnorm.callbacks.ActivationStatistics`.
        layers: The names of the layers to draw. By default all are drawn.
        title: The title of the picture. By default it says what is drawn.
        path: The file to write the picture to (.png, .svg or .pdf). By default none is written.

    Raises:
        RunError: If there is nothing to draw, or no such layer.
        DataError: If the file type is unknown.
    """
    data = activations_data(records, layers)
    measures = [measure for measure in MEASURES if (data.curves["measure"] == measure).any()]
    names = data.layers
    listed = np.unique(np.linspace(0, len(names) - 1, min(len(names), MOST_NAMES)).round().astype(int))
    rows = -(-len(listed) // 4)
    figure = _frame.new_figure(path, 0.9 + 2.3 * len(measures) + 0.25 * rows, width=10)
    grid = figure.subplots(len(measures), len(SIDES), sharex=True, sharey="row", squeeze=False)
    colours = dict(zip(names, colormaps["viridis"](np.linspace(0.0, 0.9, len(names))), strict=True))
    handles = {}
    for (side, measure), axes in zip(((s, m) for m in measures for s in SIDES), grid.flat, strict=True):
        curves = data.curves[(data.curves["side"] == side) & (data.curves["measure"] == measure)]
        for layer, curve in curves.groupby("layer", sort=False):
            (handles[layer],) = axes.plot(
                curve["epochs"], curve["value"], "-o", color=colours[layer], linewidth=1.8, markersize=3.5
            )
        if not len(curves):
            axes.text(0.5, 0.5, "no ReLU follows", transform=axes.transAxes, ha="center", color="#555555", fontsize=10)
        if measure == "std" and data.log:
            axes.set_yscale("log")
        if measure == "dead":
            top = max(5.0, 1.1 * data.curves.loc[data.curves["measure"] == "dead", "value"].max())
            axes.set_ylim(-0.04 * top, top)
        _frame.set_frame(axes, size=9)
        _frame.set_whole_numbers(axes)
        if measure == measures[0]:
            axes.set_title(SIDES[side], loc="left", fontsize=11, weight="bold")
        if measure == measures[-1]:
            axes.set_xlabel("epochs trained", fontsize=11)
        if side == "before":
            axes.set_ylabel(MEASURES[measure], fontsize=11)
    figure.align_ylabels(grid[:, 0])
    title = title or "Activations before and after each norm"
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, weight="bold", parse_math=False)
    shown = [names[number] for number in listed if names[number] in handles]
    legend = figure.legend(
        [handles[name] for name in shown], shown, loc="outside lower center", ncols=4, fontsize=9, frameon=False
    )
    _frame.set_plain_text(legend)
    return _frame.finish(grid[0, 0], path)
