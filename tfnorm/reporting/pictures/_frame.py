"""What all plots share: size, heading, grid, legend and the file."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from tfnorm.files import DOTS_PER_INCH, check_picture_path, save_figure
from tfnorm.reporting.palette import styles
from tfnorm.text import counted

PathLike = str | os.PathLike[str]

NOTE_COLOUR = "#555555"
NOTE: dict[str, Any] = {"textcoords": "offset points", "fontsize": 10, "color": NOTE_COLOUR, "parse_math": False}
TITLE_COLUMNS, NOTE_COLUMNS = 75, 100
LONGEST_NAME = 28


def new_figure(path: PathLike | None, height: float, width: float = 8.0, layout: str = "constrained") -> Figure:
    """Return a figure of a size in inches, or raise a DataError if the file type of ``path`` is unknown."""
    if path is not None:
        check_picture_path(path)
    return Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor="white", layout=layout)


def open_axes(ax: Axes | None, path: PathLike | None, height: float = 4.5, layout: str = "constrained") -> Axes:
    """Return the axes, by default of a `new_figure`, which checks the path in any case."""
    figure = new_figure(path, height, layout=layout)
    return figure.add_subplot() if ax is None else ax


def set_heading(ax: Axes, title: str, note: str = "") -> None:
    """Write a title over the axes, and a note between the two."""
    title, note = textwrap.fill(title, TITLE_COLUMNS), textwrap.fill(note, NOTE_COLUMNS)
    lines = 1 + note.count("\n") if note else 0
    ax.set_title(title, loc="left", fontsize=13, weight="bold", pad=8 + 16 * lines, parse_math=False)
    remark = ax.annotate(note, (0, 1), (0, 7), xycoords="axes fraction", **NOTE)
    remark.set_in_layout(False)  # the title's pad makes room for it


def set_figure_heading(figure: Figure, title: str, note: str) -> None:
    """Write a title over all axes of a figure, and a note below it."""
    title, note = textwrap.fill(title, TITLE_COLUMNS), textwrap.fill(note, NOTE_COLUMNS)
    room = "\n" * (1 + note.count("\n"))
    text = figure.suptitle(title + room, x=0.01, ha="left", fontsize=13, weight="bold", parse_math=False)
    text.set_linespacing(1.25)
    below = -5 - 17 * (1 + title.count("\n"))
    remark = figure.axes[0].annotate(note, (0.01, 1), (0, below), xycoords="figure fraction", va="top", **NOTE)
    remark.set_in_layout(False)  # the empty lines below the title make room for it


def set_frame(ax: Axes, grid: str = "both", size: float = 10) -> None:
    """Draw grid lines behind the data, across the axis ``grid``, and no frame above and to the right."""
    ax.tick_params(labelsize=size)
    ax.grid(axis=grid, color="#dddddd", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def set_whole_numbers(ax: Axes) -> None:
    """Give the horizontal axis ticks at whole numbers, as those of epochs are."""
    ax.xaxis.set_major_locator(MaxNLocator(nbins=11, integer=True, min_n_ticks=1))


def write_in_the_middle(ax: Axes, text: str) -> None:
    """Say in empty axes why they are."""
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", fontsize=12, color=NOTE_COLOUR)
    ax.set_yticks([])


def legend_columns(names: Sequence[str]) -> int:
    """Return how many columns of the legend fit below a plot 8 inches wide."""
    return max(1, min(len(names), 105 // (max(map(len, names)) + 9)))


def height_with_legend(names: Mapping[str, str]) -> float:
    """Return the height in inches of a figure whose legend has these names."""
    rows = -(-len(names) // legend_columns(list(names.values())))
    return 4.5 + 0.24 * max(0, rows - 2)


def draw_legend(ax: Axes, handles: Sequence[Any], names: Sequence[str], *, columns: int, below: float = 0.13) -> None:
    """Write a legend below the axes, where it covers no data."""
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, -below), "ncols": columns}
    set_plain_text(ax.legend(handles, names, fontsize=10, frameon=False, **place))


def set_plain_text(legend: Legend) -> None:
    """Have a legend write names as they are, dollar signs too."""
    for text in legend.get_texts():
        text.set_parse_math(False)


def draw_legend_of(ax: Axes, names: Mapping[str, str]) -> None:
    """Write a legend of labels, each with its colour and marker; ``names`` says how each is called there."""
    look = styles(names)
    handles = [Line2D([], [], color=look[k].colour, marker=look[k].marker, markersize=7, linewidth=2) for k in names]
    called = list(names.values())
    draw_legend(ax, handles, called, columns=legend_columns(called))


def finish(ax: Axes, path: PathLike | None, *, few_colours: bool = True) -> Figure:
    """Write the picture if it is asked for, and return its figure."""
    figure = ax.figure.figure
    if path is not None:
        save_figure(figure, path, few_colours=few_colours)
    return figure


def shortened(name: str, longest: int = LONGEST_NAME) -> str:
    """Return a name with an ellipsis in place of what is too long.

    Example:
        >>> shortened("short"), shortened("a name that has no end", 10)
        ('short', 'a name th…')
    """
    return name if len(name) <= longest else name[: longest - 1].rstrip() + "…"


def format_mean(number: float) -> str:
    """Return a mean over seeds as it is written in a picture: whole numbers without digits.

    Example:
        >>> format_mean(3.0), format_mean(3.25), format_mean(12.5)
        ('3', '3.2', '12.5')
    """
    return f"{number:,.0f}" if abs(number - round(number)) < 1e-9 else f"{number:,.1f}"


def format_seeds(counts: Sequence[int]) -> str:
    """Return over how many seeds a mean is, in words.

    Example:
        >>> format_seeds([3, 3]), format_seeds([2, 3]), format_seeds([1])
        ('mean of 3 seeds', 'mean of 2 to 3 seeds', 'one seed')
    """
    if max(counts) <= 1:
        return "one seed" if max(counts) else "no seed"
    return f"mean of {counted(counts, 'seed')}"
