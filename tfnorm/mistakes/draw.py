"""A picture of misclassified images."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfnorm.datasets.images import Images
from tfnorm.errors import DataError
from tfnorm.files import DOTS_PER_INCH, check_picture_path, in_plain_style, save_figure
from tfnorm.mistakes.find import Misclassified
from tfnorm.mistakes.labels import check_images

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@in_plain_style
def draw_misclassified(
    images: Images,
    misclassified: Misclassified,
    *,
    title: str | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draw misclassified images two in a row, each with its class, the predicted class, the confidence and its index.

    Ten images make a matrix of 5 rows and 2 columns; with fewer, the picture has fewer rows.

    Args:
        images: All the images that were classified, uint8, shape (images, height, width) or (images, height, width,
            channels). Three channels are drawn in colour, of any other number the mean. Other numbers than uint8 are
            taken for pixels if they lie within 0..255 and pass 1, else each image is stretched from its darkest to its
            brightest value.
        misclassified: The result of `find_misclassified` for these images.
        title: Title of the picture. Defaults to the number of misclassified images.
        path: Where to write the picture (.png, .svg or .pdf), or None.

    Returns:
        The figure.

    Raises:
        DataError: If the images have another shape, there are too few of them, or the file type is unknown.
    """
    if not isinstance(misclassified, Misclassified):
        raise DataError(
            "`misclassified` must be a result of tfnorm.reporting.misclassified_data(labels, logits). "
            f"Received: {type(misclassified).__name__}."
        )
    if path is not None:
        check_picture_path(path)
    chosen = check_images(images, misclassified.count)[misclassified.index]
    return draw_chosen(chosen, misclassified, title=title, path=path)


def draw_chosen(
    images: Sequence[np.ndarray],
    misclassified: Misclassified,
    *,
    title: str | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draw as `draw_misclassified` does, given only the images that are listed, in the order of the list."""
    from matplotlib.figure import Figure  # start-up

    if path is not None:
        check_picture_path(path)
    pixels = _pixels(images)
    width, cell_height, side = 8.0, 1.45, 1.25
    if title is None:
        title = f"{misclassified.total:,} of {misclassified.count:,} images misclassified"
    title = textwrap.fill(title, 72)
    head = 0.62 + 0.22 * title.count("\n")
    rows = -(-len(misclassified) // 2)
    height = head + (rows * cell_height + 0.05 if len(misclassified) else 0.1)
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor="white")
    dark, grey = ({"parse_math": False, "color": color} for color in ("#222222", "#555555"))
    figure.text(0.15 / width, 1 - 0.12 / height, title, fontsize=13, weight="bold", va="top", **dark)
    figure.text(0.15 / width, 1 - (head - 0.2) / height, _subtitle(misclassified), fontsize=10, va="top", **grey)
    for position, picture in enumerate(pixels):
        left = 0.15 + (position % 2) * width / 2
        bottom = height - head - (position // 2 + 1) * cell_height + 0.05
        box = (left / width, bottom / height, side / width, side / height)
        axes = figure.add_axes(box, xticks=[], yticks=[])
        nearest = max(picture.shape[:2]) <= side * DOTS_PER_INCH
        axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest" if nearest else "antialiased")
        axes.spines[:].set_color("#bbbbbb")
        x, line = left + side + 0.12, bottom + side - 0.15
        for label, value, style in _annotations(misclassified, position):
            figure.text(x / width, line / height, label, fontsize=10, **grey)
            for row in value.split("\n"):
                size = _fitting_size(row, style.get("weight", "normal"), width / 2 - side - 1.2)
                figure.text((x + 0.85) / width, line / height, row, fontsize=size, **{**dark, **style})
                line -= 0.18
            line -= 0.06
    if path is not None:
        save_figure(figure, path)
    return figure


def _fitting_size(text: str, weight: str, room: float) -> float:
    """Return the font size, 10.5 points or less, at which a line of text is at most ``room`` inches wide."""
    from matplotlib.font_manager import FontProperties  # start-up
    from matplotlib.textpath import text_to_path  # start-up

    width, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=10.5, weight=weight), False)
    return 10.5 * min(1.0, 72 * room / max(width, 1.0))


def _subtitle(misclassified: Misclassified) -> str:
    """Return the sentence under the title: which of the misclassified images are shown."""
    shown, confident = len(misclassified), misclassified.select == "confident"
    if misclassified.count == 0:
        return "There are no images."
    if misclassified.total == 0:
        return f"Every one of the {misclassified.count:,} images is classified correctly."
    if shown == misclassified.total:
        which = "all of them" if shown > 1 else "the only one"
    else:
        which = f"the {shown} most confident" if confident else f"the first {shown}"
    return f"Shown: {which}{', the most confident first' if confident and shown > 1 else ''}."


def _annotations(misclassified: Misclassified, position: int) -> list[tuple[str, str, dict[str, str]]]:
    """Return label, value and style of each line of text beside one image."""
    confidence = misclassified.confidence[position]
    bold = {"weight": "bold"}
    return [
        ("actual", _wrap(misclassified.name_of(misclassified.true[position])), bold),
        ("predicted", _wrap(misclassified.name_of(misclassified.predicted[position])), {**bold, "color": "#B34700"}),
        ("confidence", "not a number" if np.isnan(confidence) else f"{100 * confidence:.1f} %", {}),
        ("image", str(misclassified.index[position]), {}),
    ]


def _wrap(name: str) -> str:
    """Return a class name on two lines at most. A longer one ends in an ellipsis."""
    return "\n".join(textwrap.wrap(name, 19, max_lines=2, placeholder=" …")) or "(no name)"


def _pixels(images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return images as uint8 of shape (height, width) or (height, width, 3)."""
    flat = [_without_channels(image) for image in images]
    if all(image.dtype == np.uint8 for image in flat):
        return flat
    flat = [np.nan_to_num(image.astype(np.float64)) for image in flat]
    low, high = min(image.min() for image in flat), max(image.max() for image in flat)
    if low < 0 or high > 255 or high <= 1:
        flat = [255 * (image - image.min()) / max(np.ptp(image), 1e-12) for image in flat]
    return [np.round(image).astype(np.uint8) for image in flat]


def _without_channels(image: np.ndarray) -> np.ndarray:
    if image.ndim == 2 or image.shape[2] == 3:
        return image
    return image[..., 0] if image.shape[2] == 1 else image.mean(axis=2)
