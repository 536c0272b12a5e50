"""Metrics that are computed from all predictions at once, each exactly, in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from tfnorm.metrics.known import places_of


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    r"""Return the average precision of scores of images, of which some are positive.

    :math:`\sum_n (R_n - R_{n-1}) P_n` over the distinct scores as thresholds, from the highest to the lowest, with the
    recall :math:`R_n` and the precision :math:`P_n` of the images at or above each. Images of one score stand or fall
    together, and nothing is interpolated: the definition of `sklearn.metrics.average_precision_score`.

    Args:
        labels: 1 or True for a positive image, (images,). At least one is.
        scores: Numbers that are higher the surer a positive is, (images,).

    Example:
        >>> average_precision(np.array([1, 0, 1]), np.array([0.9, 0.8, 0.7]))
        0.8333333333333333
    """
    order = np.argsort(-scores, kind="stable")
    ranked, positive = scores[order], np.asarray(labels, bool)[order]
    last = np.flatnonzero(np.append(np.diff(ranked) != 0, True))  # of the images of each score
    hits = np.cumsum(positive)[last]
    gained = np.diff(hits, prepend=0) / hits[-1]
    return float((gained * hits / (last + 1)).sum())


def area_under_curve(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the area under the ROC curve: how often a positive image has the higher score of a pair; a tie is half.

    Args:
        labels: 1 or True for a positive image, (images,). At least one is, and one is not.
        scores: (images,).

    Example:
        >>> area_under_curve(np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.8, 0.1]))
        0.875
    """
    positive = np.asarray(labels, bool)
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    positives = int(positive.sum())
    wins = ranks[positive].sum() - positives * (positives + 1) / 2
    return float(wins / (positives * (len(positive) - positives)))


def _one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    return labels.astype(bool) if labels.ndim == 2 else labels[:, None] == np.arange(classes)


def _class_scores(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Return a score for each class, to rank images by: the logit, or of one class each the logarithm of softmax."""
    if labels.ndim == 2:
        return logits
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _predicted(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Return the answers as 0 or 1 for each class: the largest logit, or of several labels those above 0."""
    return logits > 0 if labels.ndim == 2 else _one_hot(logits.argmax(axis=1), logits.shape[1])


def _mean_average_precision(labels: np.ndarray, logits: np.ndarray) -> float:
    true, scores = _one_hot(labels, logits.shape[1]), _class_scores(labels, logits)
    present = np.flatnonzero(true.any(axis=0))
    return float(np.mean([average_precision(true[:, k], scores[:, k]) for k in present]))


def _auc(labels: np.ndarray, logits: np.ndarray) -> float:
    true, scores = _one_hot(labels, logits.shape[1]), _class_scores(labels, logits)
    both = np.flatnonzero(true.any(axis=0) & ~true.all(axis=0))
    return float(np.mean([area_under_curve(true[:, k], scores[:, k]) for k in both])) if len(both) else np.nan


def _f1(labels: np.ndarray, logits: np.ndarray) -> float:
    true, predicted = _one_hot(labels, logits.shape[1]), _predicted(labels, logits)
    present = true.any(axis=0)
    hits = (true & predicted).sum(axis=0)
    return float(np.mean((2 * hits / np.maximum(true.sum(axis=0) + predicted.sum(axis=0), 1))[present]))


def _balanced_accuracy(labels: np.ndarray, logits: np.ndarray) -> float:
    true, predicted = _one_hot(labels, logits.shape[1]), _predicted(labels, logits)
    present = true.any(axis=0)
    return float(np.mean((true & predicted).sum(axis=0)[present] / true.sum(axis=0)[present]))


def _top_accuracy(labels: np.ndarray, logits: np.ndarray, places: int) -> float:
    # Of equal logits the first class counts as the higher, as in argmax.
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    before = np.arange(logits.shape[1]) < labels[:, None]
    ahead = (logits > own) | ((logits == own) & before)
    return float(np.mean(ahead.sum(axis=1) < places))


_SCORES: Mapping[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "mean_average_precision": _mean_average_precision,
    "auc": _auc,
    "f1": _f1,
    "balanced_accuracy": _balanced_accuracy,
}


def is_score(name: str) -> bool:
    """Return whether a metric is one that `score` computes; Keras computes the others while it evaluates."""
    return name in _SCORES or places_of(name) is not None


def score(name: str, labels: np.ndarray, logits: np.ndarray) -> float:
    """Return a metric of the predictions of all test images, NaN where a logit is not finite.

    Means over the classes are over those that have test images ("auc": and images of others, too).

    Args:
        name: "mean_average_precision", "auc", "f1", "balanced_accuracy" or "top_k_accuracy".
        labels: True classes (images,), or 0 and 1 for several labels (images, classes).
        logits: (images, classes), of softmax, or of a sigmoid for each class.

    Example:
        >>> labels, logits = np.array([0, 1, 1]), np.array([[2.0, 0.0], [1.0, 0.0], [0.0, 3.0]])
        >>> score("balanced_accuracy", labels, logits), score("top_2_accuracy", labels, logits)
        (0.75, 1.0)
    """
    logits = np.asarray(logits, np.float64)
    if not np.isfinite(logits).all():
        return float("nan")
    places = places_of(name)
    return _SCORES[name](labels, logits) if places is None else _top_accuracy(labels, logits, places)
