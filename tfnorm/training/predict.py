"""What a trained network says of images: its logits for them as they are, or averaged over several views of each."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfnorm.arrays import to_array
from tfnorm.datasets import Dataset
from tfnorm.errors import RunError, TfnormError
from tfnorm.keras_settings import standard_settings
from tfnorm.registry import Registry
from tfnorm.training.caller import retracing_unmentioned
from tfnorm.training.folder import read_json, write_json
from tfnorm.training.runs import Run, fingerprint

if TYPE_CHECKING:
    import keras

EVALUATION_BATCH = 256
_STAY = (0, 0)
_NEIGHBOURS = ((-1, 0), (1, 0), (0, -1), (0, 1))


@dataclasses.dataclass(frozen=True)
class Views:
    """How test images are looked at in test-time augmentation.

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


#: Sets of views by name. Mirror images are for photographs: a mirrored digit is another sign.
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


def evaluation_batch(images: int, pixels: int = 0) -> int:
    """Return a batch size that cuts ``images`` into parts as equal as can be, since each new size costs a compilation.

    Images of more than 64x64 pixels come in smaller batches, so that evaluation needs no more memory than training.

    Args:
        images: How many.
        pixels: Of each.

    Example:
        >>> evaluation_batch(450), evaluation_batch(10_000), evaluation_batch(450, pixels=224 * 224)
        (225, 250, 20)
    """
    most = max(1, min(EVALUATION_BATCH, EVALUATION_BATCH * 64 * 64 // max(pixels, 1)))
    return -(-images // -(-images // most))


def predict_logits(model: keras.Model, images: np.ndarray, views: str | None = None) -> np.ndarray:
    """Return a network's logits, averaged over views if any are named: test-time augmentation (TTA).

    Averaging over mirrored and moved copies of each image is established practice (Krizhevsky, Sutskever and Hinton,
    NeurIPS 2012, who average probabilities). These views are a variant of those of arXiv 2404.00498, which moves
    diagonally and gives the images that are not moved half of the weight; here all views count alike, and a move fills
    the edge with the mirror image of what is inside, as the augmentation "flip_nudge" does. The network stays what it
    is, and each answer costs as many passes as there are views.

    Args:
        model: Returns logits (batch, classes).
        images: Raw pixels 0..255, (images, height, width, channels).
        views: A name of ``VIEWS``, with "flip" in it for photographs alone, since a mirrored digit is another sign;
            None for the images as they are.

    Returns:
        (images, classes) float32.

    Raises:
        TfnormError: If there are no views of that name, or the images have another shape.

    Example:
        >>> predict_logits(tfnorm.build(norm="gn:2"), np.zeros((3, 28, 28, 1), "uint8"), "nudge").shape
        (3, 10)
    """
    wanted = Views("as it is") if views is None else VIEWS[views]
    images = to_array(images)
    if images.ndim != 4 or not len(images):
        raise TfnormError(
            f"`images` must be one image or more, (images, height, width, channels). Received: shape {images.shape}."
        )
    total = np.zeros((), "float64")
    for shift in wanted.shifts:
        for mirrored in (False, True) if wanted.flip else (False,):
            total = total + _predict_batches(model, moved(images[:, :, ::-1] if mirrored else images, *shift))
    return (total / len(wanted)).astype("float32")


def _predict_batches(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return logits computed by a compiled graph: in 16 bits, operations one by one round to other values."""
    size = evaluation_batch(len(images), images[0, ..., 0].size)
    return np.concatenate([model.predict_on_batch(images[i : i + size]) for i in range(0, len(images), size)])


def moved(images: np.ndarray, down: int, right: int) -> np.ndarray:
    """Return images (images, height, width, channels) moved by whole pixels, the edge filled by mirroring.

    Example:
        >>> moved(np.arange(3).reshape(1, 1, 3, 1), 0, 1).ravel()
        array([0, 0, 1])
    """
    height, width = images.shape[1:3]
    sides = (0, 0), *((max(by, 0), max(-by, 0)) for by in (down, right)), (0, 0)
    padded = np.pad(images, sides, mode="symmetric")
    top, left = max(-down, 0), max(-right, 0)
    return padded[:, top : top + height, left : left + width]


def views_accuracy(run: Run, views: str, data: Dataset) -> float:
    """Return the test accuracy in percent of a run's network after its last epoch, its logits averaged over views.

    What was computed once is kept in the run's folder, in ``views.json``.

    Args:
        run: The run.
        views: A name of ``VIEWS``.
        data: What `tfnorm.training.data.load_data` returned for the run.

    Raises:
        TfnormError: If there are no views of that name.
        RunError: If the run diverged, these are not its data, or its network is not there.
    """
    VIEWS[views]
    if run.status != "finished":
        raise RunError(
            f"The run in {run.path} is {run.status}: its network has no accuracy. Give one that is finished."
        )
    if data.fingerprint != run.config["data"]["fingerprint"]:
        raise RunError(f"The run in {run.path} was trained on other data. Give the data that it was trained on.")
    known = recorded_views(run, views)
    if known is None:
        from tfnorm.training.record import origin

        with standard_settings(), retracing_unmentioned():
            began = origin()
            right = predict_logits(run.load_model(), data.x_test, views).argmax(-1) == data.y_test
        known = {"accuracy": 100 * float(right.mean()), **_made_of(views), **began}
        write_json(_path(run), {"predictions": _trained(run), "views": {**_recorded(run), views: known}})
    return float(known["accuracy"])


def recorded_views(run: Run, views: str) -> dict[str, Any] | None:
    """Return what `views_accuracy` recorded for the network of a run, None if it was not asked.

    ``accuracy`` in percent, and ``versions``, ``machine`` and ``started`` as in the run's own record.
    """
    recorded = _recorded(run).get(views)
    return recorded if recorded is not None and {**recorded, **_made_of(views)} == recorded else None


def _recorded(run: Run) -> dict[str, dict[str, Any]]:
    """Return what is recorded of the network that the run has now."""
    try:
        content = read_json(_path(run), {"views": {}})
    except RunError:  # not there, or damaged: it can be computed again
        return {}
    return content["views"] if content.get("predictions") == _trained(run) else {}


def _made_of(views: str) -> dict[str, Any]:
    """Return what decides an accuracy, as JSON has it."""
    content: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(VIEWS[views])))
    return {key: value for key, value in content.items() if key != "description"}


def _trained(run: Run) -> str:
    return fingerprint([run.logits])


def _path(run: Run) -> Path:
    return run.path / "views.json"
