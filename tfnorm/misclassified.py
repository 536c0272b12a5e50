"""The test images that a model gets wrong: which they are, and a picture of them."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tfnorm.errors import DataError, unknown, whole_number
from tfnorm.files import DOTS_PER_INCH, check_picture_path, in_plain_style, save_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SELECTIONS = ("confident", "first")
NO_CLASS = -1


@dataclass(frozen=True, eq=False)
class Misclassified:
    """Some of the images that a model assigned to a wrong class.

    Attributes:
        total: How many images are misclassified altogether.
        count: How many images were classified.
        select: ``"confident"`` or ``"first"``: which of them the arrays below hold, and in what order.
        index: Position of each image in the data set, int64, shape (shown,), shown <= total.
        true: Its class, int64, shape (shown,).
        predicted: The class with the largest logit, int64, shape (shown,); -1 where the logits are not numbers.
        confidence: Softmax probability of the predicted class, float64 in 0..1, shape (shown,); NaN where
            ``predicted`` is -1.
        names: The name of every class.
    """

    total: int
    count: int
    select: str
    index: np.ndarray
    true: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    names: tuple[str, ...]

    def __len__(self) -> int:
        """Return how many misclassified images are listed."""
        return len(self.index)

    def name_of(self, label: int) -> str:
        """Return the name of class ``label``; ``"none"`` for -1."""
        return "none" if label == NO_CLASS else self.names[label]

    def title(self, label: str, images: str = "test") -> str:
        """Return the title of a picture of what the model called ``label`` gets wrong of these ``images``."""
        return f"{label}: {self.total} of {self.count} {images} images misclassified"

    def to_frame(self) -> pd.DataFrame:
        """Return one row an image: index, true, predicted, true_name, predicted_name, confidence."""
        import pandas as pd

        return pd.DataFrame(
            {
                "index": self.index,
                "true": self.true,
                "predicted": self.predicted,
                "true_name": pd.Series([self.name_of(label) for label in self.true], dtype=object),
                "predicted_name": pd.Series([self.name_of(label) for label in self.predicted], dtype=object),
                "confidence": self.confidence,
            }
        )


def find_misclassified(
    y_true: np.ndarray,
    logits: np.ndarray,
    *,
    n: int = 10,
    select: str = "confident",
    class_names: Sequence[str] | None = None,
) -> Misclassified:
    r"""Return the images whose largest logit is not that of their class.

    The confidence is ``max_k softmax(logits)_k = 1 / sum_k exp(logits_k - max_j logits_j)``, computed in float64.
    A row of logits with a NaN predicts no class and therefore counts as misclassified.

    Args:
        y_true: Classes as integers 0..classes-1, shape (images,) or (images, 1).
        logits: Logits, not probabilities, shape (images, classes).
        n: How many of the misclassified images to list, at most; at least 1.
        select: ``"confident"`` lists the ``n`` most confident mistakes, the most confident first, ties by index;
            ``"first"`` lists the first ``n`` by index.
        class_names: The name of every class; by default its number.

    Returns:
        The misclassified images.

    Raises:
        DataError: If shapes, classes or names do not fit together.

    Example:
        >>> wrong = find_misclassified([0, 1, 1], [[2.0, 0.0], [1.0, 0.0], [0.0, 3.0]])
        >>> wrong.total, wrong.count, wrong.index.tolist(), wrong.predicted.tolist()
        (1, 3, [1], [0])
    """
    n = whole_number("n", n, error=DataError)
    if select not in SELECTIONS:
        raise DataError(unknown("selection", select, SELECTIONS))
    scores = np.asarray(logits, dtype=np.float64)
    labels, names = check_classes(y_true, scores.shape, class_names)

    predicted, confidence = predictions(scores)
    wrong = np.flatnonzero(predicted != labels)
    if select == "confident":
        rank = np.where(np.isnan(confidence[wrong]), -1.0, confidence[wrong])
        shown = wrong[np.argsort(-rank, kind="stable")][:n]
    else:
        shown = wrong[:n]
    return Misclassified(
        total=len(wrong),
        count=len(scores),
        select=select,
        index=shown,
        true=labels[shown],
        predicted=predicted[shown],
        confidence=confidence[shown],
        names=names,
    )


def check_classes(
    y_true: np.ndarray, shape: tuple[int, ...], class_names: Sequence[str] | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return classes and their names, if they and logits of ``shape`` fit together; else raise a DataError."""
    if len(shape) != 2 or shape[1] < 2:
        raise DataError(
            f"`logits` must have the shape (images, classes), with 2 classes or more. Received: shape {shape}."
        )
    return check_labels(y_true, *shape), check_names(class_names, shape[1])


def predictions(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the class with the largest logit and its softmax probability; see `find_misclassified`.

    Args:
        logits: Shape (images, classes).

    Returns:
        Classes, int64, -1 for a row with a NaN, and probabilities, float64, NaN there; each (images,).
    """
    scores = np.asarray(logits, dtype=np.float64)
    infinite = np.isposinf(scores)
    scores = np.where(infinite.any(axis=1, keepdims=True), np.where(infinite, 0.0, -np.inf), scores)
    highest = scores.max(axis=1)
    valid = np.isfinite(highest)
    shifted = scores - np.where(valid, highest, np.nan)[:, np.newaxis]
    confidence = 1.0 / np.exp(shifted).sum(axis=1)
    return np.where(valid, scores.argmax(axis=1), NO_CLASS).astype(np.int64), confidence


def check_labels(y_true: np.ndarray, count: int, classes: int | None = None) -> np.ndarray:
    """Return ``y_true`` as int64 of shape (count,), or raise a DataError that says what is wrong with it."""
    labels = np.asarray(y_true)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise DataError(
            f"The classes must be integers of shape (images,). Received: shape {labels.shape}. "
            "Turn one-hot rows into integers with y.argmax(axis=1)."
        )
    if len(labels) != count:
        raise DataError(
            f"There must be one class for each image. Received: {len(labels)} classes, {count} images. "
            "Pass the classes of the same images, in the same order."
        )
    if labels.dtype.kind not in "buif":
        raise DataError(
            f"The classes must be integers. Received: an array of {labels.dtype}. "
            "Turn names into integers with np.unique(y, return_inverse=True)[1]."
        )
    if len(labels) and not np.all(np.equal(np.mod(labels, 1), 0)):
        raise DataError(f"The classes must be integers. Received: {labels[np.mod(labels, 1) != 0][0]}.")
    labels = labels.astype(np.int64)
    if classes is not None and len(labels) and (labels.min() < 0 or labels.max() >= classes):
        raise DataError(
            f"The classes must lie between 0 and {classes - 1}, as there are {classes} logits an image. "
            f"Received: classes from {labels.min()} to {labels.max()}."
        )
    return labels


def check_names(class_names: Sequence[str] | None, classes: int) -> tuple[str, ...]:
    """Return one name for each class; raise a DataError if there are too many or too few."""
    if class_names is None:
        return tuple(str(label) for label in range(classes))
    if isinstance(class_names, str) or len(class_names) != classes:
        received = repr(class_names) if isinstance(class_names, str) else f"{len(class_names)} names"
        raise DataError(f"`class_names` must list one name for each of the {classes} classes. Received: {received}.")
    return tuple(str(name) for name in class_names)


@in_plain_style
def draw_misclassified(
    images: np.ndarray,
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
        misclassified: What `find_misclassified` returned for these images.
        title: Title of the picture; by default how many images are misclassified.
        path: Where to write the picture (.png, .svg or .pdf), or None.

    Returns:
        The figure.

    Raises:
        DataError: If the images have another shape, there are too few of them, or the file type is unknown.
    """
    from matplotlib.figure import Figure

    if not isinstance(misclassified, Misclassified):
        raise DataError(
            "What is misclassified must be a result of tfnorm.report.misclassified_data(labels, logits). "
            f"Received: {type(misclassified).__name__}."
        )
    if path is not None:
        check_picture_path(path)
    pixels = _select_pixels(images, misclassified)
    width, cell_height, side = 8.0, 1.45, 1.25
    if title is None:
        title = f"{misclassified.total:,} of {misclassified.count:,} images misclassified"
    title = textwrap.fill(title, 72)
    head = 0.62 + 0.22 * title.count("\n")
    rows = -(-len(misclassified) // 2)
    height = head + (rows * cell_height + 0.05 if len(misclassified) else 0.1)
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor="white")
    base = {"parse_math": False, "color": "#222222"}
    text = {**base, "va": "top"}
    figure.text(0.15 / width, 1 - 0.12 / height, title, fontsize=13, weight="bold", **text)
    figure.text(
        0.15 / width, 1 - (head - 0.2) / height, _subtitle(misclassified), fontsize=10, **{**text, "color": "#555555"}
    )
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
            figure.text(x / width, line / height, label, fontsize=10, **{**base, "color": "#555555"})
            for row in value.split("\n"):
                size = _fitting_size(row, style.get("weight", "normal"), width / 2 - side - 1.2)
                figure.text((x + 0.85) / width, line / height, row, fontsize=size, **{**base, **style})
                line -= 0.18
            line -= 0.06
    if path is not None:
        save_figure(figure, path)
    return figure


def _fitting_size(text: str, weight: str, room: float) -> float:
    """Return the font size, 10.5 points or less, at which a line of text is at most ``room`` inches wide."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    width, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=10.5, weight=weight), False)
    return 10.5 * min(1.0, 72 * room / max(width, 1.0))


def _subtitle(misclassified: Misclassified) -> str:
    """Return the sentence under the title: which of the misclassified images are shown."""
    if misclassified.count == 0:
        return "There are no images."
    if misclassified.total == 0:
        return f"Every one of the {misclassified.count:,} images is classified correctly."
    if len(misclassified) == misclassified.total:
        which = "all of them" if misclassified.total > 1 else "the only one"
    else:
        shown = len(misclassified)
        which = f"the {shown} most confident" if misclassified.select == "confident" else f"the first {shown}"
    order = ", the most confident first" if misclassified.select == "confident" and len(misclassified) > 1 else ""
    return f"Shown: {which}{order}."


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
    """Return a class name on two lines at most; what is longer ends in an ellipsis."""
    lines = textwrap.wrap(name, 19, max_lines=2, placeholder=" …")
    return "\n".join(lines) or "(no name)"


def check_images(images: np.ndarray, count: int) -> np.ndarray:
    """Return images as an array, if it has a shape that can be drawn and is of ``count`` of them."""
    images = np.asarray(images)
    if images.ndim not in (3, 4):
        raise DataError(
            "`images` must have the shape (images, height, width) or (images, height, width, channels). "
            f"Received: shape {images.shape}."
        )
    if len(images) != count:
        raise DataError(f"`images` must be the {count} images that were classified. Received: {len(images)} images.")
    return images


def _select_pixels(images: np.ndarray, misclassified: Misclassified) -> list[np.ndarray]:
    """Return the listed images as uint8 of shape (height, width) or (height, width, 3)."""
    chosen = check_images(images, misclassified.count)[misclassified.index]
    if chosen.ndim == 4 and chosen.shape[3] != 3:
        chosen = chosen[..., 0] if chosen.shape[3] == 1 else chosen.mean(axis=3)
    if chosen.dtype == np.uint8 or not len(chosen):
        return list(chosen)
    chosen = np.nan_to_num(chosen.astype(np.float64))
    if chosen.min() < 0 or chosen.max() > 255 or chosen.max() <= 1:
        axes = tuple(range(1, chosen.ndim))
        low = chosen.min(axis=axes, keepdims=True)
        chosen = 255 * (chosen - low) / np.maximum(chosen.max(axis=axes, keepdims=True) - low, 1e-12)
    return list(np.round(chosen).astype(np.uint8))
