"""How a training set is split in two."""

from __future__ import annotations

import numpy as np


def stratified_split(labels: np.ndarray, held: float | int) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the images to keep and of those to hold out. Each class gives the same share.

    The choice depends on nothing but the arguments.

    Args:
        labels: The class of each image.
        held: The share to hold out, above 0 and below 1, or the number of images.

    Raises:
        ValueError: If a part would have fewer images than there are classes.

    Example:
        >>> kept, held = stratified_split(np.array([0, 0, 0, 1, 1, 1]), 2)
        >>> len(kept), len(held)
        (4, 2)
    """
    from sklearn.model_selection import train_test_split  # start-up

    kept, out = train_test_split(np.arange(len(labels)), test_size=held, stratify=labels, random_state=0)
    return kept, out
