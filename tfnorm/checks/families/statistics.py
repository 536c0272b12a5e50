"""Rules on moving statistics and gammas, with the data that they should fit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from keras import ops

from tfnorm.checks.finding import Found, several
from tfnorm.checks.subject import Subject, size
from tfnorm.convert.kinds import norm_kinds
from tfnorm.convert.norms import weight_of
from tfnorm.convert.recalibrate import batch_norms, recalibrate_batch_norms

# An accuracy with other statistics that is so much higher is no accident of so many images.
GAP = 0.05
ERRORS = 2.0
MANY = 32
# Images of 100 that get another class with other statistics, where there are no labels.
MOVED = 0.2
# How far a mean may be from that of the data, in standard deviations, and a variance, as a ratio.
FAR, RATIO = 0.5, 2.0
SMALL_GAMMA = 1e-3


def gap(subject: Subject) -> Iterator[Found]:
    """Find batch norms whose moving statistics cost accuracy, and statistics that are far from the data's."""
    data = subject.data
    norms = batch_norms(subject.model)
    before = [_statistics(norm) for norm in norms]
    if data is None or all(_is_new(*pair) for pair in before):
        return
    outputs = data.outputs
    try:
        recalibrate_batch_norms(subject.model, [inputs for inputs, _ in data.batches])
        after = [_statistics(norm) for norm in norms]
        fresh = data.predict()
    finally:
        for norm, (mean, variance) in zip(norms, before, strict=True):
            norm.moving_mean.assign(mean)
            norm.moving_variance.assign(variance)
    far = [norm for norm, old, new in zip(norms, before, after, strict=True) if _far(norm, old, new)]
    paths = {id(layer): name for name, layer in subject.batch_norms}
    names = [paths[id(norm)] for norm in far if id(norm) in paths]
    logits, count = subject.ending.ending == "logits", len(outputs)
    was, could = data.accuracy(outputs, logits), data.accuracy(fresh, logits)
    evidence: dict[str, Any] = {"norms": len(norms), "far": len(far)}
    costs = ""
    if was is not None and could is not None:
        noise = math.sqrt((was * (1 - was) + could * (1 - could)) / count)
        evidence |= {"accuracy": was, "recalibrated": could}
        if could - was > max(GAP, ERRORS * noise):
            costs = (
                f"With its moving statistics the model gets {was:.1%} of {count} images right, and {could:.1%} with "
                "the statistics of these images."
            )
    elif outputs.ndim == 2 and outputs.shape[1] > 1:
        evidence["other_class"] = moved = float(np.mean(outputs.argmax(1) != fresh.argmax(1)))
        if moved > MOVED:
            costs = f"{moved:.0%} of {count} images get another class than with their own statistics."
    remedy = "model = findings.fix(), which estimates them again from these data"
    of_norms = f"{len(names)} of {several(norms, 'batch norm')}"
    if costs and count >= MANY:
        yield Found(names, f"{costs} Far from these are those of {of_norms}.", remedy, evidence)
    elif names:
        yield Found(
            names,
            f"The moving statistics of {of_norms} are far from those of these images, in a tenth of the channels: "
            f"means by {FAR:g} standard deviations, or variances by {RATIO:g} times. These images show no cost of it.",
            remedy,
            evidence,
            "note",
        )


def _statistics(norm: Any) -> tuple[np.ndarray, np.ndarray]:
    mean, variance = (ops.convert_to_numpy(ops.cast(w, "float32")) for w in (norm.moving_mean, norm.moving_variance))
    return mean, variance


def _is_new(mean: np.ndarray, variance: np.ndarray) -> bool:
    return not np.any(mean) and bool(np.all(variance == 1))


def _far(norm: Any, old: Any, new: Any) -> bool:
    """Return whether a tenth of the channels have a mean or a variance far from that of the data."""
    shift = np.abs(new[0] - old[0]) / np.sqrt(new[1] + norm.epsilon)
    ratio = np.abs(np.log((new[1] + norm.epsilon) / (old[1] + norm.epsilon)))
    return bool(np.mean((shift > FAR) | (ratio > math.log(RATIO))) > 0.1)


def gammas(subject: Subject) -> Iterator[Found]:
    """Find gammas near 0, which take the channel out of the network."""
    names, small, total = [], 0, 0
    for name, layer in subject.layers:
        gamma = weight_of(layer, "gamma") if isinstance(layer, norm_kinds()) else None
        if gamma is not None:
            near = int(np.sum(np.abs(ops.convert_to_numpy(ops.cast(gamma, "float32"))) < SMALL_GAMMA))
            small, total = small + near, total + size(gamma)
            names += [name] * bool(near)
    if names:
        yield Found(
            names,
            f"{small:,} of {total:,} gammas, in {several(names, 'norm')}, are nearer to 0 than {SMALL_GAMMA:g}: these "
            "channels give beta alone. Units that should start as their shortcut begin so.",
            "fewer channels, or a smaller penalty on gamma",
            {"gammas": small, "of": total},
        )
