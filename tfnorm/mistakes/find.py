"""Which images a model gets wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tfnorm.errors import DataError, unknown, whole_number
from tfnorm.mistakes.labels import check_classes
from tfnorm.ops.arrays import to_array

if TYPE_CHECKING:
    import pandas as pd

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
        import pandas as pd  # start-up

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

    The confidence is the probability of the predicted class. For logits it is
    ``max_k softmax(logits)_k = 1 / sum_k exp(logits_k - max_j logits_j)``, computed in float64. Probabilities are taken
    as they are. A row with a NaN predicts no class and therefore counts as misclassified.

    Args:
        y_true: Classes as integers 0..classes-1, shape (images,) or (images, 1), or one-hot rows (images, classes).
        logits: What the model returns for the images, logits or probabilities, shape (images, classes). With two
            classes it may be one column, of the logit or the probability of class 1.
        n: The largest number of misclassified images to list, at least 1. Defaults to 10.
        select: ``"confident"`` lists the ``n`` most confident mistakes, the most confident first and ties by index.
            ``"first"`` lists the first ``n`` by index. Defaults to "confident".
        class_names: The name of every class. Defaults to their numbers.
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
    labels: np.ndarray, predicted: np.ndarray, confidence: np.ndarray, names: tuple[str, ...], *, n: int, select: str
) -> Misclassified:
    """Return the misclassified images, given the class, the predicted class and the confidence of each image."""
    shown, total = first_wrong(labels, predicted, confidence, n=n, select=select)
    return Misclassified(total, len(labels), select, shown, labels[shown], predicted[shown], confidence[shown], names)


def first_wrong(
    labels: np.ndarray, predicted: np.ndarray, confidence: np.ndarray, *, n: int, select: str
) -> tuple[np.ndarray, int]:
    """Return the positions of the misclassified images to list, in their order, and how many there are in all."""
    wrong = np.flatnonzero(predicted != labels)
    if select == "confident":
        wrong = wrong[np.argsort(-np.nan_to_num(confidence[wrong], nan=-1.0), kind="stable")]
    return wrong[:n], len(wrong)


def are_logits(scores: np.ndarray) -> bool | None:
    """Return whether outputs (images, classes) are logits and no probabilities, or None if they may be either.

    Rows from 0 to 1 that add up to 1 are probabilities. Rows from 0 to 1 that do not may be either.
    """
    rows = scores[np.isfinite(scores).all(axis=1)]
    if not rows.size:
        return None
    if rows.min() < 0 or rows.max() > 1 + TOLERANCE:
        return True
    alike = scores.shape[1] > 1 and np.abs(rows.sum(axis=1) - 1).max() <= TOLERANCE
    return False if alike else None


def predictions(scores: np.ndarray, link: str = "softmax") -> tuple[np.ndarray, np.ndarray]:
    """Return the class with the largest output, int64, and its probability, float64; see `find_misclassified`.

    The scores are (images, classes), or (images, 1) of two classes. ``link`` is the function that turns them into
    probabilities: "softmax", "sigmoid" if each output is a logit by itself, or "none" if they are probabilities.
    """
    scores = to_array(scores).astype(np.float64)
    if scores.shape[1] == 1:
        scores = np.concatenate([1 - scores if link == "none" else np.zeros_like(scores), scores], axis=1)
        link = "none" if link == "none" else "softmax"
    highest = scores.max(axis=1)
    if link == "none":
        valid, confidence = np.isfinite(highest), np.minimum(highest, 1.0)
    elif link == "sigmoid":
        valid, confidence = ~np.isnan(highest), 0.5 * (1.0 + np.tanh(highest / 2))
    else:
        infinite = np.isposinf(scores)
        scores = np.where(infinite.any(axis=1, keepdims=True), np.where(infinite, 0.0, -np.inf), scores)
        highest = scores.max(axis=1)
        valid = np.isfinite(highest)
        shifted = scores - np.where(valid, highest, np.nan)[:, np.newaxis]
        confidence = 1.0 / np.exp(shifted).sum(axis=1)
    predicted = np.where(valid, scores.argmax(axis=1), NO_CLASS).astype(np.int64)
    return predicted, np.where(valid, confidence, np.nan)
