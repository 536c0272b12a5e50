"""The test images that a model gets wrong: which they are, and a picture of them."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tfnorm.arrays import to_array
from tfnorm.datasets.reading import readable
from tfnorm.errors import DataError, unknown, whole_number
from tfnorm.files import DOTS_PER_INCH, check_picture_path, in_plain_style, save_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SELECTIONS = ("confident", "first")
NO_CLASS = -1
# Softmax in 16 bits adds up to 1 within half a percent.
TOLERANCE = 0.01


@dataclass(frozen=True, eq=False)
class Misclassified:
    """Some of the images that a model assigned to a wrong class.

    Attributes:
        total: How many images are misclassified altogether.
        count: How many images were classified.
        select: ``"confident"`` or ``"first"``: which of them the arrays below hold, and in what order.
        index: Position of each image in the data set, int64, shape (shown,), shown <= total.
        true: Its class, int64, shape (shown,).
        predicted: The class with the largest output, int64, shape (shown,); -1 where the outputs are not numbers.
        confidence: The model's probability of the predicted class, float64 in 0..1, shape (shown,); NaN where
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
    from_logits: bool | None = None,
) -> Misclassified:
    r"""Return the images whose largest logit, or probability, is not that of their class.

    The confidence is the probability of the predicted class. Of logits it is
    ``max_k softmax(logits)_k = 1 / sum_k exp(logits_k - max_j logits_j)``, computed in float64; probabilities are taken
    as they are. A row with a NaN predicts no class and therefore counts as misclassified.

    Args:
        y_true: Classes as integers 0..classes-1, shape (images,) or (images, 1), or one-hot rows (images, classes).
        logits: What the model returns for the images, logits or probabilities, shape (images, classes). With two
            classes it may be one column, of the logit or the probability of class 1.
        n: How many of the misclassified images to list, at most; at least 1.
        select: ``"confident"`` lists the ``n`` most confident mistakes, the most confident first, ties by index;
            ``"first"`` lists the first ``n`` by index.
        class_names: The name of every class; by default its number.
        from_logits: Whether ``logits`` are logits. If ``False``, they are probabilities. By default they are
            probabilities if all lie in 0..1 and each row adds up to 1. For one column you must say which.

    Returns:
        The misclassified images.

    Raises:
        DataError: If shapes, classes or names do not fit together, or probabilities lie outside of 0..1.

    Example:
        >>> wrong = find_misclassified([0, 1, 1], [[2.0, 0.0], [1.0, 0.0], [0.0, 3.0]])
        >>> wrong.total, wrong.count, wrong.index.tolist(), wrong.predicted.tolist()
        (1, 3, [1], [0])
        >>> find_misclassified([1], [[0.75, 0.25]]).confidence
        array([0.75])
    """
    n = whole_number("n", n, error=DataError)
    if select not in SELECTIONS:
        raise DataError(unknown("selection", select, SELECTIONS))
    scores = to_array(logits).astype(np.float64)
    labels, names = check_classes(y_true, scores.shape, class_names)
    if from_logits is None:
        if scores.shape[1] == 1:
            raise DataError(
                "One output an image may be a logit or a probability. Pass from_logits=True or from_logits=False."
            )
        from_logits = are_logits(scores) is not False
    elif not from_logits and are_logits(scores):
        finite = scores[np.isfinite(scores)]
        raise DataError(
            "Probabilities must lie between 0 and 1, and from_logits=False says that these are such. "
            f"Received: values from {finite.min():g} to {finite.max():g}. Pass from_logits=True."
        )
    predicted, confidence = predictions(scores, "softmax" if from_logits else "none")
    return listed(labels, predicted, confidence, names, n=n, select=select)


def listed(
    labels: np.ndarray,
    predicted: np.ndarray,
    confidence: np.ndarray,
    names: tuple[str, ...],
    *,
    n: int,
    select: str,
) -> Misclassified:
    """Return the misclassified images of which the class, the predicted class and the confidence are known."""
    shown, total = first_wrong(labels, predicted, confidence, n=n, select=select)
    return Misclassified(
        total=total,
        count=len(labels),
        select=select,
        index=shown,
        true=labels[shown],
        predicted=predicted[shown],
        confidence=confidence[shown],
        names=names,
    )


def first_wrong(
    labels: np.ndarray, predicted: np.ndarray, confidence: np.ndarray, *, n: int, select: str
) -> tuple[np.ndarray, int]:
    """Return the positions of the misclassified images to list, in their order, and how many there are in all."""
    wrong = np.flatnonzero(predicted != labels)
    if select == "confident":
        rank = np.where(np.isnan(confidence[wrong]), -1.0, confidence[wrong])
        return wrong[np.argsort(-rank, kind="stable")][:n], len(wrong)
    return wrong[:n], len(wrong)


def are_logits(scores: np.ndarray) -> bool | None:
    """Return whether outputs (images, classes) are logits and no probabilities; None if they may be either.

    Rows from 0 to 1 that add up to 1 are probabilities. Of rows from 0 to 1 that do not, nobody can tell.
    """
    rows = scores[np.isfinite(scores).all(axis=1)]
    if not rows.size:
        return None
    if rows.min() < 0 or rows.max() > 1 + TOLERANCE:
        return True
    alike = scores.shape[1] > 1 and np.abs(rows.sum(axis=1) - 1).max() <= TOLERANCE
    return False if alike else None


def check_classes(
    y_true: np.ndarray, shape: tuple[int, ...], class_names: Sequence[str] | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return classes and their names, if they and outputs of ``shape`` fit together; else raise a DataError."""
    if len(shape) != 2 or shape[1] < 1:
        raise DataError(
            f"`logits` must have the shape (images, classes), or (images, 1) with two classes. Received: shape {shape}."
        )
    count, classes = shape[0], max(shape[1], 2)  # one output tells two classes apart
    return check_labels(y_true, count, classes), check_names(class_names, classes)


def predictions(scores: np.ndarray, link: str = "softmax") -> tuple[np.ndarray, np.ndarray]:
    """Return the class with the largest output and its probability; see `find_misclassified`.

    Args:
        scores: What the model returns, shape (images, classes), or (images, 1) of two classes.
        link: What makes probabilities of it: "softmax", "sigmoid" if each output is a logit by itself, "none" if they
            are probabilities.

    Returns:
        Classes, int64, -1 for a row with a NaN, and probabilities, float64, NaN there; each (images,).
    """
    scores = to_array(scores).astype(np.float64)
    if scores.shape[1] == 1:
        scores = np.concatenate([1 - scores if link == "none" else np.zeros_like(scores), scores], axis=1)
        link = "none" if link == "none" else "softmax"
    highest = scores.max(axis=1)
    if link == "none":
        valid, confidence = np.isfinite(highest), np.minimum(highest, 1.0)
    elif link == "sigmoid":
        valid = ~np.isnan(highest)
        confidence = 0.5 * (1.0 + np.tanh(highest / 2))
    else:
        infinite = np.isposinf(scores)
        scores = np.where(infinite.any(axis=1, keepdims=True), np.where(infinite, 0.0, -np.inf), scores)
        highest = scores.max(axis=1)
        valid = np.isfinite(highest)
        shifted = scores - np.where(valid, highest, np.nan)[:, np.newaxis]
        confidence = 1.0 / np.exp(shifted).sum(axis=1)
    predicted = np.where(valid, scores.argmax(axis=1), NO_CLASS).astype(np.int64)
    return predicted, np.where(valid, confidence, np.nan)


def check_labels(y_true: np.ndarray, count: int, classes: int | None = None) -> np.ndarray:
    """Return ``y_true`` as int64 of shape (count,), or raise a DataError that says what is wrong with it.

    Args:
        y_true: Integers, shape (images,) or (images, 1), or one-hot rows.
        count: Number of images.
        classes: Number of classes, or None if it is not known.
    """
    labels = to_array(y_true)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    elif labels.ndim == 2 and labels.shape[1] > 1 and labels.dtype.kind in "buif":
        labels = _from_one_hot(labels, classes)
    if labels.ndim != 1:
        raise DataError(
            "The classes must be integers of shape (images,), or one-hot rows of shape (images, classes). "
            f"Received: shape {labels.shape}."
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
            f"The classes must lie between 0 and {classes - 1}, as the model tells {classes} classes apart. "
            f"Received: classes from {labels.min()} to {labels.max()}."
        )
    return labels


def _from_one_hot(rows: np.ndarray, classes: int | None) -> np.ndarray:
    """Return the class of each one-hot row."""
    if classes is not None and rows.shape[1] != classes:
        raise DataError(
            f"One-hot rows must have a column for each of the {classes} classes. Received: {rows.shape[1]} columns."
        )
    odd = np.flatnonzero((np.count_nonzero(rows, axis=1) != 1) | (rows.max(axis=1) != 1))
    if len(odd):
        raise DataError(
            "Each image must have one class: an integer, or a row with a single 1. "
            f"Received: {rows[odd[0]].tolist()} for image {odd[0]}. Images of several classes at a time (multi-label) "
            "and soft labels are not taken. Of soft labels you can give y.argmax(axis=1)."
        )
    return rows.argmax(axis=1)


def check_names(class_names: Sequence[str] | None, classes: int) -> tuple[str, ...]:
    """Return one name for each class; raise a DataError if there are too many or too few."""
    if class_names is None:
        return tuple(str(label) for label in range(classes))
    if isinstance(class_names, str) or len(class_names) != classes:
        received = repr(class_names) if isinstance(class_names, str) else f"{len(class_names)} names"
        raise DataError(f"`class_names` must list one name for each of the {classes} classes. Received: {received}.")
    return tuple(readable(name) for name in class_names)


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
    if not isinstance(misclassified, Misclassified):
        raise DataError(
            "What is misclassified must be a result of tfnorm.reporting.misclassified_data(labels, logits). "
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
    from matplotlib.figure import Figure

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
    images = to_array(images)
    if images.ndim not in (3, 4):
        raise DataError(
            "`images` must have the shape (images, height, width) or (images, height, width, channels). "
            f"Received: shape {images.shape}."
        )
    if len(images) != count:
        raise DataError(f"`images` must be the {count} images that were classified. Received: {len(images)} images.")
    return images


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
    if image.ndim == 3 and image.shape[2] != 3:
        return image[..., 0] if image.shape[2] == 1 else image.mean(axis=2)
    return image
