"""Two axes of a sweep against each other: ``heat_data`` says what is drawn, ``plot_heat`` draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tfnorm.errors import RunError, unknown
from tfnorm.files import in_plain_style
from tfnorm.metrics.metric import ACCURACY, Metric
from tfnorm.reporting.pictures import _frame as frame
from tfnorm.reporting.pictures.axis import NAMES
from tfnorm.spec import FACTORS, format, parse
from tfnorm.text import format_value

WIDE = 8  # columns, of which more need smaller text
FROM_SPEC = ("norm", "groups", *FACTORS)
# Text in a cell without a value, the worst state last.
STATES = {"missing": "no run", "waiting": "waiting", "failed": "failed", "diverged": "diverged"}


@dataclass(frozen=True, eq=False)
class HeatData:
    """What `plot_heat` draws.

    Attributes:
        cells: One row for each pair of values: ``x`` and ``y``; ``value`` of the best combination there, NaN without
            any; ``std`` over its seeds; ``combinations``: from how many it was chosen; ``diverged``: how many of its
            seeds did not end with a number; ``missing``: how many are not finished, and ``seeds`` how many it has with
            those; ``state``: "finished", or why there is no value (a key of `STATES`).
        x: The horizontal axis.
        y: The vertical axis.
        xs: Its values, from left to right: numbers rising, norms in the order of the table.
        ys: Those of the vertical one, from top to bottom.
        value: What is drawn, a key of `values_of`.
        limits: Ends of the colour scale. Values beyond, such as those of a network that learnt nothing, have the colour
            of the nearer end.
    """

    cells: pd.DataFrame
    x: str
    y: str
    xs: list[Any]
    ys: list[Any]
    value: str
    limits: tuple[float, float]


def values_of(metric: Metric = ACCURACY) -> dict[str, tuple[str, bool, int]]:
    """Return what can be drawn, by column: its name, whether more is better, and its digits after the point."""
    points = " (points)" if metric.percent else ""
    return {
        metric.last: (metric.axis(f"{metric.title()}, last epoch"), metric.sign > 0, metric.decimals),
        "test_data_loss": ("test loss without penalty (nats)", False, 4),
        "misclassified": ("misclassified test images", False, 1),
        "gap": (f"{metric.gap()}{points}", False, metric.decimals),
        "seconds": ("seconds a run", False, 1),
    }


def spread(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table of a sweep with each part of the specs in its column ``norm`` in a column of its own.

    ``spec`` is what ``norm`` was, ``norm`` has no penalties, and ``groups`` is None but for ``gn:4`` and the like.

    Example:
        >>> spread(pd.DataFrame({"norm": ["gn:4+l1=1e-4"]})).iloc[0].to_dict()
        {'norm': 'gn:4', 'spec': 'gn:4+l1=1e-4', 'groups': 4, 'l1': 0.0001, 'l2': 0.0, 'l2norm': 0.0}
    """
    specs = [parse(text) for text in table["norm"]]
    return table.assign(
        spec=table["norm"].to_numpy(),
        norm=[format(replace(spec, l1=0.0, l2=0.0, l2norm=0.0)) for spec in specs],
        groups=pd.Series([spec.groups for spec in specs], index=table.index, dtype=object),
        **{factor: [getattr(spec, factor) for spec in specs] for factor in FACTORS},
    )


def heat_data(table: pd.DataFrame, x: str, y: str, value: str | None = None, metric: Metric = ACCURACY) -> HeatData:
    """Return what the best combination at each pair of values of two axes reached, given the arguments of `plot_heat`.

    Where there are further axes, a cell holds several combinations. It shows the best of those of which every seed
    ended with a number, or, without any, of all; more combinations flatter it more.
    """
    value, values = value or metric.last, values_of(metric)
    if value in values and not set(values) & set(table.columns):
        raise RunError("There is nothing to draw: no run has ended yet.")
    if value not in values or value not in table.columns:
        raise RunError(unknown("value", value, [name for name in values if name in table.columns]))
    more, std = values[value][1], f"{metric.last}_std" if value == metric.last else ""
    rows = spread(table)
    for axis in (x, y):
        if axis not in rows.columns:
            raise RunError(unknown("column", axis, dict.fromkeys([*FROM_SPEC, *map(str, table.columns)])))
    if x == y:
        raise RunError(f"A heat map has two axes. Received: {x!r} twice.")
    rows = rows[rows[x].notna() & rows[y].notna()]
    if rows.empty:
        raise RunError(f"There is nothing to draw: no row has a value of both {x!r} and {y!r}.")
    xs, ys = ordered(rows[x].tolist()), ordered(rows[y].tolist())
    seeds = rows.get("seeds", 0)
    planned = rows.get("planned", seeds)
    places = [rows[x], rows[y]]
    rows = rows.assign(diverged=rows.get("diverged", 0), seeds=planned, missing=planned - seeds)
    groups = dict(iter(rows.groupby(places, sort=False)))
    cells = pd.DataFrame(
        [{"x": a, "y": b, **_cell(groups.get((a, b), rows.iloc[:0]), value, std, more)} for b in ys for a in xs]
    )
    return HeatData(cells, x, y, xs, ys, value, _limits(cells["value"].dropna(), more_is_better=more))


def ordered(values: Sequence[Any]) -> list[Any]:
    """Return the distinct values of an axis in its order: numbers rising, others as they come."""
    found = list(dict.fromkeys(values))
    return sorted(found) if all(isinstance(number, int | float) for number in found) else found


def _cell(group: pd.DataFrame, value: str, spread: str, more_is_better: bool) -> dict[str, Any]:
    """Return the row of `HeatData.cells` for the combinations at one pair of values, perhaps none."""
    ended = group[group[value].notna()]
    whole = ended[(ended["diverged"] == 0) & (ended["missing"] == 0)]
    pool = ended if whole.empty else whole  # the seeds that are left of the others are more often the lucky ones
    none = float("nan")
    if pool.empty:
        states = {"failed", "waiting"} & set(group.get("status", []))
        state = "diverged" if (group["diverged"] > 0).any() else min(states, default="missing")
        best, std = {value: none, "diverged": 0, "missing": 0, "seeds": 0}, none
    else:
        state = "finished"
        best = pool.loc[pool[value].idxmax() if more_is_better else pool[value].idxmin()]
        std = best.get(spread, none)
    counts = {key: best[key] for key in ("diverged", "missing", "seeds")}
    return {"value": best[value], "std": std, "combinations": len(pool), **counts, "state": state}


def _limits(values: pd.Series, *, more_is_better: bool) -> tuple[float, float]:
    """Return the ends of the colour scale, which a few very bad values do not stretch."""
    if values.empty:
        return 0.0, 1.0
    first, third = values.quantile(0.25), values.quantile(0.75)
    margin = 3 * (third - first)
    kept = values[values >= first - margin] if more_is_better else values[values <= third + margin]
    return float(kept.min()), float(kept.max())


@in_plain_style
def plot_heat(
    table: pd.DataFrame,
    x: str,
    y: str,
    value: str | None = None,
    *,
    title: str | None = None,
    images: str = "test",
    metric: Metric = ACCURACY,
    ax: Axes | None = None,
    path: frame.PathLike | None = None,
) -> Figure:
    """Draw a heat map of two axes of a sweep, with the number in each cell.

    The scale is cividis, which colour-blind readers see alike; brighter is better. Cells without a value are hatched
    and say why.

    Args:
        table: As of a sweep: norm, the axes, last_accuracy, last_accuracy_std, seeds, diverged. A column ``planned``
            says how many seeds a row is to have, by default those it has. A row with a column ``status`` of "failed" or
            "waiting" stands for a combination without a finished run.
        x: The horizontal axis: a column, or what is read from the specs: "norm" (without penalties), "groups", "l1",
            "l2" or "l2norm".
        y: The vertical axis, as ``x``.
        value: What the cells show, a key of `values_of` and a column of the table. Defaults to the metric.
        title: The title of the plot. By default it says what is drawn.
        images: The word for the images that were evaluated on. Defaults to "test".
        metric: What the runs are about. Defaults to the accuracy.
        ax: The axes to draw in. By default those of a new figure.
        path: The file to write the picture to (.png, .svg or .pdf). By default none is written.

    Raises:
        RunError: If there is nothing to draw, no such column, or one axis twice.
        DataError: If the file type is unknown.
    """
    data = heat_data(table, x, y, value, metric)
    name, more_is_better, digits = values_of(metric)[data.value]
    ax = frame.open_axes(ax, path, max(2.6, 1.7 + 0.55 * len(data.ys)))
    scale = colormaps["cividis" if more_is_better else "cividis_r"]
    low, high = data.limits
    norm = Normalize(low, high if high > low else low + 1, clip=True)
    grid = data.cells["value"].to_numpy(dtype=float).reshape(len(data.ys), len(data.xs))
    ax.set_facecolor("white")
    image = ax.imshow(grid, cmap=scale, norm=norm, aspect="auto")
    for i, cell in enumerate(data.cells.to_dict("records")):
        place = i % len(data.xs), i // len(data.xs)
        _write_cell(ax, cell, place, scale(norm(cell["value"])), digits, size=9 if len(data.xs) <= WIDE else 7)
    ax.set_xticks(range(len(data.xs)), [format_value(v) for v in data.xs], parse_math=False)
    ax.set_yticks(range(len(data.ys)), [format_value(v) for v in data.ys], parse_math=False)
    ax.tick_params(length=0, labelsize=10)
    ax.spines[:].set_visible(False)
    ax.set_xlabel(NAMES.get(x, x), fontsize=11, parse_math=False)
    ax.set_ylabel(NAMES.get(y, y), fontsize=11, parse_math=False)
    name = name.replace("test", images)
    frame.set_heading(ax, title or name[0].upper() + name[1:], _explain(data))
    bar = ax.figure.figure.colorbar(image, ax=ax, extend=_beyond(data))
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=9)
    return frame.finish(ax, path, few_colours=False)


def _write_cell(
    ax: Axes, cell: dict[str, Any], place: tuple[int, int], colour: Sequence[float], digits: int, *, size: int
) -> None:
    """Write the number of a cell, or hatch it and write why there is none."""
    if cell["state"] != "finished":
        box = Rectangle(
            (place[0] - 0.5, place[1] - 0.5), 1, 1, facecolor="#f4f4f4", edgecolor="#cccccc", hatch="////", linewidth=0
        )
        ax.add_patch(box)
        plate = {"facecolor": "#f4f4f4", "edgecolor": "none", "pad": 1.5}
        ax.text(*place, STATES[cell["state"]], ha="center", va="center", fontsize=size - 1, color="#333333", bbox=plate)
        return
    text = f"{cell['value']:.{digits}f}"
    if cell["std"] == cell["std"]:
        text += f"\n± {cell['std']:.{digits}f}"
    text += f"\n{cell['diverged']:.0f} diverged" if cell["diverged"] else ""
    ended = cell["seeds"] - cell["missing"]
    text += f"\n{ended:.0f} of {cell['seeds']:.0f} seeds" if cell["missing"] else ""
    light = 0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2]
    ax.text(*place, text, ha="center", va="center", fontsize=size, color="black" if light > 0.45 else "white")


def _beyond(data: HeatData) -> str:
    """Return at which ends of the colour scale there are values beyond it."""
    values = data.cells["value"]
    below, above = bool((values < data.limits[0]).any()), bool((values > data.limits[1]).any())
    return "both" if below and above else "min" if below else "max" if above else "neither"


def _explain(data: HeatData) -> str:
    """Return the line under the title: what a cell is."""
    most = int(data.cells["combinations"].max())
    parts = [f"each cell: the best of up to {most} combinations" if most > 1 else "one combination a cell"]
    if data.cells["std"].notna().any():
        parts.append("mean ± standard deviation over seeds")
    return "; ".join(parts)
