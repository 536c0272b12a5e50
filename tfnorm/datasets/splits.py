"""Splits of images in two, always the same for the same labels: each class gives the same share to both parts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tfnorm.text import listed


def stratified_split(labels: np.ndarray, held: float | int) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the images to keep and of those to hold out: a share or a number. It is always the same.

    Each class gives the same share; of several labels an image, the images are drawn by chance alone. It raises a
    ValueError if a part would have fewer images than there are classes.

    Example:
        >>> kept, held = stratified_split(np.array([0, 0, 0, 1, 1, 1]), 2)
        >>> len(kept), len(held)
        (4, 2)
    """
    from sklearn.model_selection import train_test_split  # start-up

    classes = labels if labels.ndim == 1 else None
    return train_test_split(np.arange(len(labels)), test_size=held, stratify=classes, random_state=0)


def split_off(
    labels: np.ndarray, share: float, class_names: Sequence[str], groups: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the images to keep and of those to hold out, in order, with each class in both parts.

    Args:
        labels: The label of each image, or 0 and 1 for each class, (images, classes).
        share: The share of each class to hold out, above 0 and below 1. With groups it is met as nearly as they allow.
        class_names: The names of the classes, for messages.
        groups: The group of each image; a group is never divided.

    Raises:
        ValueError: If a part would lack a class, with a sentence that says why.

    Example:
        >>> kept, held = split_off(np.array([0, 0, 0, 0, 1, 1]), 0.5, ("cat", "dog"))
        >>> len(kept), len(held)
        (3, 3)
    """
    of_class = labels.astype(bool) if labels.ndim == 2 else labels[:, None] == np.arange(len(class_names))
    counts = of_class.sum(axis=0)
    if single := [class_names[label] for label in np.flatnonzero(counts == 1)]:
        few = listed([repr(name) for name in single[:3]])
        raise ValueError(
            f"Each part needs an image of each class, and {few}{' and more have' if single[3:] else _have(single)} "
            "only one. Add images, or remove the class."
        )
    if groups is not None:
        held = _whole_groups(labels, share, class_names, groups)
    else:
        number = math.ceil(share * len(labels))
        classes = np.count_nonzero(counts)
        held = np.full(len(labels), labels.ndim == 1 and number > len(labels) - classes)
        if labels.ndim == 2 or classes <= number <= len(labels) - classes:
            held[stratified_split(labels, share)[1]] = True
    taken = of_class[held].sum(axis=0)
    lacking = np.flatnonzero((counts > 0) & ((taken == 0) | (taken == counts)))
    if len(lacking):
        label, least = min(lacking, key=lambda label: counts[label]), 100 / counts[counts > 0].min()
        raise ValueError(
            f"{'All' if taken[label] else 'None'} of {class_names[label]!r}, of {counts[label]} images, would be held "
            f"out. Use a share from {math.ceil(least) / 100:g} to {math.floor(100 - least) / 100:g}, add images, "
            "or remove the class."
        )
    return np.flatnonzero(~held), np.flatnonzero(held)


def _have(names: Sequence[str]) -> str:
    return " have" if names[1:] else " has"


def _whole_groups(labels: np.ndarray, share: float, class_names: Sequence[str], groups: Sequence[str]) -> np.ndarray:
    """Return which images to hold out so that no group is divided.

    In an order of chance, seed 0, each group is held out that brings the shares of the classes nearer to ``share`` and
    leaves an image of each class. Where a class gave none, because its groups are large, its best one is held out.
    """
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    counts = np.zeros((len(names), len(class_names)))
    np.add.at(counts, (member, labels), 1)
    there = np.maximum(counts.sum(axis=0), 1)
    for label in np.flatnonzero((counts > 0).sum(axis=0) == 1):
        name = names[np.flatnonzero(counts[:, label])[0]]
        raise ValueError(
            f"All images of {class_names[label]!r} are in one group, {str(name)!r}, which cannot be in both parts. Add "
            "images of another group, or remove the class."
        )

    def distance(held: np.ndarray) -> float:
        return float(((held / there - share) ** 2).sum())

    chosen = np.zeros(len(names), bool)
    held = np.zeros(len(class_names))
    order = np.random.default_rng(0).permutation(len(names))

    def leaves_all(group: int) -> bool:
        return bool((held + counts[group] < there)[counts[group] > 0].all())

    for group in order:
        if leaves_all(group) and distance(held + counts[group]) < distance(held):
            chosen[group] = True
            held += counts[group]
    for label in range(len(class_names)):
        if held[label] or not counts[:, label].any():
            continue
        fitting = [group for group in order if counts[group, label] and leaves_all(group)]
        if not fitting:
            raise ValueError(
                f"No way was found to have images of {class_names[label]!r} in both parts without dividing a group. "
                "Add images of other groups, or remove the class."
            )
        best = min(fitting, key=lambda group: distance(held + counts[group]))
        chosen[best] = True
        held += counts[best]
    return chosen[member]
