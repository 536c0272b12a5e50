"""Which images several models get wrong together: ``overlap_data`` says what is drawn, ``plot_overlap`` draws it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfnorm.errors import RunError
from tfnorm.files import in_plain_style
from tfnorm.reporting.palette import Style, styles
from tfnorm.reporting.pictures import _frame as frame
from tfnorm.reporting.pictures._predictions import Logits, predicted_classes
from tfnorm.text import counted

# How many sets are drawn, the largest.
MOST_SETS = 20
# Up to so many bars have room for level numbers.
LEVEL_NUMBERS = 12
SEVERAL, ALL = "#8a8a8a", "#222222"
# Heading, bars, totals and dots in a grid of 3 rows and 2 columns.
PLACES = ((0, slice(None)), (1, 1), (2, 0), (2, 1))


@dataclass(frozen=True, eq=False)
class OverlapData:
    """What `plot_overlap` draws.

    Attributes:
        sets: One row for each set of labels that has an image which exactly its members get wrong, the largest first:
            ``members``, a tuple of labels, and ``images``, the mean over the seeds, each seed's models beside each
            other.
        totals: How many images each label gets wrong, mean over the same seeds.
        seeds: How many seeds the means are over: those with which no label diverged.
        left_out: Labels that diverged with every seed, in no set and without a total.
        diverged: How many further seeds are left out, since some label diverged with them.
    """

    sets: pd.DataFrame
    totals: pd.Series
    seeds: int
    left_out: tuple[str, ...]
    diverged: int


def overlap_data(labels: np.ndarray, logits: Logits) -> OverlapData:
    """Return how many images are wrong under exactly which models.

    An image whose logits are not numbers is wrong; a seed with no number for any image has diverged and is left out.
    The arguments are those of `plot_overlap`.

    Example:
        >>> right, wrong = [[1.0, 0.0]], [[0.0, 1.0]]
        >>> overlap_data([0], {"bn": [wrong, wrong], "ln": [right, wrong]}).sets.to_numpy().tolist()
        [[('bn',), 0.5], [('bn', 'ln'), 0.5]]
    """
    true, found, _ = predicted_classes(labels, logits)
    count = min(map(len, found.values()))
    left_out = tuple(label for label, runs in found.items() if all(_diverged(run) for run in runs[:count]))
    names = [label for label in found if label not in left_out]
    seeds = [seed for seed in range(count) if names and not any(_diverged(found[name][seed]) for name in names)]
    sets: Counter[tuple[str, ...]] = Counter()
    totals = np.zeros(len(names))
    for seed in seeds:
        wrong = np.stack([found[name][seed] != true for name in names])
        totals += wrong.sum(axis=1)
        patterns, numbers = np.unique(wrong[:, wrong.any(axis=0)], axis=1, return_counts=True)
        for pattern, number in zip(patterns.T, numbers, strict=True):
            sets[tuple(name for name, member in zip(names, pattern, strict=True) if member)] += int(number)
    ranked = sorted(sets, key=lambda members: (-sets[members], len(members), [names.index(name) for name in members]))
    images = pd.Series([sets[members] / len(seeds) for members in ranked], dtype=float)
    table = pd.DataFrame({"members": pd.Series(ranked, dtype=object), "images": images})
    means = pd.Series(totals / (len(seeds) or np.nan), pd.Index(names, name="label"))
    return OverlapData(table, means, len(seeds), left_out, count - len(seeds) if names else 0)


def _diverged(predicted: np.ndarray) -> bool:
    return len(predicted) > 0 and bool((predicted < 0).all())


@in_plain_style
def plot_overlap(
    labels: np.ndarray,
    logits: Logits,
    *,
    title: str | None = None,
    images: str = "test",
    without: str = "diverged",
    ax: Axes | None = None,
    path: frame.PathLike | None = None,
) -> Figure:
    """Draw how many images are wrong under exactly which models, as an UpSet plot.

    A column is a set of models, those with a dot: its bar says how many images exactly they get wrong. Bars of one
    model have its colour, that of all is black. To the left stands how many images each gets wrong altogether. At most
    20 sets are drawn, the largest; the line under the title counts the others.

    Args:
        labels: True classes, integers (images,).
        logits: For each label one array a seed, (images, classes), the same seeds in the same order for all; of
            further ones that a label has, no use is made.
        title: The title of the plot. By default it says what is drawn.
        images: The word for the images that were evaluated on. Defaults to "test".
        without: Why a label has no number with any seed, in a word or two. Defaults to "diverged".
        ax: The axes whose place in a grid is drawn in. By default those of a new figure.
        path: The file to write the picture to (.png, .svg or .pdf). By default none is written.

    Raises:
        RunError: If there are no logits, or ``ax`` is not part of a grid.
        DataError: If shapes or classes do not fit together, or the file type is unknown.

    References:
        Lex et al., 2014, UpSet, IEEE Transactions on Visualization and Computer Graphics 20(12).
    """
    data = overlap_data(labels, logits)
    names = list(data.totals.index)
    ax = frame.open_axes(ax, path, 3.2 + 0.3 * max(1, len(names)))
    place = ax.get_subplotspec()
    if place is None:
        raise RunError("`ax` must be part of a grid of axes, as figure.subplots and add_subplot make them.")
    ax.set_axis_off()
    grid = place.subgridspec(
        3, 2, width_ratios=(1, 3), height_ratios=(0.01, 2.2, 0.3 * len(names) + 0.2), wspace=0.02, hspace=0.02
    )
    head, bars, totals, dots = (ax.figure.add_subplot(grid[row, column]) for row, column in PLACES)
    head.set_axis_off()
    frame.set_heading(head, title or "Images that several models get wrong", _explain(data, images, without))
    if data.sets.empty:
        for axes in (bars, totals, dots):
            axes.remove()
        frame.write_in_the_middle(ax, "no image is wrong" if data.seeds else "no seed that every model finished")
        return frame.finish(ax, path)
    sets, look = data.sets.head(MOST_SETS), styles(logits)
    _draw_bars(bars, sets, look, len(names))
    _draw_totals(totals, data.totals, look)
    _draw_dots(dots, sets, names, look)
    return frame.finish(ax, path)


def _explain(data: OverlapData, images: str, without: str) -> str:
    """Return the line under the title: what the numbers are, and what is left out."""
    parts = [f"{images} images, {frame.format_seeds([data.seeds])}"]
    rest = data.sets["images"][MOST_SETS:]
    if len(rest):
        parts.append(f"{len(rest)} smaller sets of {frame.format_mean(rest.sum())} images not drawn")
    if data.left_out:
        parts.append(f"without {', '.join(map(frame.shortened, data.left_out))}: {without}")
    if data.diverged:
        parts.append(f"without {counted([data.diverged], 'seed')} that not every model finished")
    return "; ".join(parts)


def _draw_bars(ax: Axes, sets: pd.DataFrame, look: Mapping[str, Style], models: int) -> None:
    """Draw how many images each set has."""
    colours = [
        look[members[0]].colour if len(members) == 1 else ALL if len(members) == models else SEVERAL
        for members in sets["members"]
    ]
    drawn = ax.bar(range(len(sets)), sets["images"], width=0.7, color=colours)
    upright = {} if len(sets) <= LEVEL_NUMBERS else {"rotation": 90}
    ax.bar_label(drawn, [frame.format_mean(number) for number in sets["images"]], fontsize=8, padding=2, **upright)
    ax.set_ylabel("images wrong under\nexactly these models", fontsize=10)
    ax.set_xlim(-0.6, len(sets) - 0.4)
    ax.set_xticks([])
    ax.margins(y=0.22 if upright else 0.12)
    ax.tick_params(labelsize=9)
    ax.spines[["top", "right"]].set_visible(False)


def _draw_totals(ax: Axes, totals: pd.Series, look: Mapping[str, Style]) -> None:
    """Draw how many images each model gets wrong, from the right to the left."""
    ax.barh(range(len(totals)), totals, height=0.6, color=[look[label].colour for label in totals.index])
    for row, number in enumerate(totals):
        text = frame.format_mean(number)
        ax.annotate(text, (number, row), (-3, 0), textcoords="offset points", ha="right", va="center", fontsize=9)
    ax.set_ylim(len(totals) - 0.5, -0.5)
    ax.set_xlim(1.35 * max(float(totals.max()), 1.0), 0)
    ax.set_xlabel("images wrong", fontsize=10)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[["top", "left", "bottom"]].set_visible(False)


def _draw_dots(ax: Axes, sets: pd.DataFrame, names: Sequence[str], look: Mapping[str, Style]) -> None:
    """Draw which models each set has."""
    rows = {name: row for row, name in enumerate(names)}
    for row in range(0, len(names), 2):
        ax.axhspan(row - 0.5, row + 0.5, color="#f4f4f4", linewidth=0, zorder=0)
    columns = range(len(sets))
    for row in rows.values():
        ax.plot(columns, [row] * len(sets), "o", color="#d9d9d9", markersize=6, zorder=1)
    for column, members in zip(columns, sets["members"], strict=True):
        inside = [rows[name] for name in members]
        ax.plot([column, column], [inside[0], inside[-1]], color="#555555", linewidth=1.6, zorder=2)
        for name in members:
            ax.plot([column], [rows[name]], look[name].marker, color=look[name].colour, markersize=7, zorder=3)
    ax.set_xlim(-0.6, len(sets) - 0.4)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xticks([])
    ax.set_yticks(range(len(names)), [frame.shortened(name) for name in names], fontsize=10, parse_math=False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
