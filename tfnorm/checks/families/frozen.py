"""Rules on frozen layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tfnorm.checks.finding import Found, several
from tfnorm.checks.subject import KERNELS, Subject
from tfnorm.layers.normalization.batch_normalization import takes_batch_statistics


def in_frozen_part(subject: Subject) -> Iterator[Found]:
    """Find batch norms that train after layers that do not."""
    names = []
    for norm in subject.norms:
        before = subject.before(norm.call)
        frozen = before is not None and isinstance(before.operation, KERNELS) and not before.operation.trainable
        if frozen and takes_batch_statistics(norm.layer) and not _nothing_trains(norm.layer):
            names.append(norm.name)
    if names:
        yield Found(
            names,
            f"Right after layers that are frozen, {several(names, 'batch norm')} can train, and the statistics move: "
            "what the frozen kernels were trained with is lost.",
            "layer.trainable = False for each BatchNormalization of the frozen part",
            {"layers": len(names)},
        )


def updating(subject: Subject) -> Iterator[Found]:
    """Find batch norms without a weight that trains, whose statistics move all the same."""
    names = [name for name, layer in subject.batch_norms if takes_batch_statistics(layer) and _nothing_trains(layer)]
    if names:
        yield Found(
            names,
            f"No weight of {several(names, 'batch norm')} is trained, and still the statistics are those of the batch, "
            "and move, because the layer itself is trainable.",
            "layer.trainable = False, in place of that of its variables",
            {"layers": len(names)},
        )


def _nothing_trains(layer: Any) -> bool:
    """Return whether a norm that is trainable has a gamma or a beta, and neither is."""
    return any(w is not None for w in (layer.gamma, layer.beta)) and not layer.trainable_variables
