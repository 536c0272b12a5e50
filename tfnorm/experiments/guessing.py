"""Whether a trained network tells classes apart, or is right no more often than someone who guesses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfnorm.errors import RunError
from tfnorm.training.runs import Run

# Standard deviations above chance. The normal distribution leaves 0.1 % beyond; few images of a class leave more.
LEAST_SCORE = 3.0
# Classes are called unequal where the largest has so many times the images of the smallest.
UNEQUAL = 1.5


@dataclass(frozen=True)
class Learned:
    """What the predictions of the runs of one spec say: means over seeds, accuracies in percent."""

    accuracy: float
    balanced: float  # mean over the classes of the share that is recognized
    chance: float  # the balanced accuracy of an answer that does not depend on the image
    largest: float  # the accuracy of always answering the largest class of the test images
    largest_class: str
    unequal: bool  # whether the classes differ much in size, so that the accuracy says less than the balanced one
    score: float  # by how many standard deviations the balanced accuracy is above chance

    @property
    def nothing(self) -> bool:
        """Whether the answers are not shown to depend on the images."""
        return self.score < LEAST_SCORE


def balanced_accuracy(labels: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    r"""Return the balanced accuracy, 0..1, and by how many standard deviations it is above that of guessing.

    Guessing is what it would be if the same answers were given to the images in another order: its balanced accuracy is
    :math:`1/K` on the average, for :math:`K` classes that have test images, whatever the answers are. The standard
    deviation over all orders is exact. Answers that are all the same have none, and are 0 above.

    Args:
        labels: True classes (images,).
        predicted: Predicted ones.

    Example:
        >>> balanced_accuracy(np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0]))
        (0.5, 0.0)

    References:
        Hoeffding, 1951, A combinatorial central limit theorem, Annals of Mathematical Statistics 22.
    """
    classes, places = np.unique(np.concatenate([labels, predicted]), return_inverse=True)
    true, predicted = np.split(places, 2)
    sizes, answers = (np.bincount(each, minlength=len(classes)) for each in (true, predicted))
    present = sizes > 0
    # What an image of one class adds for an answer.
    worth = np.diag(np.divide(1.0, sizes, out=np.zeros(len(classes)), where=present)) / present.sum()
    hits = np.bincount(true[true == predicted], minlength=len(classes))
    reached = float(np.mean(hits[present] / sizes[present]))
    rows, columns = worth @ answers / len(labels), sizes @ worth / len(labels)
    centred = worth - rows[:, None] - columns[None, :] + sizes @ rows / len(labels)
    spread = math.sqrt(float(sizes @ centred**2 @ answers) / max(len(labels) - 1, 1))
    above = reached - 1 / float(present.sum())
    return reached, above / spread if spread > 1e-12 else 0.0


def learned(runs: Sequence[Run]) -> Learned | None:
    """Return what the predictions of runs of one spec say, None where none that did not diverge has any.

    Of images with several labels each nothing is said.
    """
    found = []
    for run in runs:
        if run.status != "finished" or run.multi_label:
            continue
        try:
            labels, logits = run.labels, run.logits
        except RunError:  # said where the predictions themselves are shown
            continue
        if not len(labels):
            continue
        predicted = logits.argmax(-1)
        sizes = np.bincount(labels)
        present = sizes[sizes > 0]
        reached, score = balanced_accuracy(labels, predicted)
        names, largest = run.config["data"]["class_names"], int(sizes.argmax())
        found.append(
            Learned(
                accuracy=100 * float((predicted == labels).mean()),
                balanced=100 * reached,
                chance=100 / len(present),
                largest=100 * float(sizes.max() / sizes.sum()),
                largest_class=str(names[largest] if largest < len(names) else largest),
                unequal=bool(present.max() >= UNEQUAL * present.min()),
                score=score,
            )
        )
    if not found:
        return None
    averaged = ("accuracy", "balanced", "score")
    means: dict[str, Any] = {name: math.fsum(getattr(each, name) for each in found) / len(found) for name in averaged}
    return replace(found[0], unequal=any(each.unequal for each in found), **means)
