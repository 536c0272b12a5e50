"""Rules on the scale of the inputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from keras import layers, ops

from tfnorm import layers as ours
from tfnorm.checks.finding import Found
from tfnorm.checks.subject import KERNELS, Subject, idle
from tfnorm.convert.graph import Call
from tfnorm.convert.kinds import norm_kinds

_SCALINGS = (layers.Rescaling, layers.Normalization, ours.Normalization)
# Standard deviations of what a network is given that it learns from; those of scaled pixels are from 0.2 to 1.3.
LEAST, MOST = 0.02, 20.0


def _scalings(subject: Subject) -> list[Call]:
    """Return the layers that scale the input one after the other, before anything else."""
    found: list[Call] = []
    firsts = subject.readers(subject.model.inputs[0])
    while len(firsts) == 1 and (isinstance(firsts[0].operation, _SCALINGS) or idle(firsts[0].operation)):
        if isinstance(firsts[0].operation, _SCALINGS):
            found.append(firsts[0])
        firsts = subject.readers(firsts[0])
    return found


def twice(subject: Subject) -> Iterator[Found]:
    """Find several scalings of one input: those that leave hardly any difference between black and white."""
    if len(getattr(subject.model, "inputs", None) or ()) != 1:
        return
    found = _scalings(subject)
    if len(found) < 2:
        return
    shape = [1 if side is None else side for side in subject.model.inputs[0].shape[1:]]
    white = _scaled(found, np.full([1, *shape], 255.0, "float32"))
    width = float(np.max(np.abs(white - _scaled(found, np.zeros([1, *shape], "float32")))))
    names = [call.name for call in found]
    bad = width < LEAST * 4
    says = "no image is left" if bad else "they agree"
    yield Found(
        names,
        f"{len(found)} layers scale the input one after the other. Black and white, 0 and 255, are {width:.3g} apart "
        f"after them: {says}.",
        f"leave {names[0]!r} out" if bad else f"nothing, unless pixels are scaled before {names[0]!r}",
        {"layers": len(found), "width": width},
        "" if bad else "note",
    )


def _scaled(found: list[Call], values: Any) -> np.ndarray:
    for call in found:
        values = call.operation(values)
    return np.asarray(ops.convert_to_numpy(values), "float64")


def scale(subject: Subject) -> Iterator[Found]:
    """Find inputs that are not on the scale that the network learns from."""
    if subject.data is None or len(getattr(subject.model, "inputs", None) or ()) != 1 or not subject.calls:
        return
    images = subject.data.batches[0][0]
    if getattr(images, "dtype", np.dtype(object)).kind != "f" or images.ndim < 3:
        return
    found = _scalings(subject)
    spread = float(np.std(_scaled(found, images)))
    if LEAST <= spread <= MOST or not np.isfinite(spread) or not float(np.std(images)):
        return
    if spread > MOST and not found and (_normalized(subject) or subject.learned):
        return
    scaled = f"after {found[-1].name!r} " if found else ""
    yield Found(
        [call.name for call in found],
        f"The inputs have the standard deviation {spread:.3g} {scaled}(numbers from {images.min():g} to "
        f"{images.max():g}). Networks learn from about 1.",
        "give pixels from 0 to 255 without dividing them"
        if found and spread < LEAST
        else "keras.layers.Rescaling(1 / 255)",
        {"deviation": spread, "least": float(images.min()), "most": float(images.max())},
    )


def _normalized(subject: Subject) -> bool:
    """Return whether a norm follows the first layer with a kernel, so that the scale of inputs does not matter."""
    for call in subject.calls:
        if isinstance(call.operation, KERNELS):
            readers = subject.readers(call)
            return any(isinstance(each.operation, norm_kinds()) for each in readers)
        if isinstance(call.operation, norm_kinds()):
            return True
    return False
