"""A trained network's answers: its logits, for images as they are or averaged over several views of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfnorm.datasets import Dataset
from tfnorm.errors import RunError, TfnormError
from tfnorm.registry import Registry
from tfnorm.training.folder import read_json, write_json
from tfnorm.training.runs import Run, fingerprint

if TYPE_CHECKING:
    import keras

EVALUATION_BATCH = 256
_STAY = (0, 0)
_NEIGHBOURS = ((-1, 0), (1, 0), (0, -1), (0, 1))


@dataclass(frozen=True)
class Views:
    """How test images are looked at.

    Args:
        description: One line.
        flip: Whether each view is taken of the mirror image (left for right) too.
        shifts: By how many pixels the image is moved, down and to the right, one pair a view.
    """

    description: str
    flip: bool = False
    shifts: tuple[tuple[int, int], ...] = (_STAY,)

    def __len__(self) -> int:
        """Return the number of views."""
        return len(self.shifts) * (2 if self.flip else 1)


#: Sets of views by name.
VIEWS: Registry[Views] = Registry("set of views", TfnormError)
VIEWS.add("flip", Views("the image and its mirror image", flip=True))
VIEWS.add("nudge", Views("the image, and moved by a pixel to each of four sides", shifts=(_STAY, *_NEIGHBOURS)))
VIEWS.add(
    "flip_nudge",
    Views(
        "the image and its mirror image, each as it is and moved by a pixel to each of four sides",
        flip=True,
        shifts=(_STAY, *_NEIGHBOURS),
    ),
)


def evaluation_batch(images: int) -> int:
    """Return a batch size that cuts ``images`` into parts as equal as can be, since each new size costs a compilation.

    Example:
        >>> evaluation_batch(450), evaluation_batch(10_000)
        (225, 250)
    """
    return -(-images // -(-images // EVALUATION_BATCH))


def answers(model: keras.Model, images: np.ndarray, views: str | None = None) -> np.ndarray:
    """Return a network's logits, averaged over views if any are named: test-time augmentation.

    The mean over mirrored and moved copies of an image is an old custom (Krizhevsky, Sutskever and Hinton, NeurIPS
    2012); that of logits, over mirror images and moves by a pixel, is after arXiv 2404.00498. The network stays what it
    is, and each answer costs as many passes as there are views. What a move leaves empty is filled with its mirror
    image, as the augmentation "flip_nudge" does.

    Args:
        model: Returns logits (batch, classes).
        images: Raw pixels 0..255, (images, height, width, channels).
        views: A name of ``VIEWS``; None for the images as they are.

    Returns:
        (images, classes) float32.

    Raises:
        TfnormError: If there are no views of that name.

    Example:
        >>> answers(tfnorm.build(norm="gn:2"), np.zeros((3, 28, 28, 1), "uint8"), "flip").shape
        (3, 10)
    """
    wanted = Views("as it is") if views is None else VIEWS[views]
    total = np.zeros((), "float64")
    for shift in wanted.shifts:
        for mirrored in (False, True) if wanted.flip else (False,):
            total = total + _predicted(model, moved(images[:, :, ::-1] if mirrored else images, *shift))
    return (total / len(wanted)).astype("float32")


def _predicted(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return logits computed by a compiled graph: in 16 bits, operations one by one round to other answers."""
    size = evaluation_batch(len(images))
    return np.concatenate([model.predict_on_batch(images[i : i + size]) for i in range(0, len(images), size)])


def moved(images: np.ndarray, down: int, right: int) -> np.ndarray:
    """Return images (batch, height, width, channels) moved by whole pixels, with their mirror image behind each edge.

    Example:
        >>> moved(np.arange(3).reshape(1, 1, 3, 1), 0, 1).ravel()
        array([0, 0, 1])
    """
    height, width = images.shape[1:3]
    rows, columns = (_folded(np.arange(side) - by, side) for side, by in ((height, down), (width, right)))
    return images[:, rows][:, :, columns]


def _folded(place: np.ndarray, side: int) -> np.ndarray:
    place = np.where(place < 0, -place - 1, place)
    return np.clip(np.where(place >= side, 2 * side - 1 - place, place), 0, side - 1)


def accuracy_of_views(run: Run, views: str, data: Dataset) -> float:
    """Return the accuracy in percent of a finished run's network on the test images, its answers averaged over views.

    What was computed once is kept in the run's folder, in ``views.json``.

    Args:
        run: The run.
        views: A name of ``VIEWS``.
        data: What `tfnorm.training.data.load_data` returned for the run.

    Raises:
        TfnormError: If there are no views of that name.
        RunError: If these are not the data of the run, or its network is not there.
    """
    VIEWS[views]
    if data.fingerprint != run.config["data"]["fingerprint"]:
        raise RunError(f"The run in {run.path} was trained on other data. Give the data that it was trained on.")
    known = recorded_accuracies(run)
    if views not in known:
        right = answers(run.load_model(), data.x_test, views).argmax(-1) == data.y_test
        known[views] = 100 * float(right.mean())
        write_json(_path(run), {"predictions": _trained(run), "accuracy": known})
    return known[views]


def recorded_accuracies(run: Run) -> dict[str, float]:
    """Return views to accuracy in percent, as far as `accuracy_of_views` computed it for the network of a run."""
    content = read_json(_path(run)) if _path(run).exists() else {}
    return content["accuracy"] if content.get("predictions") == _trained(run) else {}


def _trained(run: Run) -> str:
    return fingerprint([run.logits])


def _path(run: Run) -> Path:
    return run.path / "views.json"
