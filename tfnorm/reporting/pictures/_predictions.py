"""Predicted classes of several models and seeds on the same test images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tfnorm.errors import DataError, RunError
from tfnorm.mistakes import check_labels, predictions
from tfnorm.ops.arrays import to_array

Logits = Mapping[str, Sequence[np.ndarray]]


def predicted_classes(labels: np.ndarray, logits: Logits) -> tuple[np.ndarray, dict[str, list[np.ndarray]], int]:
    """Return the true classes, those that each seed of each label predicts, and how many classes there are.

    Classes are int64 (images,), -1 where the logits are not numbers.
    """
    if not logits:
        raise RunError("There are no logits to draw. Pass at least one label with the logits of one seed.")
    shape: tuple[int, ...] | None = None
    found = {}
    for label, runs in logits.items():
        if not len(runs):
            raise RunError(f"There are no logits of {label!r}. Pass those of at least one seed for each label.")
        arrays = [to_array(run) for run in runs]
        for array in arrays:
            shape = shape or array.shape
            if array.ndim != 2 or array.shape != shape:
                raise DataError(
                    "All logits must have the same shape (images, classes). "
                    f"Received: {shape} and, of {label!r}, {array.shape}."
                )
        found[label] = [predictions(array)[0] for array in arrays]
    images, classes = shape or (0, 0)
    return check_labels(labels, images, classes), found, classes
