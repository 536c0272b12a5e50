"""Receptive fields over an image: ``receptive_data`` says what is drawn, ``plot_receptive_field`` draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib import colormaps, patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from tfnorm.analysis import Layers, Row
from tfnorm.errors import DataError
from tfnorm.files import in_plain_style
from tfnorm.ops.arrays import to_array
from tfnorm.reporting.pictures import _frame as frame

if TYPE_CHECKING:
    import keras

MOST = 6
# How many times the image's side the picture shows at most.
WIDEST = 2.4


@dataclass(frozen=True, eq=False)
class ReceptiveData:
    """What `plot_receptive_field` draws.

    Attributes:
        boxes: One row a layer, from the first to the last: ``layer``; ``row`` and ``column`` of its middle unit; the
            edges ``top``, ``left``, ``bottom`` and ``right`` of that unit's field in pixels from the image's upper left
            corner, negative and larger than the image where it reads padding; ``gated``, whether the unit reads the
            whole image besides.
        shape: Height and width of the image, in pixels.
    """

    boxes: pd.DataFrame
    shape: tuple[int, int]


def receptive_data(
    model: keras.Model | Layers,
    layers: Sequence[str] | None = None,
    *,
    input_shape: Sequence[int] | None = None,
) -> ReceptiveData:
    """Return the receptive fields of the middle units of some layers; see `plot_receptive_field` for the arguments."""
    from tfnorm.analysis import receptive_field  # start-up

    table = model if isinstance(model, Layers) else receptive_field(model, input_shape=input_shape)
    if len(table.axes) != 2:
        raise DataError(
            "A picture of receptive fields needs a model for images of known height and width. "
            f"Received: a model whose input has the axes {table.axes}."
        )
    source = next(row for row in table if row.kind.lower().startswith("input") and row.fields)
    height, width = (field.length for field in source.fields)
    if height is None or width is None:
        raise DataError("The height and the width of the model's images are open. Give `input_shape`.")
    chosen = _spread(table) if layers is None else [table[name] for name in layers]
    records = []
    for row in chosen:
        spans = [None if field.length is None else field.at(field.length // 2) for field in row.fields]
        if not spans or None in spans or not np.isfinite(spans).all():
            raise DataError(f"The receptive field of {row.name!r} is not known. Choose a layer before it.")
        (top, bottom), (left, right) = spans
        edges = {"top": top, "left": left, "bottom": bottom + 1, "right": right + 1}
        gated = row.local_field != row.receptive_field
        unit = {axis: field.length // 2 for axis, field in zip(("row", "column"), row.fields, strict=True)}
        records.append({"layer": row.name, **unit, **edges, "gated": gated})
    return ReceptiveData(pd.DataFrame(records), (height, width))


def _spread(table: Layers) -> list[Row]:
    """Return up to ``MOST`` rows that still are images, each with a larger field than the one before."""
    growing: list[Row] = []
    for row in table:
        known = bool(row.fields) and all(row.local_field) and np.isfinite(row.local_field).all()
        known = known and all((field.length or 0) > 1 for field in row.fields)
        if known and max(row.local_field) > (max(growing[-1].local_field) if growing else 1):
            growing.append(row)
    if not growing:
        raise DataError("No layer of the model has a receptive field of more than one pixel, so there is none to draw.")
    numbers = np.unique(np.linspace(0, len(growing) - 1, min(MOST, len(growing))).round().astype(int))
    return [growing[number] for number in numbers]


@in_plain_style
def plot_receptive_field(
    model: keras.Model | Layers,
    image: np.ndarray | None = None,
    layers: Sequence[str] | None = None,
    *,
    input_shape: Sequence[int] | None = None,
    title: str | None = None,
    ax: Axes | None = None,
    path: frame.PathLike | None = None,
) -> Figure:
    """Draw the receptive fields of the middle units of some layers over an image, with what reaches beyond its edges.

    Args:
        model: A functional or sequential model for images, or what `tfnorm.analysis.receptive_field` returned for it.
        image: Pixels, shape (height, width), (height, width, 1) or (height, width, 3); it is cut and resized to the
            size of the model's images. By default a photograph that comes with scikit-learn.
        layers: The names of the layers. By default up to 6 over the depth of the model, each with a larger field.
        input_shape: The shape of one image, for a model that leaves it open.
        title: The title of the plot. By default it says what is drawn.
        ax: The axes to draw in. By default those of a new figure.
        path: The file to write the picture to (.png, .svg or .pdf). By default none is written.

    Raises:
        DataError: If the model's images have no height and width, a layer's field is unknown, the image has another
            shape, or the file type is unknown.
        TfnormError: See `tfnorm.analysis.summary`.

    Example:
        >>> figure = plot_receptive_field(tfnorm.build("cifar_plain"), path=folder / "fields.png")
    """
    ax = frame.open_axes(ax, path, 8.0, layout="compressed")
    data = receptive_data(model, layers, input_shape=input_shape)
    height, width = data.shape
    if image is None:
        from sklearn.datasets import load_sample_image  # start-up

        image = load_sample_image("china.jpg")
    pixels = _fitted(to_array(image), height, width)
    ax.set_facecolor("#eeeeee")
    ax.imshow(pixels, extent=(0, width, height, 0), cmap="gray", interpolation="nearest", alpha=0.85, zorder=1)
    _set_view(ax, data)
    handles, names = [], []
    colours = colormaps["plasma"](np.linspace(0.0, 0.85, len(data.boxes)))
    for number, (box, colour) in enumerate(zip(data.boxes.to_dict("records"), colours, strict=True)):
        sides = box["bottom"] - box["top"], box["right"] - box["left"]
        edge = Rectangle(
            (box["left"], box["top"]), sides[1], sides[0], fill=False, edgecolor=colour, linewidth=2, zorder=3 + number
        )
        edge.set_path_effects([patheffects.withStroke(linewidth=4, foreground="white")])
        handles.append(ax.add_patch(edge))
        notes = [", gated by the whole image"] * box["gated"]
        if box["left"] < ax.get_xlim()[0] and box["top"] < ax.get_ylim()[1]:
            notes.append(", larger than shown")
        names.append(f"{box['layer']}: {sides[0]} x {sides[1]}{''.join(notes)}")
    ax.set_xlabel("width (pixels)", fontsize=11)
    ax.set_ylabel("height (pixels)", fontsize=11)
    frame.set_heading(ax, title or "Receptive field of the middle unit of each layer")
    frame.draw_legend(ax, handles, names, columns=1 if max(map(len, names)) > 45 else 2, below=0.1)
    return frame.finish(ax, path, few_colours=False)


def _set_view(ax: Axes, data: ReceptiveData) -> None:
    """Show the image and the boxes, but no more than ``WIDEST`` times the image."""
    height, width = data.shape
    boxes = data.boxes

    def limits(side: int, first: int, last: int) -> tuple[float, float]:
        beyond, margin = side * (WIDEST - 1) / 2, 0.02 * side
        return max(min(first, 0) - margin, -beyond), min(max(last, side) + margin, side + beyond)

    ax.set_xlim(limits(width, boxes["left"].min(), boxes["right"].max()))
    ax.set_ylim(limits(height, boxes["top"].min(), boxes["bottom"].max())[::-1])
    ax.tick_params(labelsize=10)
    ax.set_aspect("equal")


def _fitted(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the middle of an image, of the asked proportions, in the asked size, as uint8."""
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3) or not image.size:
        raise DataError(
            "`image` must have the shape (height, width), (height, width, 1) or (height, width, 3). "
            f"Received: shape {image.shape}."
        )
    values: Any = np.nan_to_num(image.astype(np.float64))
    if image.dtype != np.uint8 and (values.min() < 0 or values.max() > 255 or values.max() <= 1):
        values = 255 * (values - values.min()) / max(float(np.ptp(values)), 1e-12)
    scale = min(image.shape[0] / height, image.shape[1] / width)
    rows, columns = max(round(height * scale), 1), max(round(width * scale), 1)
    top, left = (image.shape[0] - rows) // 2, (image.shape[1] - columns) // 2
    cut = Image.fromarray(np.round(values[top : top + rows, left : left + columns]).astype(np.uint8))
    return np.asarray(cut.resize((width, height), Image.Resampling.BILINEAR))
