"""Rules on what the layers give for some images: dead units and channels, numbers that 16 bits do not hold."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from keras import ops

from tfnorm.analysis.activations import ends_in_relu
from tfnorm.checks.finding import Found, several
from tfnorm.checks.subject import KERNELS, Subject

# The largest number of float16.
LARGEST = 65504.0
# Shares of the channels of a layer: so many are worth a note, and with so many nothing gets through.
SOME, ALL = 0.5, 0.95


def look(subject: Subject) -> Iterator[Found]:
    """Find ReLUs that give 0 for all images, and channels that are the same for all."""
    dead: dict[str, float] = {}
    constant: dict[str, float] = {}
    for seen in subject.seen:
        operation = seen.call.operation
        if ends_in_relu(operation):
            dead[seen.call.name] = float(np.mean(seen.most <= 0))
        elif isinstance(operation, KERNELS) and np.any(ops.convert_to_numpy(operation.weights[0])):
            constant[seen.call.name] = float(np.mean(seen.most == seen.least))
    for what, shares in (("give 0", dead), ("give one number", constant)):
        found = {name: share for name, share in shares.items() if share > SOME}
        if found:
            worst = max(found, key=lambda name: found[name])
            nothing = found[worst] >= ALL
            yield Found(
                list(found),
                f"{found[worst]:.0%} of the channels of {worst!r} {what} for every pixel of these images"
                f"{': nothing gets through' if nothing else ''}. More than half do in {several(found, 'layer')}.",
                "keras.layers.BatchNormalization() before the ReLU, or a smaller learning rate",
                {"layers": len(found), "largest_share": found[worst], "shares": found},
                "" if nothing else "note",
            )


def overflow(subject: Subject) -> Iterator[Found]:
    """Find activations that float16 does not hold."""
    found = {}
    for seen in subject.seen:
        largest = float(max(np.max(np.abs(seen.most)), np.max(np.abs(seen.least))))
        if not largest <= LARGEST:
            found[seen.call.name] = largest, getattr(seen.call.operation, "compute_dtype", "") == "float16"
    if found:
        name, (largest, _) = next(iter(found.items()))
        yield Found(
            list(found),
            f"The outputs of {several(found, 'layer')} are larger than {LARGEST:g}, where float16 ends: {name!r} "
            f"reaches {largest:.3g}.",
            "scale the inputs, or use mixed_bfloat16, which has the range of float32",
            {"layers": len(found), "largest": largest if np.isfinite(largest) else None},
            "" if any(half for _, half in found.values()) else "note",
        )
