"""Confusion matrices of several models: ``confusion_data`` says what is drawn, ``plot_confusion`` draws it."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from tfnorm.errors import RunError
from tfnorm.files import in_plain_style
from tfnorm.mistakes import check_names
from tfnorm.reporting.pictures import _frame as frame
from tfnorm.reporting.pictures._predictions import Logits, predicted_classes

# Up to so many classes a cell has room for its number, and up to so many two matrices stand side by side with it.
NUMBERED, BESIDE = 20, 12
LONGEST_CLASS = 14
# How many matrices are drawn, the first.
MOST_MATRICES = 12
# How many of the commonest mistakes are named where cells have no numbers.
COMMONEST = 3
TITLE_COLUMNS = 44
CORRECT = "#e8e8e8"
# Colours of the scale, few enough to survive in a small .png.
STEPS = 40
# From here up the scale is so dark that numbers on it are white.
DARK = 0.5


@dataclass(frozen=True, eq=False)
class ConfusionData:
    """What `plot_confusion` draws.

    Attributes:
        counts: For each label how many images of the true class (rows) were given each class (columns): float64
            (classes, classes), mean over its seeds; zeros where no seed is left.
        class_names: The name of every class.
        seeds: How many seeds of each label the mean is over: those with a number for some image.
        left_out: How many images, over the seeds of a label together, have logits that are not numbers, as those of a
            model that diverged. They are not in ``counts``.
    """

    counts: dict[str, np.ndarray]
    class_names: list[str]
    seeds: dict[str, int]
    left_out: dict[str, int]


def confusion_data(labels: np.ndarray, logits: Logits, class_names: Sequence[str] | None = None) -> ConfusionData:
    """Return how often each model takes each class for each other, given the arguments of `plot_confusion`.

    Example:
        >>> data = confusion_data([0, 1, 1], {"bn": [[[2.0, 0.0], [1.0, 0.0], [0.0, 3.0]]]})
        >>> data.counts["bn"].tolist()
        [[1.0, 0.0], [1.0, 1.0]]
    """
    true, found, classes = predicted_classes(labels, logits)
    counts, seeds, left_out = {}, {}, {}
    for label, runs in found.items():
        known = [predicted >= 0 for predicted in runs]
        matrices = [
            np.bincount(true[kept] * classes + predicted[kept], minlength=classes**2).reshape(classes, classes)
            for predicted, kept in zip(runs, known, strict=True)
            if kept.any()
        ]
        counts[label] = np.mean(matrices, axis=0) if matrices else np.zeros((classes, classes))
        seeds[label] = len(matrices)
        left_out[label] = sum(int((~kept).sum()) for kept in known)
    return ConfusionData(counts, list(check_names(class_names, classes)), seeds, left_out)


@in_plain_style
def plot_confusion(
    labels: np.ndarray,
    logits: Logits,
    class_names: Sequence[str] | None = None,
    *,
    title: str | None = None,
    without: str = "diverged",
    ax: Axes | None = None,
    path: frame.PathLike | None = None,
) -> Figure:
    """Draw the confusion matrix of every model: true classes from top to bottom, predicted ones from left to right.

    Colours show the share of a true class that is taken for another one, on one scale for all models; correct images,
    which would outshine them, are grey. Up to 20 classes each cell has its number of images; beyond, the title of each
    matrix names the commonest mistakes. Of more than 12 models the first 12 are drawn.

    Args:
        labels: True classes, integers (images,).
        logits: For each label one array a seed, (images, classes).
        class_names: The name of every class. By default its number.
        title: The title of the picture. By default it says what is drawn.
        without: Why a label has no number with any seed, in a word or two. Defaults to "diverged".
        ax: The axes to draw the matrix of a single label in. By default a new figure has one matrix a label.
        path: The file to write the picture to (.png, .svg or .pdf). By default none is written.

    Raises:
        RunError: If there are no logits, or several labels and ``ax``.
        DataError: If shapes, classes or names do not fit together, or the file type is unknown.
    """
    data = confusion_data(labels, logits, class_names)
    if ax is not None and len(data.counts) > 1:
        raise RunError(
            f"`ax` has room for one confusion matrix. Received: {len(data.counts)} labels. "
            "Pass the logits of one, or leave `ax` out."
        )
    note = f"images, {frame.format_seeds([count for count in data.seeds.values() if count] or [0])}; grey: correct"
    if any(data.left_out.values()):
        note += "; without images whose logits are not numbers"
    shown = list(data.counts)[:MOST_MATRICES]
    if len(shown) < len(data.counts):
        note += f"; {len(data.counts) - len(shown)} more models not drawn"
    worst = max(1.0, *(float(_shares(data.counts[label]).max(initial=0.0)) for label in shown))
    classes = len(data.class_names)
    columns = 1 if len(shown) == 1 or BESIDE < classes <= NUMBERED else 2
    rows = -(-len(shown) // columns)
    figure = frame.new_figure(path, 1.5 + rows * (6.6 if columns == 1 else 4.1 if classes <= NUMBERED else 4.6))
    grid = list(figure.subplots(rows, columns, squeeze=False).flat) if ax is None else [ax]
    for place, (axes, label) in enumerate(zip(grid, shown, strict=False)):
        image = _draw_matrix(axes, data, label, worst)
        if ax is None:
            axes.set_title(_title(data, label, without), loc="left", fontsize=10.5, parse_math=False)
        axes.set_ylabel("true class" if place % columns == 0 else "", fontsize=11)
        axes.set_xlabel("predicted class" if place + columns >= len(shown) else "", fontsize=11)
    for axes in grid[len(shown) :]:
        axes.set_axis_off()
    if ax is None:
        frame.set_figure_heading(figure, title or "Confusion of classes", note)
    else:
        frame.set_heading(ax, title or f"Confusion of classes: {shown[0]}", note)
    # The scale of the colours, below the matrices.
    bar = grid[0].figure.figure.colorbar(image, ax=grid, location="bottom", aspect=50, shrink=0.8, pad=0.02)
    bar.set_label("share of the true class (%)", fontsize=10)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=9)
    return frame.finish(grid[0], path)


def _shares(matrix: np.ndarray) -> np.ndarray:
    """Return which share of each true class was given each other one, in percent; 0 for the class itself."""
    sums = matrix.sum(axis=1, keepdims=True)
    shares = 100 * np.divide(matrix, sums, out=np.zeros_like(matrix), where=sums > 0)
    np.fill_diagonal(shares, 0.0)
    return shares


def _title(data: ConfusionData, label: str, without: str) -> str:
    """Return what stands over a matrix: how many images are wrong and, without numbers in cells, the commonest."""
    counts, names = data.counts[label], data.class_names
    if not data.seeds[label]:
        return f"{frame.shortened(label)}: {without}"
    wrong, images = (frame.format_mean(number) for number in (counts.sum() - counts.trace(), counts.sum()))
    title = textwrap.fill(f"{frame.shortened(label)}: {wrong} of {images} wrong", TITLE_COLUMNS)
    if len(names) > NUMBERED:
        names = _short_names(names)
        wrong = counts - np.diag(counts.diagonal())
        worst = [divmod(int(place), len(names)) for place in np.argsort(-wrong, axis=None, kind="stable")[:COMMONEST]]
        for true, taken in worst:
            if wrong[true, taken]:
                title += f"\n{names[true]} as {names[taken]}: {frame.format_mean(wrong[true, taken])}"
    return title


def _short_names(names: Sequence[str]) -> list[str]:
    """Return names without the middle of long ones, and with the number of the class where two would be the same.

    Example:
        >>> _short_names(["ship", "passenger ship", "passenger train", "a tree of a green", "a tree of no green"])
        ['ship', 'passenger ship', 'passeng…train', 'a tree…green (3)', 'a tree…green (4)']
    """
    half = LONGEST_CLASS // 2
    end = half + 1 - LONGEST_CLASS
    short = [name if len(name) <= LONGEST_CLASS else f"{name[:half].rstrip()}…{name[end:].lstrip()}" for name in names]
    found = Counter(short)
    return [f"{name} ({number})" if found[name] > 1 else name for number, name in enumerate(short)]


def _draw_matrix(ax: Axes, data: ConfusionData, label: str, worst: float) -> AxesImage:
    """Draw one matrix, its scale ending at ``worst`` percent."""
    counts, classes = data.counts[label], len(data.class_names)
    shares = _shares(counts)
    scale, norm = colormaps["magma_r"].resampled(STEPS), PowerNorm(0.5, 0.0, worst)
    image = ax.imshow(np.ma.masked_equal(shares, 0.0), cmap=scale, norm=norm, interpolation="nearest")
    if not counts.any():
        frame.write_in_the_middle(ax, "no number")
        ax.set_xticks([])
        return image
    ax.imshow(np.ma.masked_equal(np.eye(classes), 0.0), cmap=ListedColormap([CORRECT]), interpolation="nearest")
    ax.tick_params(length=0 if classes <= NUMBERED else 3, labelsize=9)
    if classes > NUMBERED:
        return image
    names = _short_names(data.class_names)
    ax.set_xticks(range(classes), names, rotation=90 if max(map(len, names)) > 2 else 0, parse_math=False)
    ax.set_yticks(range(classes), names, parse_math=False)
    edges = np.arange(classes - 1) + 0.5
    for draw in (ax.hlines, ax.vlines):
        draw(edges, -0.5, classes - 0.5, color="#eeeeee", linewidth=0.6)
    for true, taken in zip(*np.nonzero(counts), strict=True):
        dark = norm(shares[true, taken]) > DARK
        colour = frame.NOTE_COLOUR if true == taken else "white" if dark else "black"
        number = counts[true, taken]
        text = frame.format_mean(number) if number < 100 else f"{number:.0f}"
        cell = ax.text(taken, true, text, ha="center", va="center", fontsize=7, color=colour, parse_math=False)
        cell.set_in_layout(False)
    return image
